// The whole daemon as an arm64 program, in an emulator, with a driver on this machine's own processor. Both have the same memory
// mapped. OpenDAL alone runs outside the emulator (modules/@opendal).

import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ARM64_NODE, missingForArm64 } from '../harness/arm64.ts'
import { missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { bootGuest, missingForGuest } from '../harness/guest.ts'
import { arm64 } from '../harness/machine.ts'

const STEP = 256 * 1024
const lacks = missingForArm64() ?? missingForOvfs() ?? missingForGuest(arm64)

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-arm64-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const pieces = (length: number) =>
  Array.from(
    { length: Math.ceil(length / STEP) },
    (_, i) => [i * STEP, Math.min(STEP, length - i * STEP)] as const,
  )

describe.skipIf(lacks !== undefined)(
  `the daemon on arm64${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    test('serves a driver on x86-64, many requests at once, and publishes what it wrote', async () => {
      const root = await temporaryFolder()
      const daemon = await startOvfs(`fs://${root}`, { node: ARM64_NODE })
      const driver = await VirtioFsDriver.connect(daemon.socketPath)
      const { client } = driver
      await client.init()
      const data = randomBytes(3 * 2 ** 20 + 17)
      const { entry, open } = await client.create(ROOT_NODE, 'file')
      await Promise.all(
        pieces(data.length).map(([at, length]) =>
          client.write(entry.nodeid, open.fh, at, data.subarray(at, at + length)),
        ),
      )
      await client.fsync(entry.nodeid, open.fh)
      expect((await readFile(join(root, 'file'))).equals(data)).toBe(true)
      const parts = await Promise.all(
        pieces(data.length).map(([at, length]) => client.read(entry.nodeid, open.fh, at, length)),
      )
      expect(Buffer.concat(parts).equals(data)).toBe(true)
      await client.release(entry.nodeid, open.fh)
      await Promise.all(Array.from({ length: 100 }, (_, i) => client.mkdir(ROOT_NODE, `directory${i}`)))
      const sizes = await Promise.all(
        Array.from({ length: 1000 }, async () => (await client.lookup(ROOT_NODE, 'file')).attr.size),
      )
      expect(new Set(sizes)).toEqual(new Set([data.length]))
      await driver.close()
      await daemon.stop()
    }, 120_000)

    test('keeps its session in mapped memory: what a killed one had not published, the next one has', async () => {
      const [root, state] = [await temporaryFolder(), await temporaryFolder()]
      const options = { node: ARM64_NODE, args: ['--state-dir', state] }
      const first = await startOvfs(`fs://${root}`, options)
      const driver = await VirtioFsDriver.connect(first.socketPath, { reconnects: true })
      const { client } = driver
      await client.init()
      const { entry, open } = await client.create(ROOT_NODE, 'file')
      const data = randomBytes(100_000)
      await client.write(entry.nodeid, open.fh, 0, data)
      await first.kill()
      const second = await startOvfs(`fs://${root}`, options)
      await driver.reconnect(second.socketPath)
      expect(Buffer.from(await client.read(entry.nodeid, open.fh, 0, data.length)).equals(data)).toBe(true)
      await client.fsync(entry.nodeid, open.fh)
      expect((await readFile(join(root, 'file'))).equals(data)).toBe(true)
      await client.release(entry.nodeid, open.fh)
      await driver.close()
      await second.stop()
    }, 120_000)

    test('serves a guest on the same processor', async () => {
      const root = await temporaryFolder()
      const daemon = await startOvfs(`fs://${root}`, { node: ARM64_NODE })
      const { output, exitCode } = await bootGuest({
        machine: arm64,
        shares: [{ socketPath: daemon.socketPath, tag: 'ovfs' }],
        script: `
          set -e
          cd /mnt/ovfs
          dd if=/dev/urandom of=/tmp/random bs=1M count=4 2>/dev/null
          cp /tmp/random copied
          dd if=/tmp/random of=direct bs=64k oflag=direct 2>/dev/null
          echo 3 >/proc/sys/vm/drop_caches
          cmp copied /tmp/random
          dd if=direct bs=64k iflag=direct 2>/dev/null | cmp - /tmp/random
          mkdir directory
          mv copied directory/moved
          find . | sort
        `,
        timeoutMs: 100_000,
      })
      expect({ output, exitCode }).toEqual({
        output: '.\n./direct\n./directory\n./directory/moved\n',
        exitCode: 0,
      })
      const [direct, moved] = await Promise.all(
        ['direct', 'directory/moved'].map(name => readFile(join(root, name))),
      )
      expect(direct!.length).toBe(4 * 2 ** 20)
      expect(direct!.equals(moved!)).toBe(true)
      await daemon.stop()
    }, 120_000)
  },
)
