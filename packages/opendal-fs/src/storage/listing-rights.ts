// Which directories the credentials may not list. There S3 and GCS answer 403 instead of 404 for a key that is absent, since a
// caller without the right to list must not learn which keys exist. A policy may grant the right below one prefix only.

/** How long a refusal or a permission is believed, in milliseconds. */
const REFUSED_MS = 60_000
const ALLOWED_MS = 5_000
/** Directories that are remembered. */
const MOST = 10_000

export class ListingRights {
  readonly #isRefusedEverywhere: boolean
  readonly #onRefused: () => void
  readonly #known = new Map<string, { readonly allowed: boolean; readonly until: number }>()
  #hasRefused: boolean

  /**
   * @param everywhere the credentials may list nothing, as was found out before
   * @param onRefused told once that a listing was refused, unless that was known
   */
  constructor(everywhere: boolean, onRefused: () => void) {
    this.#isRefusedEverywhere = everywhere
    this.#hasRefused = everywhere
    this.#onRefused = onRefused
  }

  /** True if a listing has been refused anywhere. */
  get hasRefused(): boolean {
    return this.#hasRefused
  }

  /** True if listing the directory of the key, or the directory that the key names, has been refused lately. */
  isRefused(key: string): boolean {
    return this.#isRefusedEverywhere || this.#recall(directoryOf(key)) === false
  }

  /** A listing of a directory was answered. */
  learn(directory: string, allowed: boolean): void {
    if (this.#known.size >= MOST) this.#known.clear()
    this.#known.set(directory, { allowed, until: Date.now() + (allowed ? ALLOWED_MS : REFUSED_MS) })
    if (allowed || this.#hasRefused) return
    this.#hasRefused = true
    this.#onRefused()
  }

  /** @param ask lists the directory; resolves to false if that is refused */
  async mayList(key: string, ask: (directory: string) => Promise<boolean>): Promise<boolean> {
    if (this.#isRefusedEverywhere) return false
    const directory = directoryOf(key)
    const known = this.#recall(directory)
    if (known !== undefined) return known
    const allowed = await ask(directory)
    this.learn(directory, allowed)
    return allowed
  }

  #recall(directory: string): boolean | undefined {
    const known = this.#known.get(directory)
    return known !== undefined && known.until > Date.now() ? known.allowed : undefined
  }
}

function directoryOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1)
}
