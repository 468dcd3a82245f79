// The programs in examples/, compiled, each in a real guest: other device types than the one that the packages were made for,
// and a file system without a storage.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { bootGuest, missingForGuest } from '../harness/guest.ts'
import { repository } from '../harness/initramfs.ts'
import { ended, ownProcess, printed } from '../harness/process.ts'

const compiled = join(repository, 'examples', 'dist')
const lacks =
  missingForGuest() ??
  (existsSync(join(compiled, 'serve.js')) ? undefined : 'the compiled examples (npx tsc -b examples)')

async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-example-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** Starts an example; its arguments are a socket, whose path is returned, and `args`. */
async function start(
  name: string,
  ...args: string[]
): Promise<{ socketPath: string; stop(): Promise<void> }> {
  const socketPath = join(await temporaryFolder(), 'socket')
  const child = ownProcess(
    spawn(process.execPath, [join(compiled, `${name}.js`), socketPath, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  let complaints = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text
  })
  const end = ended(child)
  onTestFinished(() => void child.kill('SIGKILL'))
  await printed(child, child.stdout, /listening on/)
  const stop = async () => {
    child.kill('SIGTERM')
    await end
    expect({ status: child.exitCode, complaints }).toEqual({ status: 0, complaints: '' })
  }
  return { socketPath, stop }
}

const device = (type: string, socketPath: string) => [
  ...['-chardev', `socket,id=example,path=${socketPath}`],
  ...['-device', `${type},chardev=example`],
]

describe.skipIf(lacks !== undefined)(
  `the examples in a guest${lacks === undefined ? '' : `: needs ${lacks}`}`,
  { timeout: 120_000 },
  () => {
    test('vhost-user-rng: the guest reads random bytes, never the same twice', async () => {
      const example = await start('vhost-user-rng')
      const { output, exitCode } = await bootGuest({
        shares: [],
        modules: ['virtio_rng'],
        qemuArgs: device('vhost-user-rng-pci', example.socketPath),
        script: `
        cat /sys/class/misc/hw_random/rng_current
        for round in 1 2; do dd if=/dev/hwrng bs=1k count=64 iflag=fullblock 2>/dev/null >/tmp/$round; done
        wc -c </tmp/1
        cmp -s /tmp/1 /tmp/2 && echo same
        # Random bytes do not compress; zeros, or one buffer again and again, would.
        [ $(gzip -c /tmp/1 | wc -c) -gt 65000 ] && echo random
      `,
        timeoutMs: 90_000,
      })
      expect({ output, exitCode }).toEqual({ output: 'virtio_rng.0\n65536\nrandom\n', exitCode: 0 })
      await example.stop()
    })

    test.each([
      ['a file', (dir: string) => ['file', join(dir, 'disk.img')]],
      ['an object of an OpenDAL service', (dir: string) => ['fs', 'disk.img', `root=${dir}`]],
    ])(
      'vhost-user-blk over %s: the guest makes a file system on it, and finds its files again',
      async (_, store) => {
        const dir = await temporaryFolder()
        const image = join(dir, 'disk.img')
        await writeFile(image, Buffer.alloc(16 << 20))
        const example = await start('vhost-user-blk', ...store(dir))
        const { output, exitCode } = await bootGuest({
          shares: [],
          modules: ['virtio_blk'],
          qemuArgs: device('vhost-user-blk-pci', example.socketPath),
          script: `
        set -e
        cat /sys/block/vda/size /sys/block/vda/serial; echo
        mke2fs -F /dev/vda >/dev/null
        mkdir /mnt/disk
        mount -t ext2 /dev/vda /mnt/disk
        dd if=/dev/urandom of=/tmp/file bs=1k count=3000 2>/dev/null
        cp /tmp/file /mnt/disk/file
        for i in 1 2 3 4 5; do mkdir /mnt/disk/$i; echo $i >/mnt/disk/$i/name; done
        umount /mnt/disk
        echo 3 >/proc/sys/vm/drop_caches
        mount -t ext2 -o ro /dev/vda /mnt/disk
        cmp /tmp/file /mnt/disk/file
        cat /mnt/disk/*/name | tr '\\n' ' '
        umount /mnt/disk
        dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | md5sum
        # Past the end there is nothing, and the disk stays usable after an error.
        dd if=/dev/vda bs=512 count=1 skip=32768 2>/dev/null | wc -c
      `,
          timeoutMs: 90_000,
        })
        await example.stop()
        const md5 = createHash('md5')
          .update(await readFile(image))
          .digest('hex')
        expect(output.split('\n')).toEqual(['32768', 'ovfs-example-disk', `1 2 3 4 5 ${md5}  -`, '0', ''])
        expect(exitCode).toBe(0)
      },
    )

    test('generated-files: files that nobody stored are listed, found by name, and read', async () => {
      const example = await start('generated-files')
      const before = new Date().toISOString()
      const { output, exitCode } = await bootGuest({
        shares: [{ socketPath: example.socketPath, tag: 'generated' }],
        script: `
        cd /mnt/generated
        ls -1
        ls numbers | wc -l
        cat numbers/1 numbers/97 numbers/360 numbers/4294967295
        stat -c '%s %F' numbers/360
        cat numbers/0 numbers/4294967296 2>/dev/null || echo absent
        echo x 2>/dev/null >numbers/7 || echo read-only
        cat now
      `,
        timeoutMs: 90_000,
      })
      const lines = output.trimEnd().split('\n')
      const now = lines.pop()!
      expect(lines).toEqual([
        ...['now', 'numbers', '100'],
        ...['1 = 1', '97 = 97', '360 = 2 x 2 x 2 x 3 x 3 x 5', '4294967295 = 3 x 5 x 17 x 257 x 65537'],
        ...['28 regular file', 'absent', 'read-only'],
      ])
      expect(exitCode).toBe(0)
      expect(now > before && now < new Date().toISOString()).toBe(true)
      await example.stop()
    })
  },
)
