// The tour in a real guest: a script that shows each command before it runs it. Everything happens in a folder of the
// tour's own, which goes away at the end: the storage may be the user's.

import { bootGuest } from '../harness/guest.ts'
import type { GuestFiles } from '../harness/initramfs.ts'
import { agree, type DemoStorage } from './storage.ts'

const MEBIBYTES = 8

export async function guestTour(
  socketPath: string,
  guest: GuestFiles,
  storage: DemoStorage,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const folder = `ovfs-tour-${process.pid}`
  const onCall = (call: string) => {
    const [, path = '', md5 = ''] = call.split(' ')
    print('\n')
    return agree(storage, path, md5, print)
  }
  const { exitCode } = await bootGuest({
    parts: guest,
    shares: [{ socketPath, tag: 'ovfs' }],
    script: script(folder),
    onCall,
    onOutput: chunk => print(chunk.toString('utf8')),
    timeoutMs: 180_000,
    signal,
  })
  if (exitCode !== 0) throw new Error(`the tour stopped with status ${exitCode}`)
}

const script = (folder: string) => `
set -e
show() { echo; echo "guest# $*"; eval "$*"; }
show 'uname -sr; grep virtiofs /proc/mounts'
show 'ls -l /mnt/ovfs | head -n 20'
for file in /mnt/ovfs/*.txt; do [ ! -f "$file" ] || show "head -n 5 '$file'"; break; done
show mkdir -p /mnt/ovfs/${folder}/drafts
cd /mnt/ovfs/${folder}
show 'echo written in the guest >drafts/note; echo and appended >>drafts/note; cat drafts/note'
show mv drafts final
show 'dd if=/dev/urandom of=final/random bs=1M count=${MEBIBYTES} 2>/dev/null; ls -l final'
cd /
show 'umount /mnt/ovfs; mount -t virtiofs ovfs /mnt/ovfs'
show md5sum /mnt/ovfs/${folder}/final/random
host compare ${folder}/final/random $(md5sum </mnt/ovfs/${folder}/final/random | cut -d ' ' -f 1)
show rm -r /mnt/ovfs/${folder}
show df -h /mnt/ovfs
echo
`
