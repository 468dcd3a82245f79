// Signals that open Node's debugger, or would end the process. Whether a process listens is read from /proc: its port may be anyone's.

import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { buildProgram, MAIN, WAITING, Workshop } from './ovfs-process.ts'

let work: Workshop

beforeAll(buildProgram, 120_000)
beforeEach(() => {
  work = new Workshop()
})
afterEach(() => work.clear())

const serving = () => ['serve', 'memory://', '--socket', work.path('a.sock')]

/** The TCP sockets on which the process listens: proc_net(5), state 0A. */
function listeningSockets(pid: number): string[] {
  const listening = ['tcp', 'tcp6']
    .flatMap(table => readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n').slice(1))
    .map(line => line.trim().split(/\s+/))
    .filter(columns => columns[3] === '0A')
    .map(columns => `socket:[${columns[9]}]`)
  const own = readdirSync(`/proc/${pid}/fd`).map(fd => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      return ''
    }
  })
  return listening.filter(socket => own.includes(socket))
}

/** A module that Node loads before the program. */
function preload(code: string): string {
  const path = work.path('preload.mjs')
  writeFileSync(path, code)
  return path
}

/** SIGUSR1 arrives, and Node opens the debugger, before the first line of the program. The port is any that is free. */
const EARLY_SIGNAL = `
import inspector from 'node:inspector'
process.kill(process.pid, 'SIGUSR1')
while (inspector.url() === undefined) await new Promise(resolve => setTimeout(resolve, 5))
process.stderr.write('preload: the debugger is open\\n')
`

test('SIGUSR1 opens no debugger, and the daemon serves on', async () => {
  const run = work.ovfs(serving())
  await run.said(WAITING)
  for (let i = 0; i < 3; i++) run.child.kill('SIGUSR1')
  run.child.kill('SIGUSR2')
  await run.said('status unpublished=0 lost=0')
  expect(listeningSockets(run.child.pid as number)).toEqual([])
  run.child.kill('SIGTERM')
  const { code, stderr } = await run.ended
  expect(code).toBe(0)
  expect(stderr).not.toMatch(/debugger/i)
})

test('a debugger that SIGUSR1 opened before the program began is closed before it serves', async () => {
  const options = ['--inspect-port=0', '--import', preload(EARLY_SIGNAL)]
  const run = work.follow(
    spawn(process.execPath, [...options, MAIN, ...serving()], { stdio: ['ignore', 'pipe', 'pipe'] }),
  )
  await run.said('preload: the debugger is open')
  await run.said(WAITING)
  expect(listeningSockets(run.child.pid as number)).toEqual([])
  run.child.kill('SIGTERM')
  expect(await run.ended).toMatchObject({ code: 0 })
})

test('a debugger that NODE_OPTIONS asks for stays open, with a warning', async () => {
  const run = work.ovfs(serving(), { env: { NODE_OPTIONS: '--inspect=127.0.0.1:0' } })
  await run.said(WAITING)
  await run.said('ovfs: warning: --inspect=127.0.0.1:0 has opened the debugger')
  expect(listeningSockets(run.child.pid as number)).toHaveLength(1)
})

test('SIGUSR1 and SIGUSR2 do not end a daemon that still waits for its storage', async () => {
  let reached: () => void
  const request = new Promise<void>(resolve => {
    reached = resolve
  })
  const server = createServer(() => reached())
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const uri = `s3://b?endpoint=http://127.0.0.1:${port}&region=auto&access_key_id=a&secret_access_key=b`
  const run = work.ovfs(['serve', uri, '--socket', work.path('a.sock'), '--timeout', '2s'])
  await request
  run.child.kill('SIGUSR2')
  run.child.kill('SIGUSR1')
  // It ends by itself, when the storage has not answered in time.
  expect(await run.ended).toMatchObject({ code: 1 })
  expect(run.child.signalCode).toBeNull()
})
