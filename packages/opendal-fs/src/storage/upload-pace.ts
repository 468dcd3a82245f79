// Decides how many parts of an upload are sent at once. OpenDAL's binding 0.49.2 leaks a writer, with the parts that it holds, after
// one of its calls was rejected: up to eight parts if four are sent at once (measured: 62 MiB), one part (8 MiB) if they are sent one
// at a time. So after a failed upload, parts are sent one at a time until an upload succeeds.

const CONCURRENT_PARTS = 4

export class UploadPace {
  #failing = false

  /** The last upload that ended has failed. */
  get isFailing(): boolean {
    return this.#failing
  }

  get concurrentParts(): number {
    return this.#failing ? 1 : CONCURRENT_PARTS
  }

  failed(): void {
    this.#failing = true
  }

  completed(): void {
    this.#failing = false
  }
}
