// Remembers which directories the credentials may list. In a directory that they may not list, S3 and GCS answer 403 instead of 404
// for an absent key, so that the caller does not learn which keys exist. A policy may grant the right below one prefix only.

/** How long a refusal or a permission is remembered, in milliseconds. */
const REFUSED_MS = 60_000
const ALLOWED_MS = 5_000
/** The largest number of directories that are remembered. */
const MOST = 10_000

export class ListingRights {
  readonly #isRefusedEverywhere: boolean
  readonly #onRefused: () => void
  readonly #known = new Map<string, { readonly allowed: boolean; readonly until: number }>()
  #hasRefused: boolean

  /**
   * @param everywhere the start has shown that the credentials may list nothing
   * @param onRefused called at the first refused listing, unless `everywhere`
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

  /** Remembers whether the service has listed the directory or refused to. */
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
