// How many parts of an upload are under way at once. OpenDAL's binding 0.49.2 never frees a writer after one of its calls was
// rejected, with the parts that it still holds: up to eight with four at once (measured: 62 MiB), and one (8 MiB) if they are sent
// one at a time. So after a failure parts are sent one by one until an upload is completed.

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
