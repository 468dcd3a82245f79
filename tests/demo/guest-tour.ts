// The tour in a real guest: a script that shows each command before it runs it. Everything happens in a folder of the
// tour's own, which goes away at the end: the storage may be the user's.

import { createHash } from 'node:crypto'
import { bootGuest, type GuestResult } from '../harness/guest.ts'
import type { DemoStorage } from './storage.ts'

const MEBIBYTES = 8

export async function guestTour(
  socketPath: string,
  { host }: DemoStorage,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const folder = `ovfs-tour-${process.pid}`
  const onCall = async (call: string) => {
    const [, path = '', fromGuest = ''] = call.split(' ')
    if (host === undefined) {
      print('  (the storage lives inside the daemon: the host has no view of its own to compare)\n')
      return
    }
    const data = await host.read(path)
    const fromHost = createHash('md5').update(data).digest('hex')
    print(`\nhost: ${data.length} bytes in the storage, md5 ${fromHost}\n`)
    if (fromHost !== fromGuest) throw new Error(`the guest says ${fromGuest}`)
    print('host: the same as in the guest\n')
  }
  const result: GuestResult = await bootGuest({
    shares: [{ socketPath, tag: 'ovfs' }],
    script: script(folder),
    onCall,
    onOutput: chunk => print(chunk.toString('utf8')),
    timeoutMs: 180_000,
    signal,
  })
  if (result.exitCode !== 0) throw new Error(`the tour stopped with status ${result.exitCode}`)
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
