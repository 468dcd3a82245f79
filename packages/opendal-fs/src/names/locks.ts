// Order among operations that wait for the storage. Nothing here delays what memory can answer: only operations that change
// names or publish data take these locks, and every storage call inside one has a deadline.

/** One at a time, in the order of asking. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve()

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(task)
    // The next in line waits for the end of this one, however it ends; the failure belongs to the caller.
    this.#tail = result.then(noop, noop)
    return result
  }
}

/** Many at a time, or one alone. Who wants to be alone is not overtaken by later comers. */
export class SharedLock {
  #sharing = 0
  #alone = false
  readonly #waiting: { alone: boolean; start: () => void }[] = []

  shared<T>(task: () => Promise<T>): Promise<T> {
    return this.#run(false, task)
  }

  exclusive<T>(task: () => Promise<T>): Promise<T> {
    return this.#run(true, task)
  }

  async #run<T>(alone: boolean, task: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || !this.#free(alone)) {
      await new Promise<void>(start => this.#waiting.push({ alone, start }))
    } else {
      this.#take(alone)
    }
    try {
      return await task()
    } finally {
      if (alone) this.#alone = false
      else this.#sharing--
      this.#admit()
    }
  }

  #free(alone: boolean): boolean {
    return !this.#alone && (!alone || this.#sharing === 0)
  }

  #take(alone: boolean): void {
    if (alone) this.#alone = true
    else this.#sharing++
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#free(next.alone); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#take(next.alone)
      next.start()
    }
  }
}

/** Runs `task` once for all waiting callers. A caller that arrives during a run waits for the next run. */
export class SharedTask {
  readonly #task: () => Promise<void>
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(task: () => Promise<void>) {
    this.#task = task
  }

  run(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#task().finally(() => {
        this.#running = undefined
      })
      return this.#running
    }
    this.#next ??= this.#running.then(noop, noop).then(() => {
      this.#next = undefined
      return this.run()
    })
    return this.#next
  }
}

/** At most so many at once; the rest wait in the order of asking. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>(start => this.#waiting.push(start))
    try {
      return await task()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free++
      else next()
    }
  }
}

/** Runs `task` for every item, at most `limit` at once; stops starting new ones at the first failure, which it throws. */
export async function forEachConcurrently<T>(
  items: Iterable<T>,
  limit: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]()
  let failed = false
  const worker = async (): Promise<void> => {
    for (let next = iterator.next(); !failed && next.done !== true; next = iterator.next()) {
      try {
        await task(next.value)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: limit }, worker))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}

function noop(): void {}
