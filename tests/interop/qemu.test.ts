// Our back-ends with QEMU, beyond what one share in one guest shows: memory that is plugged in and out under a running copy,
// several request queues, several devices of different types in one guest, stop and cont, and a reboot with all of them.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Daemon, missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { Guest, missingForGuest } from '../harness/guest.ts'
import { repository } from '../harness/initramfs.ts'
import { ended, ownProcess, printed } from '../harness/process.ts'

const examples = join(repository, 'examples', 'dist')
const lacks =
  missingForGuest() ??
  missingForOvfs() ??
  (existsSync(join(examples, 'serve.js')) ? undefined : 'the compiled examples (npx tsc -b examples)')

/** Copies a file to the share and back until told otherwise, and compares each time. */
const COPY_LOOP = `
  head -c 3000000 /dev/urandom >/tmp/original
  (
    rounds=0
    while [ ! -e /tmp/enough ]; do
      cp /tmp/original /mnt/ovfs/copy && echo 1 >/proc/sys/vm/drop_caches && cmp /tmp/original /mnt/ovfs/copy || exit 1
      rounds=$((rounds + 1))
    done
    [ $rounds -gt 1 ] && echo "copied and compared"
  ) &
  copying=$!
`
const COPY_END = 'touch /tmp/enough; wait $copying || echo "the copy failed"'

describe.skipIf(lacks !== undefined)(
  `QEMU and our back-ends${lacks === undefined ? '' : `: needs ${lacks}`}`,
  { timeout: 180_000 },
  () => {
    let dir: string
    let daemon: Daemon

    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'ovfs-interop-'))
      daemon = await startOvfs(`fs://${dir}`)
    })
    afterEach(async () => {
      await daemon.stop()
      await rm(dir, { recursive: true, force: true })
    })

    const share = () => ({ socketPath: daemon.socketPath, tag: 'ovfs' })

    async function example(name: string, ...args: string[]): Promise<string> {
      const socketPath = join(dir, `${name}.socket`)
      const child = ownProcess(
        spawn(process.execPath, [join(examples, `${name}.js`), socketPath, ...args], {
          stdio: ['ignore', 'pipe', 'inherit'],
        }),
      )
      const end = ended(child)
      onTestFinished(async () => {
        child.kill('SIGTERM')
        await end
      })
      await printed(child, child.stdout, /listening on/)
      return socketPath
    }

    test('memory that is plugged in and out again while a copy runs', async () => {
      const guest = await Guest.start({
        shares: [share()],
        qemuArgs: ['-m', 'slots=2,maxmem=2G'],
        script: `
        ${COPY_LOOP}
        sleep 1
        before=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)
        host plug
        sleep 1
        for block in /sys/devices/system/memory/memory*; do
          [ "$(cat $block/state)" = offline ] && echo online_movable >$block/state && plugged="$plugged $block"
        done
        after=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)
        echo "$(((after - before) / 1024)) MiB more"
        # Page cache and buffers of the copy spread over the new memory.
        head -c 120000000 /dev/zero >/tmp/fill; rm /tmp/fill
        for block in $plugged; do echo offline >$block/state || echo "still in use"; done
        host unplug
        sleep 1
        ${COPY_END}
      `,
        onCall,
        timeoutMs: 150_000,
      })
      async function onCall(call: string): Promise<void> {
        if (call === 'plug') {
          const backend = { 'qom-type': 'memory-backend-memfd', id: 'more', size: 256 << 20, share: true }
          await guest.qmp.execute('object-add', backend)
          await guest.qmp.execute('device_add', { driver: 'pc-dimm', id: 'dimm', memdev: 'more' })
        } else {
          await guest.qmp.execute('device_del', { id: 'dimm' })
        }
      }
      onTestFinished(() => guest.kill())
      const { output, exitCode } = await guest.end()
      expect(output).toBe('256 MiB more\ncopied and compared\n')
      expect(exitCode).toBe(0)
      expect(guest.qmp.events).toContain('DEVICE_DELETED')
    })

    test('memory of a virtio-mem device that the guest takes and gives back while a copy runs', async () => {
      const guest = await Guest.start({
        shares: [share()],
        modules: ['virtio_mem'],
        kernelArgs: 'memhp_default_state=online_movable',
        qemuArgs: [
          ...['-m', 'slots=2,maxmem=2G'],
          ...['-object', 'memory-backend-memfd,id=more,size=512M,share=on,reserve=off'],
          ...['-device', 'virtio-mem-pci,id=elastic,memdev=more,node=0,requested-size=0'],
        ],
        script: `
        ${COPY_LOOP}
        sleep 1
        total() { awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo; }
        before=$(total)
        host resize 128
        until [ $(($(total) - before)) -ge 128 ]; do sleep 0.2; done
        echo "$(($(total) - before)) MiB more"
        # Page cache and buffers of the copy spread over the new memory.
        head -c 60000000 /dev/zero >/tmp/fill; rm /tmp/fill
        host resize 0
        until [ $(total) -eq $before ]; do sleep 0.2; done
        echo "as much as before"
        sleep 1
        ${COPY_END}
      `,
        onCall,
        timeoutMs: 150_000,
      })
      async function onCall(call: string): Promise<void> {
        const value = Number(call.split(' ')[1]) << 20
        await guest.qmp.execute('qom-set', {
          path: '/machine/peripheral/elastic',
          property: 'requested-size',
          value,
        })
      }
      onTestFinished(() => guest.kill())
      const { output, exitCode } = await guest.end()
      expect(output).toBe('128 MiB more\nas much as before\ncopied and compared\n')
      expect(exitCode).toBe(0)
    })

    test('several request queues, used from several processors', async () => {
      const guest = await Guest.start({
        shares: [],
        cpus: 4,
        qemuArgs: [
          ...['-chardev', `socket,id=mq,path=${daemon.socketPath}`],
          ...['-device', 'vhost-user-fs-pci,chardev=mq,tag=mq,num-request-queues=4,queue-size=256'],
        ],
        script: `
        mkdir /mnt/mq && mount -t virtiofs mq /mnt/mq
        for n in 1 2 3 4; do
          (
            head -c 3000000 /dev/urandom >/tmp/$n
            taskset $((1 << (n - 1))) cp /tmp/$n /mnt/mq/$n
            taskset $((1 << (n - 1))) cmp /tmp/$n /mnt/mq/$n && echo same
          ) &
        done
        wait
        umount /mnt/mq
      `,
        timeoutMs: 120_000,
      })
      onTestFinished(() => guest.kill())
      const { output, exitCode } = await guest.end()
      expect({ output, exitCode }).toEqual({ output: 'same\n'.repeat(4), exitCode: 0 })
    })

    test('two shares, a disk and an entropy device in one guest, which is stopped, goes on, and reboots', async () => {
      const image = join(dir, 'disk.img')
      await writeFile(image, Buffer.alloc(8 << 20))
      const disk = await example('vhost-user-blk', 'file', image)
      const rng = await example('vhost-user-rng')
      const generated = await example('generated-files')
      const guest = await Guest.start({
        shares: [share(), { socketPath: generated, tag: 'generated', queueSize: 128 }],
        modules: ['virtio_blk', 'virtio_rng'],
        qemuArgs: [
          ...['-chardev', `socket,id=disk,path=${disk}`, '-device', 'vhost-user-blk-pci,chardev=disk'],
          ...['-chardev', `socket,id=rng,path=${rng}`, '-device', 'vhost-user-rng-pci,chardev=rng'],
        ],
        reboots: true,
        script: `
        mkdir /mnt/disk
        if [ ! -e /mnt/ovfs/md5 ]; then
          mke2fs -F /dev/vda >/dev/null
          mount -t ext2 /dev/vda /mnt/disk
          echo working
          dd if=/dev/hwrng bs=1k count=16 iflag=fullblock 2>/dev/null >/tmp/random; head -c 2000000 /dev/urandom >>/tmp/random
          for round in 1 2 3; do cp /tmp/random /mnt/disk/random; cp /mnt/disk/random /mnt/ovfs/random; sync; done
          md5sum </mnt/ovfs/random >/mnt/ovfs/md5
          umount /mnt/disk
          sync
          reboot -f
        fi
        mount -t ext2 /dev/vda /mnt/disk
        md5sum </mnt/disk/random | cmp - /mnt/ovfs/md5 && echo same on the disk
        md5sum </mnt/ovfs/random | cmp - /mnt/ovfs/md5 && echo same on the share
        cat /mnt/generated/numbers/6
        dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c
        umount /mnt/disk
      `,
        timeoutMs: 150_000,
      })
      onTestFinished(() => guest.kill())
      await guest.outputs(/working/)
      for (let times = 0; times < 10; times++) {
        await guest.qmp.execute('stop')
        await guest.qmp.execute('cont')
        await new Promise(resolve => setTimeout(resolve, 50))
      }
      const { output, exitCode, boots } = await guest.end()
      expect(output).toBe('working\nsame on the disk\nsame on the share\n6 = 2 x 3\n16\n')
      expect({ exitCode, boots }).toEqual({ exitCode: 0, boots: 2 })
      expect((await readFile(join(dir, 'random'))).length).toBe(2_016_384)
    })
  },
)
