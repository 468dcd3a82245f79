// Our daemon as its users run it: the compiled `ovfs serve` in a process of its own, on a socket in a temporary folder.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { repository } from './initramfs.ts'
import { ended, ownProcess, printed } from './process.ts'

/** The compiled `ovfs`. */
export const PROGRAM = join(repository, 'packages', 'cli', 'dist', 'main.js')

/** Names what is missing before `startOvfs` can work. */
export function missingForOvfs(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'the compiled command line (npx tsc -b packages/cli)'
}

export interface Daemon {
  readonly socketPath: string
  readonly pid: number
  /** All that it has said so far. */
  stderr(): string
  /** SIGTERM; rejects unless the daemon then exits with status 0. */
  stop(): Promise<void>
  /** SIGKILL: what is lost is what the daemon had not made safe. */
  kill(): Promise<void>
}

export interface OvfsOptions {
  /** The Node that runs it; default this one. */
  node?: string
  args?: readonly string[]
  env?: Readonly<Record<string, string>>
}

/** Serves `uri`; resolves when a guest can connect. Rejects with what the daemon said if it refuses to start. */
export async function startOvfs(
  uri: string,
  { node = process.execPath, args = [], env = {} }: OvfsOptions = {},
): Promise<Daemon> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-daemon-'))
  const socketPath = join(dir, 'socket')
  const child = ownProcess(
    spawn(node, [PROGRAM, 'serve', uri, '--socket', socketPath, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    }),
  )
  let said = ''
  child.stderr.on('data', (text: string) => {
    said += text
  })
  const end = ended(child).then(() => rm(dir, { recursive: true, force: true }))
  await printed(child, child.stderr, /Waiting for vhost-user socket connection/)
  return {
    socketPath,
    pid: child.pid!,
    stderr: () => said,
    stop: async () => {
      child.kill('SIGTERM')
      await end
      if (child.exitCode !== 0)
        throw new Error(`ovfs ended with ${child.signalCode ?? child.exitCode}:\n${said}`)
    },
    kill: () => {
      child.kill('SIGKILL')
      return end
    },
  }
}

/** A daemon that is killed so many milliseconds after its start, whatever it has come to. Resolves when it is gone. */
export async function startAndKill(
  uri: string,
  { args = [], env = {} }: OvfsOptions,
  milliseconds: number,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-daemon-'))
  const child = ownProcess(
    spawn(process.execPath, [PROGRAM, 'serve', uri, '--socket', join(dir, 'socket'), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    }),
  )
  child.stderr.resume()
  const end = ended(child)
  await sleep(milliseconds)
  child.kill('SIGKILL')
  await end
  await rm(dir, { recursive: true, force: true })
}

/** What a process holds of its peers: memory it shares with them, and descriptors that reach them. Linux only. */
export function holdings(pid: number): { guestMemory: string[]; descriptors: string[] } {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
  const links = readdirSync(`/proc/${pid}/fd`).map(fd => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      return 'closed meanwhile'
    }
  })
  return {
    guestMemory: maps.filter(line => line.includes('/memfd:')),
    descriptors: links
      .filter(link => /^(socket:|anon_inode:\[eventfd|\/memfd:)/.test(link))
      .map(link => link.replace(/\d+/, 'N')),
  }
}
