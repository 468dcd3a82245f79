// The main job, as `npm start` runs it after everything is prepared: serve a storage, boot a guest on it, give the user a
// shell there or, without a terminal, a tour. `--no-vm` puts our own front-end and driver in the guest's place.

import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { runShell } from '../harness/guest.ts'
import { EndedEarly } from '../harness/process.ts'
import { driverTour } from './driver-tour.ts'
import { guestTour } from './guest-tour.ts'
import { demoStorage } from './storage.ts'

const print = (text: string) => process.stdout.write(text)

async function main(args: readonly string[]): Promise<void> {
  const withoutVm = args.includes('--no-vm')
  const rest = args.filter(arg => arg !== '--no-vm')
  const uri = rest[0]?.startsWith('-') === false ? rest.shift() : undefined
  const storage = demoStorage(uri, rest)
  try {
    const daemon = await startOvfs(storage.uri, { args: storage.args })
    try {
      if (withoutVm) {
        print(`ovfs serves ${storage.uri} to its own driver, without a virtual machine\n`)
        await driverTour(daemon.socketPath, storage, print)
      } else if (process.stdin.isTTY && process.stdout.isTTY) {
        print(
          `ovfs serves ${storage.uri} at /mnt/ovfs of the guest; \`exit\` powers it off, Ctrl-a x kills it\n`,
        )
        await runShell({ shares: [share(daemon)], files: { 'guest/welcome': 'cd /mnt/ovfs\n' } })
      } else {
        print(`ovfs serves ${storage.uri}; a Linux guest boots with it at /mnt/ovfs\n`)
        await guestTour(daemon.socketPath, storage, print)
        print('host: the guest has powered off\n')
      }
    } catch (error) {
      process.stderr.write(daemon.stderr())
      await daemon.kill()
      throw error
    }
    await daemon.stop()
  } finally {
    storage.remove()
  }
}

const share = ({ socketPath }: Daemon) => ({ socketPath, tag: 'ovfs' })

main(process.argv.slice(2)).catch((error: Error) => {
  process.stderr.write(`${error instanceof EndedEarly ? error.said : error.message}\n`)
  process.exitCode = 1
})
