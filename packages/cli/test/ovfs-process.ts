// Starts the compiled program in a process of its own, and follows what it says.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const PACKAGE = fileURLToPath(new URL('..', import.meta.url))
export const MAIN = join(PACKAGE, 'dist', 'main.js')
export const WAITING = 'Waiting for vhost-user socket connection...'

/** Types are another check's business: the compiler emits in spite of them. */
export function buildProgram(): void {
  spawnSync(join(PACKAGE, '../../node_modules/.bin/tsc'), ['-b', PACKAGE])
  if (!existsSync(MAIN)) throw new Error(`${MAIN} has not been built`)
}

export interface Run {
  readonly child: ChildProcess
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>
  /** Resolves when stderr holds the text; rejects if the process ends before. */
  said(text: string): Promise<void>
}

export interface Circumstances {
  readonly env?: Record<string, string>
  readonly uid?: number
  readonly fds?: readonly number[]
}

/** A folder and the processes of one test. */
export class Workshop {
  readonly folder = mkdtempSync(join(tmpdir(), 'ovfs-cli-'))
  readonly #children: ChildProcess[] = []

  constructor() {
    // For processes of other users.
    chmodSync(this.folder, 0o755)
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  ovfs(args: readonly string[], { env = {}, uid, fds = [] }: Circumstances = {}): Run {
    const child = spawn(process.execPath, [MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', ...fds],
      env: { PATH: process.env.PATH, AWS_EC2_METADATA_DISABLED: 'true', ...env },
      ...(uid === undefined ? {} : { uid, gid: uid }),
    })
    return this.follow(child)
  }

  follow(child: ChildProcess): Run {
    this.#children.push(child)
    let stdout = ''
    let stderr = ''
    const watchers = new Set<() => void>()
    child.stdout?.on('data', chunk => {
      stdout += chunk
    })
    child.stderr?.on('data', chunk => {
      stderr += chunk
      for (const watch of watchers) watch()
    })
    const ended = new Promise<Awaited<Run['ended']>>(resolve => {
      child.on('close', code => resolve({ code, stdout, stderr }))
    })
    const said = (text: string) =>
      new Promise<void>((resolve, reject) => {
        const watch = () => {
          if (!stderr.includes(text)) return
          watchers.delete(watch)
          resolve()
        }
        watchers.add(watch)
        watch()
        ended.then(() => reject(new Error(`ended without saying ${text}: ${stderr}`)))
      })
    return { child, ended, said }
  }

  /** Kills what still runs and removes the folder. */
  clear(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}
