// The table against the binding itself. The binding folds the case of option names, so an option given twice, in both
// cases, is refused as a duplicate if the service knows it, and ignored if it does not: that tells what it knows, before
// anything is built.

import { Operator } from '@ovfs/opendal-fs'
import { describe, expect, it } from 'vitest'
import { SCHEME_ALIASES, SECRET_OPTIONS, SERVICES } from '../src/services/table.ts'

const ALL_OPTIONS = [...new Set([...SERVICES.values()].flatMap(service => service.options))]
/** Each is right for another kind of field: a wrong kind is refused before the duplicate is. */
const SAMPLES = ['true', '1', '1s']
/** A second try sees the duplicate before a field that is wrong: the order of the fields is random. */
const TRIES = 3

function knows(service: string, option: string): boolean {
  for (const sample of SAMPLES) {
    for (let tried = 0; tried < TRIES; tried++) {
      try {
        new Operator(service, { [option]: sample, [option.toUpperCase()]: sample })
      } catch (error) {
        if ((error as Error).message.includes(`duplicate field \`${option}\``)) return true
      }
    }
  }
  return false
}

describe('the table of services', () => {
  it.each([...SERVICES.keys()])('has exactly the options that the binding knows: %s', name => {
    const known = ALL_OPTIONS.filter(option => knows(name, option))
    expect([...SERVICES.get(name)!.options].sort()).toEqual(known.sort())
  })

  it.each([...SERVICES.values()])('needs only options that there are: $name', service => {
    const mentioned = [
      ...(service.required ?? []),
      ...Object.keys(service.defaults ?? {}),
      ...Object.keys(service.probe),
    ]
    if ('option' in service.place) mentioned.push(service.place.option)
    expect(mentioned.filter(option => !service.options.includes(option))).toEqual([])
  })

  it('has aliases of services that there are, and that hide none', () => {
    for (const [alias, { service }] of SCHEME_ALIASES) {
      expect(SERVICES.has(service)).toBe(true)
      expect(SERVICES.has(alias)).toBe(false)
    }
  })

  it('calls secret what a service can be given only', () => {
    expect([...SECRET_OPTIONS].filter(name => !ALL_OPTIONS.includes(name))).toEqual([])
  })

  it('treats every option that sounds like a secret as one', () => {
    const harmless =
      /^(access_key_id|application_key_id|key_field|secret_id|server_side_encryption_(key_id|aws_kms_key_id|customer_key_md5)|encryption_key_sha256|credential_path|oidc_token_file)$/
    const secret = ALL_OPTIONS.filter(
      name => /secret|password|token|_key|credential/.test(name) && !harmless.test(name),
    )
    expect(secret.filter(name => !SECRET_OPTIONS.has(name))).toEqual([])
  })
})
