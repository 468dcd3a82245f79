// The main job, as `npm start` runs it after the workspace is built: serve a storage, boot a guest on it, give the user a
// shell there or, without a terminal, a tour. With `--no-vm`, and where there can be no guest, our own front-end and driver take its place.
// An interrupt ends the guest at once and the daemon in order: what it has acknowledged is published.

import { accessSync, constants } from 'node:fs'
import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { runShell } from '../harness/guest.ts'
import type { GuestFiles } from '../harness/initramfs.ts'
import { EndedEarly } from '../harness/process.ts'
import { chooseGuest, type KernelOptions, type Provisions } from './choose-guest.ts'
import { driverTour } from './driver-tour.ts'
import { guestTour } from './guest-tour.ts'
import { type DemoStorage, demoStorage } from './storage.ts'

const print = (text: string) => process.stdout.write(text)

/** Resolves to the exit status. */
export async function main(args: readonly string[], provisions: Provisions): Promise<number> {
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort())
  try {
    const { withoutVm, kernel, modules, rest } = takeOptions(args)
    if (kernel !== undefined) accessSync(kernel, constants.R_OK)
    const guest = withoutVm ? undefined : findGuest({ kernel, modules }, provisions)
    await serveAndShow(rest, guest, interrupted.signal)
    return 0
  } catch (error) {
    const said = error instanceof EndedEarly ? error.said : (error as Error).message
    process.stderr.write(`${said}\n`)
    return 1
  }
}

interface Options extends KernelOptions {
  readonly withoutVm: boolean
  /** The storage and what goes to `ovfs serve`. */
  readonly rest: readonly string[]
}

function takeOptions(args: readonly string[]): Options {
  const rest = [...args]
  const take = (name: string) => {
    const at = rest.indexOf(name)
    if (at < 0) return undefined
    const [, value] = rest.splice(at, 2)
    if (value === undefined) throw new Error(`${name} needs a path`)
    return value
  }
  const [kernel, modules] = [take('--kernel'), take('--modules')]
  return { kernel, modules, withoutVm: rest.includes('--no-vm'), rest: rest.filter(arg => arg !== '--no-vm') }
}

/** Undefined, after saying why, if this machine can have no guest. */
function findGuest(options: KernelOptions, provisions: Provisions): GuestFiles | undefined {
  try {
    return chooseGuest(options, provisions)
  } catch (error) {
    const [reason] = (error as Error).message.split('\n')
    process.stderr.write(`ovfs: no virtual machine: ${reason}\novfs: showing the tour without one\n`)
    return undefined
  }
}

async function serveAndShow(
  args: readonly string[],
  guest: GuestFiles | undefined,
  signal: AbortSignal,
): Promise<void> {
  const rest = [...args]
  const uri = rest[0]?.startsWith('-') === false ? rest.shift() : undefined
  const storage = demoStorage(uri, rest)
  try {
    const daemon = await startOvfs(storage.uri, { args: storage.args })
    try {
      await show(daemon, storage, guest, signal)
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
  guest: GuestFiles | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (guest === undefined) {
    print(`ovfs serves ${storage.uri} to its own driver, without a virtual machine\n`)
    await driverTour(daemon.socketPath, storage, print)
  } else if (process.stdin.isTTY && process.stdout.isTTY) {
    print(`ovfs serves ${storage.uri} at /mnt/ovfs of the guest; \`exit\` powers it off, Ctrl-a x kills it\n`)
    const shares = [{ socketPath: daemon.socketPath, tag: 'ovfs' }]
    await runShell({ parts: guest, shares, files: { 'guest/welcome': 'cd /mnt/ovfs\n' } })
  } else {
    print(`ovfs serves ${storage.uri}; a Linux guest boots with it at /mnt/ovfs\n`)
    await guestTour(daemon.socketPath, guest, storage, print, signal)
    print('host: the guest has powered off\n')
  }
}
