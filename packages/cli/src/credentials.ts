// Reads the credentials again after the service has refused them. Files and profiles may have changed since the start; the
// environment of a process cannot change.

import type { Operator } from '@ovfs/opendal-fs'
import { CliError, oneLine } from './error.ts'
import type { Log } from './log.ts'
import { processSources, type Redactor } from './secret.ts'
import type { ServeSettings } from './settings.ts'
import { buildOperator } from './storage-check.ts'
import { parseStorage, type Storage } from './uri.ts'

/**
 * Options whose values OpenDAL uses as the credentials themselves. Otherwise OpenDAL finds credentials in profiles or instance roles, or
 * exchanges an option for a token, and ovfs cannot tell whether they have changed.
 */
const SHOWN_AS_THEY_ARE = [
  'secret_access_key',
  'account_key',
  'sas_token',
  'secret_key',
  'access_key_secret',
  'token',
  'access_token',
  'password',
]

export class Credentials {
  readonly #settings: Pick<ServeSettings, 'uri' | 'assignments'>
  readonly #redactor: Redactor
  readonly #log: Log
  #used: Storage['options']
  #unreadable = false

  /** @param storage what the first operator was made from */
  constructor(
    settings: Pick<ServeSettings, 'uri' | 'assignments'>,
    redactor: Redactor,
    log: Log,
    storage: Storage,
  ) {
    this.#settings = settings
    this.#redactor = redactor
    this.#log = log
    this.#used = storage.options
  }

  /**
   * An operator with the credentials that can be read now.
   * @param mayGuess also make one if OpenDAL finds the credentials, so that ovfs cannot tell whether they have changed
   * @returns undefined if they have not changed, or cannot be read
   */
  renew(mayGuess: boolean): Operator | undefined {
    try {
      const { uri, assignments } = this.#settings
      const { service, options, secrets } = parseStorage(uri, assignments, processSources)
      this.#unreadable = false
      const isSame = JSON.stringify(options) === JSON.stringify(this.#used)
      if (isSame && !(mayGuess && isFoundByOpendal(options))) return undefined
      for (const secret of secrets) this.#redactor.add(secret)
      const operator = buildOperator(service, options)
      this.#used = options
      this.#log.info('the service refused the credentials: they have been read again')
      return operator
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      // Each refused request reads them again; log the error once.
      if (!this.#unreadable)
        this.#log.error('the credentials cannot be read again', { reason: oneLine(error) })
      this.#unreadable = true
      return undefined
    }
  }
}

function isFoundByOpendal(options: Storage['options']): boolean {
  return options.role_arn !== undefined || !SHOWN_AS_THEY_ARE.some(name => options[name] !== undefined)
}
