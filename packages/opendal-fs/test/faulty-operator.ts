// An operator whose calls can be held back, counted and made to fail, by operation. Those on sidecars are left alone unless a
// test is about them: they come and go with the times of files.

import type { Operator } from '../src/storage/binding.ts'
import { SIDECAR } from '../src/storage/key-names.ts'

type Intercept = (operation: string, key: string) => Promise<void> | undefined

export class Faults {
  /** Every call, as `operation key`. */
  readonly calls: string[] = []
  /** Counts calls on sidecars too, and lets them fail. */
  sidecars = false
  /** Runs before each call; what it throws, the call fails with. */
  before: Intercept = () => undefined
  /** Runs after each call, before its answer is given. */
  after: Intercept = () => undefined

  /** Calls that the storage has not answered yet. */
  readonly underWay = new Set<Promise<unknown>>()

  /** Settles once the storage has answered every call that reached it: none of them happens later. */
  async idle(): Promise<void> {
    await Promise.all(this.underWay)
  }

  /** Holds calls of one operation until the returned function is called. */
  hold(operation: string): () => void {
    let release: () => void = () => undefined
    const gate = new Promise<void>(resolve => {
      release = resolve
    })
    this.before = called => (called === operation ? gate : undefined)
    return () => {
      this.before = () => undefined
      release()
    }
  }

  count(operation: string): number {
    return this.calls.filter(call => call.startsWith(`${operation} `)).length
  }
}

export function faulty(operator: Operator, faults: Faults): Operator {
  return new Proxy(operator, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target)
      if (typeof value !== 'function') return value
      if (property === 'layer') return () => faulty(operator, faults)
      if (property === 'capability') return value.bind(target)
      return async (...args: unknown[]) => {
        if (!faults.sidecars && String(args[0]).endsWith(SIDECAR)) return value.apply(target, args)
        faults.calls.push(`${String(property)} ${String(args[0])}`)
        await faults.before(String(property), String(args[0]))
        const call: Promise<unknown> = value.apply(target, args).catch((error: unknown) => new Failure(error))
        faults.underWay.add(call)
        const result = await call
        faults.underWay.delete(call)
        await faults.after(String(property), String(args[0]))
        if (result instanceof Failure) throw result.error
        return result
      }
    },
  })
}

class Failure {
  readonly error: unknown

  constructor(error: unknown) {
    this.error = error
  }
}
