// How the process ends.

import type { CliError, CliErrorCode } from './error.ts'

export const ExitCode = {
  OK: 0,
  /** Something that the last line on stderr explains. */
  FAILED: 1,
  /** A defect of ovfs; EX_SOFTWARE of sysexits.h. */
  DEFECT: 70,
  /** The command line makes no sense, and will not at the next start either; EX_CONFIG of sysexits.h. */
  MISTAKE: 78,
} as const

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

const MISTAKES: readonly CliErrorCode[] = ['USAGE', 'SERVICE', 'OPTION']

/**
 * A service manager gives up a service that ends with MISTAKE (RestartPreventExitStatus= in the unit), and disconnects the front-end
 * that it keeps for it. Where one waits, the manager is to try until the mistake is mended.
 */
export function failureCode({ code }: CliError, frontendWaits: boolean): ExitCode {
  return MISTAKES.includes(code) && !frontendWaits ? ExitCode.MISTAKE : ExitCode.FAILED
}
