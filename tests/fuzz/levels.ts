// The four levels by name.

import { FuseLevel } from './fuse-level.ts'
import { type FuzzOptions, type FuzzReport, fuzz } from './level.ts'
import { RingLevel } from './ring-level.ts'
import { SessionLevel } from './session-level.ts'
import { SocketLevel } from './socket-level.ts'
import { Victim } from './victim.ts'

export const LEVELS = ['socket', 'ring', 'fuse', 'session'] as const
export type LevelName = (typeof LEVELS)[number]

/**
 * Attacks until the time is up; throws at the first harm done.
 * @param isKept what the target knows survives it, and it is killed now and then
 */
export async function attack(
  name: LevelName,
  options: FuzzOptions & { readonly isKept?: boolean },
): Promise<FuzzReport> {
  const { isKept = false } = options
  if (name === 'fuse') return fuzz(new FuseLevel(isKept), options)
  const victim = await Victim.start(isKept)
  const attacked = (): Promise<FuzzReport> => {
    if (name === 'socket') return fuzz(new SocketLevel(victim), options)
    if (name === 'ring') return fuzz(new RingLevel(victim), options)
    return fuzz(new SessionLevel(victim), options)
  }
  let report: FuzzReport
  try {
    report = await attacked()
  } catch (error) {
    // What the end of a daemon that is broken already has to say is of no interest.
    await victim.stop().catch(() => undefined)
    throw error
  }
  await victim.stop()
  return report
}
