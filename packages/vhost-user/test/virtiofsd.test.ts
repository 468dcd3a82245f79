// The front-end against a back-end that others wrote: Debian's C virtiofsd (package qemu-system-common).

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { FrontendSession } from '../src/frontend-session.ts'
import { guestMemory, RING, temporaryFolder, until } from './peers.ts'

const VIRTIOFSD = '/usr/lib/qemu/virtiofsd'
/** It needs root; in CI it must run. */
const missing = !existsSync(VIRTIOFSD)
const SKIPPABLE = (missing || process.getuid?.() !== 0) && process.env.CI !== 'true'

async function startVirtiofsd(): Promise<{ path: string; process: ChildProcess }> {
  const folder = temporaryFolder()
  const source = join(folder, 'share')
  mkdirSync(source)
  const path = join(folder, 'socket')
  const daemon = spawn(
    VIRTIOFSD,
    [`--socket-path=${path}`, '-o', `source=${source}`, '-o', 'sandbox=chroot'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  onTestFinished(() => {
    daemon.kill('SIGKILL')
  })
  let said = ''
  daemon.stderr?.on('data', chunk => {
    said += chunk
  })
  await until(() => {
    if (daemon.exitCode !== null) throw new Error(`virtiofsd ended with ${daemon.exitCode}: ${said}`)
    return said.includes('Waiting for vhost-user socket connection')
  })
  return { path, process: daemon }
}

test.skipIf(SKIPPABLE)(`a ring runs on ${VIRTIOFSD}, and again on a second start`, async () => {
  expect(missing, `${VIRTIOFSD} is missing: apt-get install qemu-system-common`).toBe(false)
  const daemon = await startVirtiofsd()
  const memory = guestMemory()
  const session = FrontendSession.connect(daemon.path)
  onTestFinished(() => session.close())
  const negotiated = await session.handshake()
  expect(negotiated.features & 0x1_4000_0000n).toBe(0x1_4000_0000n)
  expect(negotiated.memorySlots).toBeGreaterThanOrEqual(8)
  await session.addMemory(memory)

  const bytes = new DataView(memory.regions[1]?.pieces[0] as ArrayBuffer)
  const at = (guestAddress: number) => guestAddress - 0x1_0000_0000
  // A FUSE_INIT request of 64 bytes at 0x10000, its reply of 80 at 0x11000, in descriptors 0 and 1.
  const init = at(0x1_0001_0000)
  bytes.setUint32(init, 104, true)
  bytes.setUint32(init + 4, 26, true)
  bytes.setBigUint64(init + 8, 0xdeadbeefn, true)
  bytes.setUint32(init + 40, 7, true)
  bytes.setUint32(init + 44, 31, true)
  bytes.setUint32(init + 48, 131072, true)
  const descriptor = (i: number, address: number, length: number, flags: number, next: number) => {
    const offset = at(RING.descAddress) + 16 * i
    bytes.setBigUint64(offset, BigInt(address), true)
    bytes.setUint32(offset + 8, length, true)
    bytes.setUint16(offset + 12, flags, true)
    bytes.setUint16(offset + 14, next, true)
  }
  descriptor(0, 0x1_0001_0000, 104, 1, 1)
  descriptor(1, 0x1_0001_1000, 80, 2, 0)
  const usedIndex = () => bytes.getUint16(at(RING.usedAddress) + 2, true)

  const ring = await session.startRing(RING)
  const seen = ring.calls
  bytes.setUint16(at(RING.availAddress) + 2, 1, true)
  ring.kick()
  while (usedIndex() !== 1) await ring.called(seen)
  expect(bytes.getBigUint64(at(0x1_0001_1008), true)).toBe(0xdeadbeefn)
  expect(bytes.getInt32(at(0x1_0001_1004), true)).toBe(0)

  const base = await session.stopRing(ring)
  expect(base).toBe(1)
  const again = await session.startRing({ ...RING, base })
  expect(await session.stopRing(again)).toBe(1)
})
