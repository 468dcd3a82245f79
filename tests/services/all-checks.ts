// The checks of the battery: those that a guest runs, and those of programs.

import { CHECKS } from '../guest/checks.ts'
import { PROGRAM_CHECKS } from './program-checks.ts'

export interface BatteryCheck {
  readonly title: string
  readonly script: string
  /** Runs in the same directory after a restart of the daemon. */
  readonly after?: string
}

export const ALL_CHECKS: Readonly<Record<string, BatteryCheck>> = { ...CHECKS, ...PROGRAM_CHECKS }
