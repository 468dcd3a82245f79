import { describe, expect, test } from 'vitest'
import { bindingFailure } from '../src/binding.ts'

const absent = (name: string) =>
  Object.assign(new Error(`Cannot find module '${name}'\nRequire stack:\n- /somewhere/generated.js`), {
    code: 'MODULE_NOT_FOUND',
  })

/** As OpenDAL's loader throws it. */
const notLoaded = (...cause: Error[]) => new Error('Cannot find native binding. npm has a bug', { cause })

describe('OpenDAL that cannot be loaded', () => {
  test('is named by its package where that is not installed', () => {
    const error = notLoaded(absent('./opendal.linux-arm64-gnu.node'), absent('@opendal/lib-linux-arm64-gnu'))
    expect(bindingFailure(error, 'linux on arm64')).toMatch(
      /^OpenDAL's native part for linux on arm64 is not installed: it is the npm package @opendal\/lib-linux-arm64-gnu\./,
    )
  })

  test('is told with the reason where it is there', () => {
    const error = notLoaded(
      absent('./opendal.linux-x64-gnu.node'),
      new Error("version `GLIBC_2.38' not found"),
    )
    expect(bindingFailure(error)).toBe("OpenDAL cannot be loaded: version `GLIBC_2.38' not found")
  })

  test('is told as it is when it says nothing of bindings', () => {
    expect(bindingFailure(new Error('disk full'))).toBe('OpenDAL cannot be loaded: disk full')
  })
})
