// A share of any virtio-fs daemon as a mount of this machine: what real programs do with it, in seconds and without a guest.
// Needs root and /dev/fuse. The mount is served by a process of its own (fuse-bridge.mjs), so synchronous calls on it are safe.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { missingForOvfs } from './daemon.ts'
import { repository } from './initramfs.ts'
import { ended } from './process.ts'

const BRIDGE = join(repository, 'tests', 'harness', 'fuse-bridge.mjs')

/** Names what is missing before a share can be mounted here. */
export function missingForNativeMount(): string | undefined {
  if (process.getuid?.() !== 0) return 'root'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch {
    return '/dev/fuse'
  }
  return missingForOvfs()
}

const mounted = new Set<string>()
process.on('exit', () => {
  for (const path of mounted) spawnSync('umount', ['-l', path])
})

export interface NativeMount {
  /** The folder that the share is mounted at. */
  readonly path: string
  /** Unmounts and mounts again: what is read then comes from the daemon. */
  remount(): Promise<void>
  /** Unmounts as a guest does. If the daemon is dead, this detaches the mount, whose calls fail with ENOTCONN. */
  unmount(): Promise<void>
}

/**
 * Mounts the share that a daemon serves at `socketPath`, in a new folder unless one is given, which then stays after unmount. A
 * daemon that was restarted needs another mount.
 */
export async function mountShare(socketPath: string, folder?: string): Promise<NativeMount> {
  const path = folder ?? (await mkdtemp(join(tmpdir(), 'ovfs-mount-')))
  const removeFolder = () => (folder === undefined ? rmdir(path) : undefined)
  // Not killed when this process exits, as other children are: it sees its standard input end and unmounts.
  const bridge = spawn(process.execPath, [BRIDGE, socketPath, path], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, UV_THREADPOOL_SIZE: '8' },
  })
  let said = ''
  bridge.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const end = ended(bridge)
  bridge.stdin.on('error', () => undefined)
  const lines = createInterface(bridge.stdout)[Symbol.asyncIterator]()
  const says = async (word: string) => (await lines.next()).value === word
  const mount = async () => {
    bridge.stdin.write('mount\n')
    if (await says('mounted')) return
    await end
    throw new Error(`could not mount ${socketPath}: ${said}`)
  }
  try {
    await mount()
  } catch (error) {
    await removeFolder()
    throw error
  }
  mounted.add(path)
  return {
    path,
    remount: async () => {
      await unmount(path, bridge)
      await says('unmounted')
      await mount()
    },
    unmount: async () => {
      mounted.delete(path)
      await unmount(path, bridge)
      // The daemon has seen DESTROY, unless it is dead, and the bridge with it.
      await Promise.race([says('unmounted'), sleep(5000, undefined, { ref: false })])
      bridge.stdin.end()
      await end
      await removeFolder()
    },
  }
}

/** Retries while a process that has just ended still holds a file; then lets the kernel detach the mount. */
async function unmount(path: string, bridge: ChildProcess): Promise<void> {
  for (let tries = 0; bridge.exitCode === null && bridge.signalCode === null && tries < 20; tries++) {
    if ((await run('umount', [path])) === 0) return
    await sleep(100)
  }
  await run('umount', ['-l', path])
}

function run(program: string, args: readonly string[]): Promise<number | null> {
  const child = spawn(program, args, { stdio: 'ignore' })
  return ended(child).then(() => child.exitCode)
}
