import { describe, expect, it } from 'vitest'
import { Redactor } from '../src/secret.ts'

describe('the redactor', () => {
  it('takes a secret out of a text, in the forms that errors write it', () => {
    const redactor = new Redactor()
    redactor.add('pa ss/w"rd')
    for (const text of ['pa ss/w"rd', 'pa%20ss%2Fw%22rd', 'pa\\"', JSON.stringify({ p: 'pa ss/w"rd' })]) {
      expect(redactor.redact(`x ${text} y`)).not.toMatch(/ss.*w.*rd/)
    }
  })

  it('takes the password of a connection string out on its own', () => {
    const redactor = new Redactor()
    redactor.add('postgresql://me:hunter%202@h/d')
    expect(redactor.redact('password hunter 2 or hunter%202 refused')).toBe('password *** or *** refused')
  })

  it('takes the longer of two secrets first', () => {
    const redactor = new Redactor()
    redactor.add('abcd')
    redactor.add('abcdefgh')
    expect(redactor.redact('abcdefgh abcd')).toBe('*** ***')
  })

  it('leaves other texts alone', () => {
    const redactor = new Redactor()
    redactor.add('')
    redactor.add('a')
    expect(redactor.redact('a banana')).toBe('a banana')
  })
})
