// Decides when `exists` is called before `stat`. OpenDAL's binding 0.49.2 leaks about 80 bytes for each call that it rejects
// (https://github.com/napi-rs/napi-rs/issues/3086), and it rejects a `stat` of an absent key, so a guest that looks up missing names
// would fill the host's memory. `exists` resolves to false instead, but costs one more request for a key that exists. Newer builds
// of the binding do not leak.

/** Rejected before anything is saved: what that costs is less than the calls would be. */
const FREE = 10_000
/** Rejected at most, 80 MB. From then on every key is asked about with `exists` first. */
const MOST = 1_000_000
/** Weight of the latest answer in the forecast. */
const WEIGHT = 1 / 16

export class Absences {
  readonly #leaks: boolean
  #rejected = 0
  /** 0 .. 1: how many of the latest answers were that there is nothing. */
  #share = 0

  /** @param leaks the binding leaks memory for each rejected call */
  constructor(leaks: boolean) {
    this.#leaks = leaks
  }

  /** The next key should be asked about with `exists` first. */
  get expected(): boolean {
    return this.#leaks && this.#rejected >= FREE && (this.#share > 0.5 || this.#rejected >= MOST)
  }

  /** A `stat` was rejected because there is nothing. */
  rejected(): void {
    this.#rejected++
    this.seen(true)
  }

  /** An answer that cost nothing. */
  seen(absent: boolean): void {
    this.#share += WEIGHT * ((absent ? 1 : 0) - this.#share)
  }
}
