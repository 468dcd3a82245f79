// What a service manager shows of the daemon (`systemctl status`): one line, told anew whenever it has become untrue.

export class ServiceStatus {
  readonly #tell: (text: string) => void
  #share: string | undefined
  #connected = false

  constructor(tell: (text: string) => void) {
    this.#tell = tell
  }

  checking(share: string): void {
    this.#tell(`checking ${share}`)
  }

  /** What an earlier daemon left can take long. */
  replaying(): void {
    this.#tell('bringing into the storage what the last daemon left')
  }

  serving(share: string): void {
    this.#share = share
    this.#update()
  }

  /** Whether there is one. */
  frontend(connected: boolean): void {
    this.#connected = connected
    this.#update()
  }

  /** @param unpublished number of files; undefined if it is not known */
  ending(unpublished: number | undefined): void {
    this.#share = undefined
    this.#tell(unpublished ? `ending, files to publish: ${unpublished}` : 'ending')
  }

  failed(why: string): void {
    this.#share = undefined
    this.#tell(why)
  }

  #update(): void {
    if (this.#share === undefined) return
    this.#tell(
      `serving ${this.#share}, ${this.#connected ? 'a front-end is connected' : 'no front-end is connected'}`,
    )
  }
}
