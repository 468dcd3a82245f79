// What commands are about: few names, few bytes, few handles, so that they meet.

import fc from 'fast-check'

export const MOST_HANDLES = 4

export const name = fc.constantFrom('a', 'b', 'c ')
export const path = fc
  .oneof(
    { weight: 4, arbitrary: fc.tuple(name) },
    { weight: 3, arbitrary: fc.tuple(name, name) },
    { weight: 1, arbitrary: fc.tuple(name, name, name) },
  )
  .map(names => names.join('/'))
export const plainPath = fc
  .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 2 })
  .map(names => names.join('/'))
export const offset = fc.nat({ max: 40 })
export const length = fc.integer({ min: 1, max: 30 })
export const data = fc.uint8Array({ minLength: 1, maxLength: 20 })
export const slot = fc.nat({ max: MOST_HANDLES - 1 })
export const bits = fc.constantFrom(0o600, 0o644, 0o755, 0o400, 0o777, 0o4755, 0o2755)
export const time = fc.integer({ min: 1, max: 2 ** 33 })
export const xattr = fc.constantFrom('user.one', 'user.two')
export const id = fc.nat({ max: 2 })
