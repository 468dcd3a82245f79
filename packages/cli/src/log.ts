// One line per event, as text, as JSON, or for a journal that has its own times and levels (sd-daemon(3)). Every text goes through
// the redactor, and no text can make a second line.

import { singleLine } from './error.ts'

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export const LOG_FORMATS = ['text', 'json', 'journal'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

export type LogValue = string | number | boolean | undefined
export type LogFields = Readonly<Record<string, LogValue>>

/** sd-daemon(3): what a journal takes for the level of a line that begins with it. */
const JOURNAL_PREFIXES: Readonly<Record<LogLevel, string>> = {
  error: '<3>',
  warn: '<4>',
  info: '<6>',
  debug: '<7>',
}

export interface LogOptions {
  readonly level: LogLevel
  readonly format: LogFormat
  readonly redact: (text: string) => string
  readonly write: (line: string) => void
  readonly now: () => Date
}

export class Log {
  readonly #options: LogOptions

  constructor(options: LogOptions) {
    this.#options = options
  }

  error(message: string, fields?: LogFields): void {
    this.#event('error', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.#event('warn', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    this.#event('info', message, fields)
  }

  debug(message: string, fields?: LogFields): void {
    this.#event('debug', message, fields)
  }

  /** What somebody has asked for: whatever the level. */
  answer(message: string, fields: LogFields): void {
    this.#write('info', message, fields)
  }

  /** Words that other programs wait for: as they are, whatever the level. */
  status(message: string): void {
    if (this.#options.format === 'text') this.#options.write(`${message}\n`)
    else this.#write('info', message, {})
  }

  /** The last words before an exit: one line, whatever the level. */
  failure(message: string): void {
    if (this.#options.format === 'text') this.#options.write(`ovfs: ${this.clean(message)}\n`)
    else this.#write('error', message, {})
  }

  /** A text as it may be told: without secrets, on one line. */
  clean(text: string): string {
    return singleLine(this.#options.redact(text))
  }

  #event(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(this.#options.level)) return
    this.#write(level, message, fields)
  }

  #write(level: LogLevel, message: string, fields: LogFields): void {
    const { format, now, write } = this.#options
    const clean = (value: LogValue) => (typeof value === 'string' ? this.clean(value) : value)
    const time = now().toISOString()
    const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
    if (format === 'json') {
      const record = {
        time,
        level,
        message: clean(message),
        ...Object.fromEntries(entries.map(([k, v]) => [k, clean(v)])),
      }
      write(`${JSON.stringify(record)}\n`)
      return
    }
    const tail = entries.map(([key, value]) => ` ${key}=${quoted(clean(value))}`).join('')
    const head = format === 'journal' ? JOURNAL_PREFIXES[level] : `${time} ${level.padEnd(5)} `
    write(`${head}${clean(message)}${tail}\n`)
  }
}

function quoted(value: LogValue): string {
  const text = String(value)
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text)
}
