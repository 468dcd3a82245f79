// The main job, as `npm start` runs it after everything is prepared: serve a storage, boot a guest on it, give the user a
// shell there or, without a terminal, a tour. `--no-vm` puts our own front-end and driver in the guest's place.
// An interrupt ends the guest at once and the daemon in order: what it has acknowledged is published.

import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { runShell } from '../harness/guest.ts'
import { EndedEarly } from '../harness/process.ts'
import { driverTour } from './driver-tour.ts'
import { guestTour } from './guest-tour.ts'
import { type DemoStorage, demoStorage } from './storage.ts'

const print = (text: string) => process.stdout.write(text)

/** Resolves to the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort())
  try {
    await serveAndShow(args, interrupted.signal)
    return 0
  } catch (error) {
    const said = error instanceof EndedEarly ? error.said : (error as Error).message
    process.stderr.write(`${said}\n`)
    return 1
  }
}

async function serveAndShow(args: readonly string[], signal: AbortSignal): Promise<void> {
  const rest = args.filter(arg => arg !== '--no-vm')
  const uri = rest[0]?.startsWith('-') === false ? rest.shift() : undefined
  const storage = demoStorage(uri, rest)
  try {
    const daemon = await startOvfs(storage.uri, { args: storage.args })
    try {
      await show(daemon, storage, args.includes('--no-vm'), signal)
    } catch (error) {
      process.stderr.write(daemon.stderr())
      throw error
    } finally {
      await daemon.stop()
    }
  } finally {
    storage.remove()
  }
}

async function show(
  daemon: Daemon,
  storage: DemoStorage,
  withoutVm: boolean,
  signal: AbortSignal,
): Promise<void> {
  if (withoutVm) {
    print(`ovfs serves ${storage.uri} to its own driver, without a virtual machine\n`)
    await driverTour(daemon.socketPath, storage, print)
  } else if (process.stdin.isTTY && process.stdout.isTTY) {
    print(`ovfs serves ${storage.uri} at /mnt/ovfs of the guest; \`exit\` powers it off, Ctrl-a x kills it\n`)
    const shares = [{ socketPath: daemon.socketPath, tag: 'ovfs' }]
    await runShell({ shares, files: { 'guest/welcome': 'cd /mnt/ovfs\n' } })
  } else {
    print(`ovfs serves ${storage.uri}; a Linux guest boots with it at /mnt/ovfs\n`)
    await guestTour(daemon.socketPath, storage, print, signal)
    print('host: the guest has powered off\n')
  }
}
