// A guest whose script runs in a small Debian with real programs, instead of in the busybox initramfs. The disk was made by
// scripts/guest-image.mjs; each boot writes into a snapshot of its own, which ends with it.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type GuestOptions, missingForGuest } from './guest.ts'
import { repository } from './initramfs.ts'

const IMAGE = join(repository, '.cache', 'debian', 'image.ext4')

/** Names what such a guest needs and this machine lacks. */
export function missingForDebian(): string | undefined {
  if (!existsSync(IMAGE)) return 'the disk of the Debian guest (node scripts/prepare.mjs --tests)'
  return missingForGuest()
}

/** The same guest with the disk at /dev/vda. */
export function debianDisk(options: GuestOptions): GuestOptions {
  return {
    memoryMiB: 768,
    ...options,
    modules: [...(options.modules ?? []), 'virtio_blk', 'ext4'],
    qemuArgs: [
      ...['-drive', `file=${IMAGE.replaceAll(',', ',,')},format=raw,if=none,id=debian,snapshot=on`],
      ...['-device', 'virtio-blk-pci,drive=debian'],
      ...(options.qemuArgs ?? []),
    ],
  }
}

/**
 * The same guest with its script run by bash as Debian's root. `host TEXT` works as ever; shares are mounted where they would
 * be, except that the script may not rely on busybox; `files` below `guest/` are at /guest.
 */
export function inDebian(options: GuestOptions): GuestOptions {
  const mounts = options.shares.map(({ tag, mountPoint = `/mnt/${tag}` }) => ({ tag, mountPoint }))
  const mounted = mounts.filter(({ mountPoint }) => mountPoint !== null)
  return debianDisk({
    ...options,
    shares: options.shares.map(share => ({ ...share, mountPoint: null })),
    files: { ...options.files, 'guest/debian-script': options.script },
    script: `
      mkdir /debian
      mount -t ext4 -o noatime /dev/vda /debian || exit 120
      for dir in dev proc sys guest; do mkdir -p /debian/$dir; mount --bind /$dir /debian/$dir; done
      mount -t tmpfs tmpfs /debian/tmp
      mkdir -p /debian/usr/local/bin
      cp /bin/host /debian/usr/local/bin/host
      ${mounted.map(({ tag, mountPoint }) => `mkdir -p /debian${mountPoint}; mount -t virtiofs ${tag} /debian${mountPoint} || exit 121`).join('\n')}
      env -i HOME=/tmp PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \\
        chroot /debian /bin/bash /guest/debian-script
      status=$?
      ${mounted.map(({ mountPoint }) => `umount /debian${mountPoint}`).join('\n')}
      exit $status
    `,
  })
}
