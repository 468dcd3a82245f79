// What tests of hostile front-ends share: messages by hand, and what must become of whoever sends a bad one.

import { closeSync } from 'node:fs'
import { expect, onTestFinished } from 'vitest'
import type { FrontendSession } from '../src/frontend-session.ts'
import { createEventFd } from '../src/sys/eventfd.ts'
import { createMemFd } from '../src/sys/memfd.ts'
import { type Backend, MIB, until } from './peers.ts'

export const VERSION = 0x1
export const NEED_REPLY = 0x9

export const words = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer)
export const longs = (...values: (number | bigint)[]) =>
  new Uint8Array(BigUint64Array.from(values.map(BigInt)).buffer)
export const NOTHING = new Uint8Array(0)

export const header = (request: number, flags: number, size: number) => words(request, flags, size)

export function eventFd(): number {
  const fd = createEventFd()
  onTestFinished(() => closeSync(fd))
  return fd
}

export function memFd(size: number): number {
  const fd = createMemFd('guest-memory', size)
  onTestFinished(() => closeSync(fd))
  return fd
}

/** The session is over because of `code`, everything of it is released, and the next front-end is served. */
export async function expectSentAway(
  backend: Backend,
  session: FrontendSession,
  code: string,
): Promise<void> {
  await until(() => backend.disconnects.length === 1)
  expect(backend.disconnects[0]).toMatchObject({ name: 'VhostUserError', code })
  await until(() => session.endedBy !== undefined)
  expect(session.endedBy).toMatchObject({ code: 'PEER_CLOSED' })
  const next = backend.connect()
  expect(await next.request('GET_FEATURES')).toBe(0x1_7000_0000n)
}

export async function expectRefused(backend: Backend, session: FrontendSession, code: string): Promise<void> {
  const { flags, payload } = await session.reply()
  expect(flags).toBe(0x5)
  expect([...payload]).toEqual([1, 0, 0, 0, 0, 0, 0, 0])
  expect(backend.errors.at(-1)).toMatchObject({ name: 'VhostUserError', code })
  expect(await session.request('GET_FEATURES'), 'the session goes on').toBe(0x1_7000_0000n)
}

export interface Region {
  readonly guest?: number
  readonly size?: number | bigint
  readonly user?: number | bigint
  readonly offset?: number | bigint
}

/** SET_MEM_TABLE of regions of 1 MiB, except where said otherwise. */
export function table(...regions: Region[]): Uint8Array {
  const described = regions.flatMap(({ guest = 0, size = MIB, user = 0x7f00_0000_0000, offset = 0 }) => [
    guest,
    size,
    user,
    offset,
  ])
  return longs(regions.length, ...described)
}
