// Kernels and busyboxes of other distributions, as folders that are laid out as theirs.

import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { hostKernel, modulesOf, staticBusybox } from './host-guest.ts'
import { guestFiles } from './initramfs.ts'

function tree(files: Record<string, string | Buffer>): string {
  const root = mkdtempSync(join(tmpdir(), 'ovfs-host-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  for (const [path, data] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), data)
  }
  return root
}

/** The beginning of a bzImage. */
function bzImage(version: string): Buffer {
  const image = Buffer.alloc(0x4000)
  image.write('HdrS', 0x202)
  image.writeUInt16LE(0x3000 - 0x200, 0x20e)
  image.write(`${version} (builder@host) #1 SMP\0`, 0x3000)
  return image
}

test('the running kernel is chosen if it has virtio-fs, built in or as a module', () => {
  const root = tree({
    'boot/vmlinuz-6.9.0': '',
    'lib/modules/6.9.0/modules.builtin': 'kernel/fs/fuse/virtiofs.ko\n',
    'boot/vmlinuz-6.10.0': '',
    'lib/modules/6.10.0/kernel/fs/fuse/virtiofs.ko.zst': '',
  })
  expect(hostKernel(root, '6.9.0')).toEqual({
    kernel: join(root, 'boot/vmlinuz-6.9.0'),
    modules: join(root, 'lib/modules/6.9.0'),
  })
  expect(hostKernel(root, '6.10.0')).toMatchObject({ kernel: join(root, 'boot/vmlinuz-6.10.0') })
})

test('the newest other kernel is chosen if the running one has no virtio-fs, as in a container', () => {
  const root = tree({
    'boot/vmlinuz-5.4.0': '',
    'lib/modules/5.4.0/modules.builtin': 'kernel/fs/fuse/fuse.ko\n',
    'boot/vmlinuz-6.9.0': '',
    'lib/modules/6.9.0/kernel/fs/fuse/virtiofs.ko': '',
    'boot/vmlinuz-6.10.0': '',
    'lib/modules/6.10.0/kernel/fs/fuse/virtiofs.ko.xz': '',
  })
  expect(hostKernel(root, '5.4.0')).toMatchObject({ kernel: join(root, 'boot/vmlinuz-6.10.0') })
})

test('a kernel that lies beside its modules is found, as on Fedora and Arch', () => {
  const root = tree({ 'lib/modules/7.0/vmlinuz': '', 'lib/modules/7.0/kernel/fs/fuse/virtiofs.ko.zst': '' })
  expect(hostKernel(root, '7.0')).toMatchObject({ kernel: join(root, 'lib/modules/7.0/vmlinuz') })
})

test('a machine without a kernel of its own says where it looked', () => {
  const root = tree({ 'boot/config': '' })
  expect(hostKernel(root, '7.0')).toBe(
    `no kernel with virtio-fs is in ${join(root, 'boot')} and ${join(root, 'lib/modules')}`,
  )
})

test('the modules of a kernel file are those of the version in its header', () => {
  const root = tree({
    image: bzImage('6.12.1-arch'),
    other: bzImage('6.12.2'),
    vmlinux: '\x7fELF',
    'lib/modules/6.12.1-arch/modules.dep': '',
  })
  expect(modulesOf(join(root, 'image'), root)).toBe(join(root, 'lib/modules/6.12.1-arch'))
  expect(modulesOf(join(root, 'other'), root)).toBeUndefined()
  expect(modulesOf(join(root, 'vmlinux'), root)).toBeUndefined()
})

const busybox = guestFiles()?.busybox

test.skipIf(busybox === undefined)(
  'a busybox counts only if it needs no libraries (needs .cache/guest: node scripts/prepare.mjs --guest)',
  () => {
    const root = tree({ 'a/busybox': '#!/bin/sh\n', 'c/empty': '' })
    mkdirSync(join(root, 'b'))
    // The shell stands for a busybox that is linked dynamically.
    copyFileSync(execFileSync('realpath', ['/bin/sh'], { encoding: 'utf8' }).trim(), join(root, 'b/busybox'))
    copyFileSync(busybox!, join(root, 'c/busybox.static'))
    chmodSync(join(root, 'c/busybox.static'), 0o755)
    const path = ['a', 'b', 'c'].map(name => join(root, name)).join(':')
    expect(staticBusybox(path)).toBe(join(root, 'c/busybox.static'))
  },
)
