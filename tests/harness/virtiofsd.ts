// Debian's C virtiofsd (qemu-system-common): a second back-end, to prove the guest scripts and our front-end against, and
// to measure beside. It serves one connection, removes no socket, and needs root for its sandbox.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ended, ownProcess, printed } from './process.ts'

const PROGRAM = '/usr/lib/qemu/virtiofsd'

/** Names what this back-end needs and the machine lacks. */
export function missingForVirtiofsd(): string | undefined {
  if (!existsSync(PROGRAM)) return `${PROGRAM} (qemu-system-common)`
  return process.getuid?.() === 0 ? undefined : 'root, for the sandbox of the C virtiofsd'
}

export interface Virtiofsd {
  readonly socketPath: string
  readonly pid: number
  /** Resolves when it ends, which it does after its one connection. */
  readonly ended: Promise<void>
  stop(): Promise<void>
}

/** Serves `source`; resolves when it listens. `options` are its `-o` options, for example `cache=always`. */
export async function startVirtiofsd(source: string, options: readonly string[] = []): Promise<Virtiofsd> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-virtiofsd-'))
  const socketPath = join(dir, 'socket')
  const all = [`source=${source}`, 'sandbox=chroot', ...options]
  const args = [`--socket-path=${socketPath}`, ...all.flatMap(option => ['-o', option])]
  const child = ownProcess(spawn(PROGRAM, args, { stdio: ['ignore', 'ignore', 'pipe'] }))
  const end = ended(child).then(() => rm(dir, { recursive: true, force: true }))
  await printed(child, child.stderr, /Waiting for vhost-user socket connection/)
  return {
    socketPath,
    pid: child.pid!,
    ended: end,
    stop: () => {
      child.kill('SIGKILL')
      return end
    },
  }
}
