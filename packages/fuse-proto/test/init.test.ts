import { describe, expect, test } from 'vitest'
import {
  type FuseHandler,
  IMPLEMENTED_FLAGS2,
  InitFlags,
  InitFlags2,
  type InitIn,
  type InitOptions,
  negotiate,
} from '../src/index.ts'

const LINUX_7_2: InitIn = { major: 7, minor: 45, maxReadahead: 131072, flags: 0x7bff_fffb, flags2: 0x5ff }
const handler = { init: () => ({ flags: 0 }), readdirplus: () => {} } as FuseHandler
const agree = (options: InitOptions, offer = LINUX_7_2, who = handler) => negotiate(offer, options, who)

describe('features', () => {
  test('are on when offered, wanted and implemented', () => {
    expect(agree({ flags: InitFlags.ASYNC_READ | InitFlags.POSIX_LOCKS }).flags & 0xf).toBe(
      InitFlags.ASYNC_READ,
    )
    expect(agree({ flags: InitFlags.ASYNC_READ }, { ...LINUX_7_2, flags: 0 }).flags).toBe(0)
  })

  test('a handler that wants everything gets nothing that this package cannot do', () => {
    const all = agree({ flags: 0xffff_ffff, flags2: 0xffff_ffff })
    for (const name of [
      'POSIX_LOCKS',
      'EXPORT_SUPPORT',
      'FLOCK_LOCKS',
      'EXPLICIT_INVAL_DATA',
      'MAP_ALIGNMENT',
    ] as const) {
      expect([name, all.flags & InitFlags[name]]).toEqual([name, 0])
    }
    expect(all.flags2).toBe(IMPLEMENTED_FLAGS2)
    expect(all).toMatchObject({ mapAlignment: 0, maxStackDepth: 0, requestTimeout: 0 })
  })

  test('INIT_EXT is set exactly when flags2 says something', () => {
    const ext = (options: InitOptions) => agree(options).flags & InitFlags.INIT_EXT
    expect(ext({ flags: 0xffff_ffff })).toBe(0)
    expect(ext({ flags: 0, flags2: InitFlags2.ALLOW_IDMAP })).toBe(0)
    expect(ext({ flags: 0, flags2: InitFlags2.NO_EXPORT_SUPPORT })).toBe(InitFlags.INIT_EXT)
  })

  test('flags are numbers without a sign', () => {
    expect(agree({ flags: 0xffff_ffff, flags2: 0xffff_ffff }).flags).toBeGreaterThan(0)
  })

  test('locks are not agreed with a handler that has none', () => {
    const locks = InitFlags.POSIX_LOCKS | InitFlags.FLOCK_LOCKS
    const of = (methods: Partial<FuseHandler>) =>
      agree({ flags: locks }, LINUX_7_2, { init: handler.init, ...methods }).flags & locks
    const setlk = () => {}
    expect(of({})).toBe(0)
    expect(of({ setlk })).toBe(InitFlags.FLOCK_LOCKS)
    expect(of({ setlk, getlk: (_ctx, _node, _fh, _owner, lock) => lock })).toBe(locks)
  })

  test('READDIRPLUS is not agreed with a handler that has none', () => {
    const plus = InitFlags.DO_READDIRPLUS | InitFlags.READDIRPLUS_AUTO
    expect(agree({ flags: plus }).flags & plus).toBe(plus)
    expect(agree({ flags: plus }, LINUX_7_2, { init: handler.init }).flags & plus).toBe(0)
  })
})

describe('limits', () => {
  test('have defaults for a store of objects', () => {
    expect(agree({ flags: 0 })).toMatchObject({
      maxReadahead: 131072,
      maxBackground: 128,
      congestionThreshold: 96,
      maxWrite: 1048576,
      timeGran: 1,
      maxPages: 256,
    })
  })

  test('a request has 256 pages at least, because reads are bound by them too', () => {
    expect(agree({ flags: 0, maxWrite: 65536 })).toMatchObject({ maxWrite: 65536, maxPages: 256 })
    expect(agree({ flags: 0, maxWrite: 4 * 1048576 }).maxPages).toBe(1024)
  })

  test('max_pages says nothing to a guest that does not know it', () => {
    const old = { ...LINUX_7_2, flags: LINUX_7_2.flags & ~InitFlags.MAX_PAGES }
    expect(agree({ flags: 0 }, old)).toMatchObject({ maxPages: 0, flags: InitFlags.BIG_WRITES })
  })

  test('a page can always be written', () => {
    expect(agree({ flags: 0, maxWrite: 1 }).maxWrite).toBe(4096)
  })

  test('what does not fit its field is bounded', () => {
    expect(agree({ flags: 0, maxBackground: 100_000 }).maxBackground).toBe(65535)
  })
})
