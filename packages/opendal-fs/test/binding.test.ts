import { describe, expect, test } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { bindingBuild, Operator, TimeoutLayer } from '../src/storage/binding.ts'
import { BindingError, loadBinding } from '../src/storage/load-binding.ts'

const NEWER = { build: 'newer' }
const OLD = { build: 'old' }

const absent = (name: string) =>
  Object.assign(new Error(`Cannot find module '${name}'\nRequire stack:\n- /somewhere/generated.js`), {
    code: 'MODULE_NOT_FOUND',
  })
const glibc = new Error(
  "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /a/opendal.linux-x64-gnu.node)",
)
/** As OpenDAL's loader throws it. */
const notLoaded = (...cause: Error[]) => new Error('Cannot find native binding. npm has a bug', { cause })

/** A machine with both packages, where each loads or throws. */
function machine(modules: { newer?: unknown; old?: unknown; other?: unknown }, wanted?: string) {
  const load = (name: string): unknown => {
    if (name.endsWith('package.json')) return { version: '0.49.99' }
    const found = name.endsWith('generated.js')
      ? modules.newer
      : name === 'opendal-for-old-glibc-x64'
        ? modules.old
        : modules.other
    if (found === undefined) throw absent(name)
    if (found instanceof Error) throw found
    return found
  }
  const resolve = () => '/node_modules/opendal/package.json'
  return { require: Object.assign(load, { resolve }) as unknown as NodeJS.Require, arch: 'x64', wanted }
}

function failure(...args: Parameters<typeof machine>): string {
  try {
    loadBinding(machine(...args))
  } catch (error) {
    expect(error).toBeInstanceOf(BindingError)
    return (error as Error).message
  }
  throw new Error('it was loaded')
}

describe('the build of the binding', () => {
  test('is the newer one where that loads', () => {
    const { native, version, passedOver } = loadBinding(machine({ newer: NEWER, old: OLD }))
    expect([native, version, passedOver]).toEqual([NEWER, '0.49.99', undefined])
  })

  test('is 0.49.2 on an older glibc, with the reason', () => {
    const newer = notLoaded(absent('./opendal.linux-x64-gnu.node'), glibc)
    const { native, version, passedOver } = loadBinding(machine({ newer, old: OLD }))
    expect([native, version]).toEqual([OLD, '0.49.2'])
    expect(passedOver).toEqual({ version: '0.49.99', reason: "version `GLIBC_2.38' not found" })
  })

  test('is 0.49.2 where npm has no binary of the newer one', () => {
    const newer = notLoaded(absent('./opendal.linux-x64-gnu.node'), absent('@opendal/lib-linux-x64-gnu'))
    const { version, passedOver } = loadBinding(machine({ newer, old: OLD }))
    expect([version, passedOver?.reason]).toEqual(['0.49.2', 'its native part is not installed'])
  })

  test('can be chosen by OVFS_OPENDAL', () => {
    const both = { newer: NEWER, old: OLD, other: { build: 'other' } }
    expect(loadBinding(machine(both, 'latest')).native).toBe(NEWER)
    expect(loadBinding(machine(both, '0.49.2'))).toMatchObject({ native: OLD, version: '0.49.2' })
    const path = '/opt/opendal.node'
    expect(loadBinding(machine(both, path))).toMatchObject({ native: both.other, version: path })
    expect(loadBinding(machine(both, '')).native).toBe(NEWER)
  })

  test('is no other than the chosen one', () => {
    expect(failure({ newer: notLoaded(glibc), old: OLD }, 'latest')).toMatch(
      /^OVFS_OPENDAL: OpenDAL cannot be loaded: .*version `GLIBC_2\.38' not found/,
    )
    expect(failure({ newer: NEWER }, '0.49.2')).toMatch(/^OVFS_OPENDAL: .*opendal-for-old-glibc-x64/)
    expect(failure({ newer: NEWER, old: OLD }, '/opt/none.node')).toMatch(/\/opt\/none\.node/)
    expect(failure({ newer: NEWER, old: OLD }, '0.49.3')).toBe(
      'OVFS_OPENDAL must be 0.49.2, latest, or the absolute path of a .node file, not "0.49.3"',
    )
  })
})

describe('a binding that does not load', () => {
  test('is named by its package if that is not installed', () => {
    const newer = notLoaded(absent('./opendal.linux-x64-gnu.node'), absent('@opendal/lib-linux-x64-gnu'))
    expect(failure({ newer })).toMatch(
      /^OpenDAL's native part for \w+ on x64 is not installed: it is the npm package @opendal\/lib-linux-x64-gnu\./,
    )
  })

  test('is reported with the reason', () => {
    expect(failure({ newer: notLoaded(glibc) })).toBe(`OpenDAL cannot be loaded: ${glibc.message}`)
    expect(failure({ newer: notLoaded(glibc), old: new Error('disk full') })).toBe(
      'OpenDAL cannot be loaded: disk full',
    )
    expect(failure({ newer: new Error('disk full') })).toBe('OpenDAL cannot be loaded: disk full')
  })
})

describe('the binding of this machine', () => {
  test('loads, and names its build', () => {
    expect(new Operator('memory', {}).capability().read).toBe(true)
    if (process.env.OVFS_OPENDAL === undefined) expect(bindingBuild.version).toMatch(/^0\.49\.\d+$/)
  })

  test('has layers for its own operators', () => {
    const layer = new TimeoutLayer()
    layer.timeout = 1000
    expect(new Operator('memory', {}).layer(layer.build())).toBeInstanceOf(Operator)
  })

  test.each([
    ['s3', 'disable_write_with_if_match', 'writeWithIfMatch', { bucket: 'b', region: 'r' }],
    ['webdav', 'disable_copy', 'copy', { endpoint: 'http://127.0.0.1:1' }],
    ['oss', 'enable_versioning', 'writeWithIfNotExists', { bucket: 'b', endpoint: 'http://127.0.0.1:1' }],
    ['cos', 'enable_versioning', 'writeWithIfNotExists', { bucket: 'b', endpoint: 'http://127.0.0.1:1' }],
  ] as const)('obeys the option of %s %s', (scheme, option, capability, options) => {
    const other = { ...options, [option]: 'true' }
    expect(new Operator(scheme, options).capability()[capability]).toBe(true)
    expect(new Operator(scheme, { ...options, [option]: 'false' }).capability()[capability]).toBe(true)
    expect(new Operator(scheme, other).capability()[capability]).toBe(false)
    expect(new Operator(scheme, other)).toBeInstanceOf(Operator)
  })

  test('serves no operator of another build, and says whose it wants', () => {
    const operator = new Operator('memory', {})
    operator.layer = () => {
      const text = '<opendal_nodejs::layer::Layer> on `External` is not the type of wrapped object'
      throw Object.assign(new Error(text), { code: 'InvalidArg' })
    }
    expect(() => new OpendalFs(operator, { scheme: 'memory' })).toThrow(
      /the Operator that @ovfs\/opendal-fs exports/,
    )
  })
})
