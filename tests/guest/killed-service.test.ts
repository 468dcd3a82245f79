// QEMU connects to a back-end once. Here the back-end is killed, again and again, while its guest works with the device; a
// service manager starts it anew; and neither QEMU nor the guest notices. OVFS_GUEST_KILLS says how often.

import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { missingForOvfs, PROGRAM } from '../harness/daemon.ts'
import { Guest, type GuestOptions, missingForGuest } from '../harness/guest.ts'
import { repository } from '../harness/initramfs.ts'
import { Service } from '../harness/service-manager.ts'

const KILLS = Number(process.env.OVFS_GUEST_KILLS ?? 6)
const compiled = join(repository, 'examples', 'dist')
const lacks =
  missingForGuest() ??
  (existsSync(join(compiled, 'serve.js')) ? undefined : 'the compiled examples (npx tsc -b examples)')

async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-killed-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

async function start(name: string, ...args: string[]): Promise<{ service: Service; socketPath: string }> {
  const socketPath = join(await temporaryFolder(), 'socket')
  const service = new Service([process.execPath, join(compiled, `${name}.js`), socketPath, ...args])
  onTestFinished(() => service.stop())
  await service.ready()
  return { service, socketPath }
}

/** Boots the guest and, once it says `begin`, ends the service again and again; what the guest said since, and its exit status. */
async function bootAndKill(
  service: Service,
  options: GuestOptions,
): Promise<{ said: string; exitCode: number }> {
  const guest = await Guest.start(options)
  await guest.outputs(/begin\n/)
  for (let kill = 0; kill < KILLS; kill++) {
    await delay(Math.random() * 300)
    const signal = kill % 3 === 2 ? 'SIGTERM' : 'SIGKILL'
    await service.restart(signal)
    if (signal === 'SIGTERM') expect(service.exitCode).toBe(0)
    await service.ready()
  }
  const { output, exitCode } = await guest.end()
  return { said: output.slice(output.indexOf('begin\n') + 6), exitCode }
}

/** One more than it was killed, and none had anything to complain about. */
function expectLives({ starts, complaints, said }: Service): void {
  const other = said.split('\n').filter(line => !/^$|^listening on|^Waiting for|^\S+ info /.test(line))
  expect({ starts, complaints, other }).toEqual({ starts: KILLS + 1, complaints: [], other: [] })
}

describe.skipIf(lacks !== undefined)(
  `a guest whose back-end is killed${lacks === undefined ? '' : `: needs ${lacks}`}`,
  { timeout: 120_000 + KILLS * 6000 },
  () => {
    test('goes on reading random bytes', async () => {
      const { service, socketPath } = await start('vhost-user-rng')
      const result = await bootAndKill(service, {
        shares: [],
        modules: ['virtio_rng'],
        qemuArgs: [
          ...['-chardev', `socket,id=rng,path=${socketPath}`],
          ...['-device', 'vhost-user-rng-pci,chardev=rng'],
        ],
        onCall: async () => {
          if (service.starts <= KILLS) throw new Error('again')
        },
        script: `
          echo begin
          until host over 2>/dev/null; do
            dd if=/dev/hwrng bs=1k count=16 iflag=fullblock 2>/dev/null >/tmp/bytes
            [ $(gzip -c /tmp/bytes | wc -c) -gt 16000 ] || echo not random
          done
          echo end`,
        timeoutMs: 110_000 + KILLS * 5000,
      })
      expect(result).toEqual({ said: 'end\n', exitCode: 0 })
      expectLives(service)
      await service.until(() => service.stored.length === 0)
    })

    test.skipIf(missingForOvfs() !== undefined)(
      'finds every byte on its share, and its open files open',
      async () => {
        const dir = await temporaryFolder()
        await Promise.all(['storage', 'state'].map(name => mkdir(join(dir, name))))
        const socketPath = join(dir, 'socket')
        const service = new Service([
          ...[process.execPath, PROGRAM, 'serve', `fs://${join(dir, 'storage')}`],
          ...['--socket', socketPath, '--state-dir', join(dir, 'state')],
        ])
        onTestFinished(() => service.stop())
        await service.ready()
        const result = await bootAndKill(service, {
          shares: [{ socketPath, tag: 'share' }],
          onCall: async () => {
            if (service.starts <= KILLS) throw new Error('again')
          },
          script: `
          cd /mnt/share
          dd if=/dev/urandom of=/tmp/file bs=1k count=3000 2>/dev/null
          echo kept >gone; exec 4<gone; rm gone
          exec 5>log
          echo begin
          round=0
          until host over 2>/dev/null; do
            round=$((round + 1))
            mkdir $round && cp /tmp/file $round/file && mv $round/file $round/moved || echo $round: not copied
            cmp /tmp/file $round/moved || echo $round: differs
            echo $round >&5 || echo $round: not logged
          done
          exec 5>&-
          cat <&4
          seq 1 $round | cmp - log
          echo 3 >/proc/sys/vm/drop_caches
          for i in $(seq 1 $round); do cmp /tmp/file $i/moved || echo $i: differs at the end; done
          cd /; echo end`,
          timeoutMs: 110_000 + KILLS * 5000,
        })
        expect(result).toEqual({ said: 'kept\nend\n', exitCode: 0 })
        expectLives(service)
      },
    )

    test('finds every byte on its disk', async () => {
      const image = join(await temporaryFolder(), 'disk.img')
      await writeFile(image, Buffer.alloc(16 << 20))
      const { service, socketPath } = await start('vhost-user-blk', 'file', image)
      const result = await bootAndKill(service, {
        shares: [],
        modules: ['virtio_blk'],
        qemuArgs: [
          ...['-chardev', `socket,id=disk,path=${socketPath}`],
          ...['-device', 'vhost-user-blk-pci,chardev=disk'],
        ],
        onCall: async () => {
          if (service.starts <= KILLS) throw new Error('again')
        },
        script: `
          mke2fs -F /dev/vda >/dev/null
          mkdir /mnt/disk
          mount -t ext2 /dev/vda /mnt/disk
          dd if=/dev/urandom of=/tmp/file bs=1k count=3000 2>/dev/null
          echo begin
          until host over 2>/dev/null; do
            cp /tmp/file /mnt/disk/file && sync
            echo 3 >/proc/sys/vm/drop_caches
            cmp /tmp/file /mnt/disk/file || echo differs
          done
          umount /mnt/disk
          e2fsck -fn /dev/vda >/dev/null 2>&1; fsck=$?
          [ $fsck = 0 ] || [ $fsck = 127 ] || echo fsck says $fsck
          echo end`,
        timeoutMs: 110_000 + KILLS * 5000,
      })
      expect(result).toEqual({ said: 'end\n', exitCode: 0 })
      expectLives(service)
    })
  },
)
