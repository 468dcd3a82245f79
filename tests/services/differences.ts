// What a service cannot give by its nature: the checks that fail on it, and why. All that a row names must fail, so that a
// difference which has gone is not kept. docs/SERVICES.md shows these rows.

import { type Capability, Operator } from '@ovfs/opendal-fs'
import { type BatteryService, type BatteryServiceName, SERVICES } from './services.ts'

export interface Difference {
  /** The services, or what all of them lack. */
  readonly on: readonly BatteryServiceName[] | ((can: Capability) => boolean)
  /** Keys of the checks. */
  readonly checks: readonly string[]
  /** Keys of checks that hold until the restart, and whose `after` fails. */
  readonly afterRestart?: readonly string[]
  /** No directory can be removed: those of the checks stay. */
  readonly keepsDirectories?: boolean
  readonly reason: string
}

export const DIFFERENCES: readonly Difference[] = [
  {
    on: can => !can.list,
    checks: ['host-file', 'listing', 'listed-outside'],
    reason:
      'OpenDAL cannot list this service: `ls` does not show a file that another client stores, but the file can be opened by name.',
  },
  {
    on: ['nginx'],
    checks: [
      'tree',
      'rename-tree',
      'rename-case',
      'wildcards',
      'odd-names',
      'change-kind',
      'deep',
      'many',
      'changed-outside',
      'listed-outside',
    ],
    afterRestart: ['dot-names', 'long-path'],
    keepsDirectories: true,
    reason:
      'The server deletes a directory with everything in it, and does not list names that begin with a dot, so a directory that looks empty may hold files of other clients. Removing and renaming a directory fails with EPERM.',
  },
]

/** The differences of one service. */
export function differencesOf(name: BatteryServiceName): readonly Difference[] {
  const can = capabilityOf(SERVICES[name])
  return DIFFERENCES.filter(({ on }) => (typeof on === 'function' ? on(can) : on.includes(name)))
}

/** Keys of all checks that fail on a service, before or after the restart. */
export function failingOn(name: BatteryServiceName): ReadonlySet<string> {
  return new Set(differencesOf(name).flatMap(({ checks, afterRestart = [] }) => [...checks, ...afterRestart]))
}

/** What OpenDAL says that it can do on a service. Connects to nothing. */
export function capabilityOf({ scheme, probe }: BatteryService): Capability {
  return new Operator(scheme, { ...probe }).capability()
}
