// What a service cannot give by its nature: the checks that fail on it, and why. All that a row names must fail, so that a
// difference which has gone is not kept. docs/SERVICES.md shows these rows.

import { type Capability, Operator } from '@ovfs/opendal-fs'
import { type BatteryService, type BatteryServiceName, SERVICES } from './services.ts'

export interface Difference {
  /** The services, or what all of them lack. */
  readonly on: readonly BatteryServiceName[] | ((can: Capability) => boolean)
  /** Keys of the checks. */
  readonly checks: readonly string[]
  readonly reason: string
}

export const DIFFERENCES: readonly Difference[] = [
  {
    on: can => !can.list,
    checks: ['host-file', 'listing', 'listed-outside'],
    reason: 'OpenDAL cannot list it: a file that another client stores is found by its name only.',
  },
  {
    on: ['azure-key', 'azure-sas'],
    checks: ['rename-tree'],
    reason:
      'A copied blob is another version: renaming a directory loses the times that programs gave its files.',
  },
]

/** The differences of one service. */
export function differencesOf(name: BatteryServiceName): readonly Difference[] {
  const can = capabilityOf(SERVICES[name])
  return DIFFERENCES.filter(({ on }) => (typeof on === 'function' ? on(can) : on.includes(name)))
}

/** What OpenDAL says that it can do on a service. Connects to nothing. */
export function capabilityOf({ scheme, probe }: BatteryService): Capability {
  return new Operator(scheme, { ...probe }).capability()
}
