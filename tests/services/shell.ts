// Runs the shell scripts of the checks on this machine. What a guest asks of its host over a serial line, `host WORDS`, goes over
// descriptor 9 here.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { ended, ownProcess } from '../harness/process.ts'

export interface ShellResult {
  /** 0, or what failed. */
  readonly status: number | string
  readonly trace: string
}

const HOST = 9

/** Runs a script in bash, in a temporary folder so that what goes astray stays there; `onCall` answers its calls of `host`. */
export async function runScript(
  script: string,
  temporary: string,
  onCall: (call: string) => Promise<void>,
  timeoutMs: number,
): Promise<ShellResult> {
  const stdio = ['ignore', 'pipe', 'pipe', ...Array(HOST - 3).fill('ignore'), 'pipe']
  // A process group of its own, so that what hangs is killed with the shell.
  const child = ownProcess(
    spawn('bash', ['-c', script], {
      stdio: stdio as 'pipe'[],
      cwd: temporary,
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', TZ: 'UTC', TMPDIR: temporary },
      detached: true,
    }),
  )
  let trace = ''
  for (const stream of [child.stdout, child.stderr])
    stream!.setEncoding('utf8').on('data', (text: string) => {
      trace = (trace + text).slice(-20_000)
    })
  const host = (child.stdio as readonly unknown[])[HOST] as Duplex
  createInterface(host).on('line', call => {
    onCall(call).then(
      () => host.write('ok\n'),
      (error: Error) => host.write(`${error.message.replaceAll('\n', ' ')}\n`),
    )
  })
  host.on('error', () => undefined)
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    process.kill(-child.pid!, 'SIGKILL')
  }, timeoutMs)
  await ended(child)
  clearTimeout(timer)
  const status = timedOut ? `no end within ${timeoutMs} ms` : (child.exitCode ?? child.signalCode!)
  return { status, trace }
}
