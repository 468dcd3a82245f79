// Milliseconds since the epoch, cheap enough to be asked a million times a second: between two ticks, and for at most
// 1,024 questions, the same answer is given. The ticking stops when nobody asks, and never keeps the process alive.

const TICK_MS = 10
const QUESTIONS_PER_READING = 1024

export class CoarseClock {
  #now = 0
  #questions = 0
  #asked = false
  #timer: NodeJS.Timeout | undefined

  /** At most one tick (10 ms), or one burst of 1,024 questions, behind `Date.now()`. */
  now(): number {
    this.#asked = true
    if (this.#timer === undefined || ++this.#questions >= QUESTIONS_PER_READING) this.#read()
    return this.#now
  }

  #read(): void {
    this.#questions = 0
    this.#now = Date.now()
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref()
  }

  #tick(): void {
    if (this.#asked) {
      this.#asked = false
      this.#read()
    } else {
      this.stop()
    }
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
