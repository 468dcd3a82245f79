// Values that must not be seen: where they are read from, and how they are taken out of what is printed.
// An option says `env:NAME` or `file:PATH`, so that no secret stands in the process table.

import { readFileSync } from 'node:fs'
import { CliError, singleLine } from './error.ts'

export interface SecretSources {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly readFile: (path: string) => string
}

export const processSources: SecretSources = {
  env: process.env,
  readFile: path => readFileSync(path, 'utf8'),
}

export interface ResolvedValue {
  readonly value: string
  /** The command line holds the value itself. */
  readonly inClear: boolean
}

/** The value of `-o name=text`. */
export function resolveValue(name: string, text: string, sources: SecretSources): ResolvedValue {
  if (text.startsWith('env:')) {
    const variable = text.slice(4)
    const value = sources.env[variable]
    if (value === undefined || value === '') {
      throw new CliError(
        'OPTION',
        `-o ${name}: the environment variable ${variable} is not set`,
        'export it first',
      )
    }
    return { value, inClear: false }
  }
  if (text.startsWith('file:')) {
    const path = text.slice(5)
    let content: string
    try {
      content = sources.readFile(path)
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? String(error)
      throw new CliError('OPTION', `-o ${name}: cannot read ${path} (${reason})`, undefined, { cause: error })
    }
    const value = content.replace(/\r?\n$/, '')
    if (value === '') throw new CliError('OPTION', `-o ${name}: ${path} is empty`)
    return { value, inClear: false }
  }
  return { value: text, inClear: true }
}

/** Shorter ones are in every text by chance: replacing them would spoil the message and give them away. */
const LEAST_REDACTED = 4

/** Takes secrets out of texts. */
export class Redactor {
  readonly #secrets = new Set<string>()

  /** From now on `secret`, as it is, percent-encoded or as JSON, becomes `***`; so does a password in a URL of it. */
  add(secret: string): void {
    const password = /^[a-z][a-z0-9+.-]*:\/\/[^/?#@]*?:([^/?#]*)@/i.exec(secret)?.[1]
    for (const text of [secret, password]) {
      if (text === undefined || text.length < LEAST_REDACTED) continue
      for (const form of [
        text,
        singleLine(text),
        encodeURIComponent(text),
        encodeURI(text),
        JSON.stringify(text).slice(1, -1),
      ]) {
        this.#secrets.add(form)
      }
      this.#secrets.add(safeDecode(text))
    }
  }

  redact(text: string): string {
    let clean = text
    // The longest first: one secret may be a part of another.
    for (const secret of [...this.#secrets].sort((a, b) => b.length - a.length)) {
      clean = clean.replaceAll(secret, '***')
    }
    return clean
  }
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
