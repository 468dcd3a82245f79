// Back-ends that others wrote, to prove the guest scripts and our front-end against, and to measure beside: the C virtiofsd of
// qemu-system-common, which needs root for its sandbox, and the one written in Rust. Either serves one connection, and then ends.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repository } from './initramfs.ts'
import { ended, ownProcess, printed } from './process.ts'

const C_PROGRAM = '/usr/lib/qemu/virtiofsd'
const RUST_PROGRAM = join('usr', 'libexec', 'virtiofsd')
/** What scripts/newer-debian.mjs has unpacked, with the C library that it wants. */
const UNPACKED = join(repository, '.cache', 'virtiofsd')

/** Names what the C one needs and the machine lacks. */
export function missingForVirtiofsd(): string | undefined {
  if (!existsSync(C_PROGRAM)) return `${C_PROGRAM} (qemu-system-common)`
  return process.getuid?.() === 0 ? undefined : 'root, for the sandbox of the C virtiofsd'
}

/** Names what the Rust one needs and the machine lacks. */
export function missingForRustVirtiofsd(): string | undefined {
  return rustCommand() ? undefined : 'the virtiofsd written in Rust (node scripts/prepare.mjs --tests)'
}

export interface Virtiofsd {
  readonly socketPath: string
  readonly pid: number
  /** Resolves when it ends, which it does after its one connection. */
  readonly ended: Promise<void>
  stop(): Promise<void>
}

/** Serves `source`; resolves when it listens. `options` are its `-o` options, for example `cache=always`. */
export function startVirtiofsd(source: string, options: readonly string[] = []): Promise<Virtiofsd> {
  const all = [`source=${source}`, 'sandbox=chroot', ...options]
  return start([C_PROGRAM], socketPath => [
    `--socket-path=${socketPath}`,
    ...all.flatMap(option => ['-o', option]),
  ])
}

/** The same with the one written in Rust. */
export function startRustVirtiofsd(source: string): Promise<Virtiofsd> {
  const command = rustCommand()
  if (command === undefined) throw new Error(`this needs ${missingForRustVirtiofsd()}`)
  return start(command, socketPath => [
    ...[`--socket-path=${socketPath}`, `--shared-dir=${source}`],
    ...['--sandbox=none', '--seccomp=none', '--inode-file-handles=never'],
  ])
}

function rustCommand(): string[] | undefined {
  if (existsSync(join('/', RUST_PROGRAM))) return [join('/', RUST_PROGRAM)]
  const program = join(UNPACKED, RUST_PROGRAM)
  const libraries = join(UNPACKED, 'usr', 'lib', 'x86_64-linux-gnu')
  const loader = join(libraries, 'ld-linux-x86-64.so.2')
  return existsSync(program) ? [loader, '--library-path', libraries, program] : undefined
}

async function start(
  [program, ...before]: readonly string[],
  argsFor: (socketPath: string) => string[],
): Promise<Virtiofsd> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-virtiofsd-'))
  const socketPath = join(dir, 'socket')
  const args = [...before, ...argsFor(socketPath)]
  const child = ownProcess(spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] }))
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
