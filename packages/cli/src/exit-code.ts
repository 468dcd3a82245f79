// How the process ends.

export const ExitCode = {
  OK: 0,
  /** Something that the last line on stderr explains. */
  FAILED: 1,
  /** A defect of ovfs; EX_SOFTWARE of sysexits.h. */
  DEFECT: 70,
} as const

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]
