// What a person did or has to do something about: told in one line, without a stack. Every other error is a defect of ours.

export type CliErrorCode =
  /** The command line is not understood. */
  | 'USAGE'
  /** The URI names no service that there is. */
  | 'SERVICE'
  /** An option of the service is unknown, missing or malformed. */
  | 'OPTION'
  /** The service refused or did not answer. */
  | 'STORAGE'
  /** The state folder cannot be used. */
  | 'STATE'
  /** The socket cannot be listened on. */
  | 'SOCKET'
  /** Something was not published at the end. */
  | 'SHUTDOWN'

export class CliError extends Error {
  readonly code: CliErrorCode
  /** What to do. */
  readonly hint: string | undefined

  constructor(code: CliErrorCode, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CliError'
    this.code = code
    this.hint = hint
  }
}

/** The error as one line, whatever its texts hold. */
export function oneLine(error: CliError): string {
  const text = error.hint === undefined ? error.message : `${error.message}: ${error.hint}`
  return singleLine(text)
}

/** White space and control characters as single spaces: a message from elsewhere cannot forge a second line. */
export function singleLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, ' ').trim()
}
