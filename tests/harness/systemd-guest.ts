// A Debian guest whose process 1 is systemd: the script is run by a service, as root and by bash, when the system is up. No other
// service is enabled. Files below `guest/` are at /guest, and `host TEXT` works as ever.

import { debianDisk } from './debian-guest.ts'
import type { GuestOptions } from './guest.ts'
import { SAYS } from './init.ts'

const SCRIPT_SERVICE = `[Unit]
Requires=basic.target
After=basic.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=HOME=/root LC_ALL=C.UTF-8
ExecStart=/bin/bash /guest/systemd-run
`

const RUN = `
bash /guest/systemd-script </dev/null >/dev/$SCRIPT_LINE 2>&1
echo "<1>${SAYS}exit $?" >/dev/kmsg
systemctl poweroff -ff
`

/** The same guest with its script run under systemd. */
export function underSystemd(options: GuestOptions): GuestOptions {
  const mounts = options.shares.map(({ tag, mountPoint = `/mnt/${tag}` }) => ({ tag, mountPoint }))
  return debianDisk({
    ...options,
    shares: options.shares.map(share => ({ ...share, mountPoint: null })),
    // What systemd has to say is in its journal; on the console it would be in the way of /init's own lines. And no processor
    // that is emulated is open to what the mitigations are against.
    kernelArgs: `systemd.unit=script.service systemd.show_status=0 systemd.log_target=journal mitigations=off ${options.kernelArgs ?? ''}`,
    script: '',
    files: {
      ...options.files,
      'guest/systemd-run': RUN,
      'guest/systemd-script': options.script,
      'guest/script.service': SCRIPT_SERVICE,
      'guest/init': `
        mkdir /debian
        mount -t ext4 -o noatime /dev/vda /debian || fail "mount the disk"
        for dir in dev proc sys; do mkdir -p /debian/$dir; mount -o move /$dir /debian/$dir; done
        cp -r /guest /debian/guest
        mkdir -p /debian/usr/local/bin /debian/etc/systemd/system
        cp /bin/host /debian/usr/local/bin/host
        cp /guest/script.service /debian/etc/systemd/system/
        echo "Environment=SCRIPT_LINE=$SCRIPT_LINE" >>/debian/etc/systemd/system/script.service
        # Without one it would be the first boot, with all that belongs to that.
        echo 0123456789abcdef0123456789abcdef >/debian/etc/machine-id
        ${mounts
          .filter(({ mountPoint }) => mountPoint !== null)
          .map(
            ({ tag, mountPoint }) =>
              `mkdir -p /debian${mountPoint}; mount -t virtiofs ${tag} /debian${mountPoint} || fail "mount ${tag}"`,
          )
          .join('\n')}
        exec switch_root /debian /lib/systemd/systemd
      `,
    },
  })
}
