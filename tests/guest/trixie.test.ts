// A guest with the kernel of Debian 13: virtio-fs, FUSE and virtio-pci are built in, other modules are compressed.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { bootGuest, missingForGuest } from '../harness/guest.ts'
import { x64Trixie } from '../harness/machine.ts'

const lacks = missingForGuest(x64Trixie) ?? missingForOvfs()

test.skipIf(lacks !== undefined)(
  `a share is mounted by a kernel with virtio-fs built in${lacks === undefined ? '' : ` (needs ${lacks})`}`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ovfs-trixie-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const daemon = await startOvfs(`fs://${folder}`)
    onTestFinished(() => daemon.stop())
    const { output, exitCode } = await bootGuest({
      machine: x64Trixie,
      shares: [{ socketPath: daemon.socketPath, tag: 'ovfs' }],
      modules: ['virtio_blk'],
      script: 'ls /modules; lsmod | cut -d " " -f 1; echo from the guest >/mnt/ovfs/file',
      timeoutMs: 120_000,
    })
    expect(exitCode).toBe(0)
    expect(output).toMatch(/^\d+-virtio_blk\.ko$/m)
    expect(output).toMatch(/^virtio_blk$/m)
    expect(output).not.toMatch(/virtiofs/)
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('from the guest\n')
  },
)

test.skipIf(lacks !== undefined)(
  `a kernel without any module to load boots${lacks === undefined ? '' : ` (needs ${lacks})`}`,
  async () => {
    const { output, exitCode } = await bootGuest({
      machine: x64Trixie,
      shares: [],
      script: 'ls /modules 2>&1 || uname -r',
      timeoutMs: 120_000,
    })
    expect(exitCode).toBe(0)
    expect(output).toMatch(/No such file or directory\n6\./)
  },
)
