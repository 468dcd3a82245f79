// The order of a start and an end, with a share that only records what is asked of it.

import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ListeningSocket } from '@ovfs/virtio-fs'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { parseInvocation } from '../src/command.ts'
import { serveCommand } from '../src/commands.ts'
import { CliError } from '../src/error.ts'
import type { Manager } from '../src/managed-service.ts'
import { Redactor } from '../src/secret.ts'
import { LISTENING, type Share, type ShareOptions, serve } from '../src/serve.ts'
import { serveSettings } from '../src/settings.ts'
import type { LostFile } from '../src/status.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-serve-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

interface Fakes {
  readonly listen?: (options: ShareOptions) => Promise<void>
  readonly close?: (options: ShareOptions) => Promise<void>
  readonly unpublished?: readonly string[]
  readonly lost?: readonly LostFile[]
  /** A service manager has started the daemon; or why it cannot be reached. */
  readonly manager?: true | Error
  readonly socket?: ListeningSocket
  readonly watchdogMs?: number
  readonly frontendWaits?: boolean
}

function start(args: readonly string[], fakes: Fakes = {}) {
  const signals = new EventEmitter()
  const calls: string[] = []
  const titles: string[] = []
  const statuses: string[] = []
  let output = ''
  let reached: (options: ShareOptions) => void
  const listening = new Promise<ShareOptions>(resolve => {
    reached = resolve
  })
  const openShare = (options: ShareOptions): Share => ({
    listen: async () => {
      calls.push('listen')
      await fakes.listen?.(options)
    },
    close: async () => {
      calls.push('close')
      await fakes.close?.(options)
    },
    unpublished: () => fakes.unpublished ?? [],
    lost: () => fakes.lost ?? [],
  })
  const said = (what: string) => async () => {
    calls.push(what)
  }
  const manager: Manager = {
    inherited: new Map(),
    watchdogMs: fakes.watchdogMs,
    claim: () => undefined,
    claimSocket: () => fakes.socket,
    status: async text => {
      statuses.push(text)
    },
    alive: said('alive'),
    put: said('put'),
    remove: said('remove'),
    ready: said('ready'),
    stopping: said('stopping'),
    abandon: said('abandon'),
  }
  let options: ShareOptions | undefined
  const ended = serve(serveSettings(parseInvocation(serveCommand, args)), {
    openShare: given => {
      options = given
      return openShare(given)
    },
    signals,
    frontendWaits: fakes.frontendWaits ?? false,
    serviceManager: () => {
      if (fakes.manager instanceof Error) throw fakes.manager
      return fakes.manager && manager
    },
    redactor: new Redactor(),
    hideCommandLine: title => titles.push(title),
    write: line => {
      output += line
      if (line.includes(LISTENING)) reached(options!)
    },
  })
  return { signals, manager, calls, titles, statuses, listening, ended, output: () => output }
}

const MEMORY = ['memory://', '--socket', '/nonexistent/a.sock']

describe('serve', () => {
  it('tells its service manager when a guest can be served, and when it ends', async () => {
    const run = start(MEMORY, { manager: true })
    const { store } = await run.listening
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(0)
    expect(run.calls).toEqual(['abandon', 'listen', 'ready', 'stopping', 'close'])
    expect(store).toBeUndefined()
  })

  it('tells its service manager what it does', async () => {
    const run = start(MEMORY, { manager: true, unpublished: ['/a', '/b'] })
    const { events } = await run.listening
    events.connected()
    events.disconnected()
    events.takenOver()
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
    expect(run.statuses).toEqual([
      'checking memory://',
      'serving memory://, no front-end is connected',
      'serving memory://, a front-end is connected',
      'serving memory://, no front-end is connected',
      'serving memory://, a front-end is connected',
      'ending, files to publish: 2',
    ])
  })

  it('tells its service manager why it failed', async () => {
    const run = start([`fs://${folder}/none`, '--socket', '/a'], { manager: true })
    expect(await run.ended).toBe(1)
    expect(run.statuses.at(-1)).toMatch(/^the folder .* does not exist: mkdir -p /)
  })

  it.each([
    [false, 78],
    [true, 1],
  ])('a mistake is a reason to give up, unless a front-end waits: %s', async (frontendWaits, code) => {
    expect(await start(['memroy://', '--socket', '/a'], { frontendWaits }).ended).toBe(code)
  })

  it('tells its service manager that it is alive, from then on that it can serve, until it has ended', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const run = start(MEMORY, { manager: true, watchdogMs: 1000 })
    await run.listening
    await vi.advanceTimersByTimeAsync(1500)
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
    await vi.advanceTimersByTimeAsync(1500)
    expect(run.calls).toEqual(['abandon', 'listen', 'ready', 'alive', 'alive', 'alive', 'stopping', 'close'])
  })

  it('listens where its service manager listens for it', async () => {
    const run = start(MEMORY, { manager: true, socket: { unit: 'ovfs@a.socket', fd: 3 } })
    const { endpoint } = await run.listening
    expect(endpoint).toEqual({ kind: 'fd', fd: 3, unit: 'ovfs@a.socket' })
    expect(run.output()).toContain('socket=ovfs@a.socket')
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
  })

  it('leaves the permissions of such a socket to whoever has set them', async () => {
    const socket = { unit: 'ovfs@a.socket', fd: 3 }
    const run = start([...MEMORY, '--socket-mode=0600'], { manager: true, socket })
    expect(await run.ended).toBe(78)
    expect(run.output()).toContain('set SocketMode= and SocketGroup= in ovfs@a.socket')
  })

  it('tells on SIGUSR2 what is unpublished and what has been lost, whatever the log level', async () => {
    const lost = [{ path: '/theirs', kept: '/lost/theirs.1' }]
    const run = start([...MEMORY, '--log-level=error'], { unpublished: ['/a b', '/c'], lost })
    await run.listening
    run.signals.emit('SIGUSR2')
    const lines = run
      .output()
      .split('\n')
      .map(line => line.replace(/^\S+ /, ''))
    expect(lines.slice(-5, -1)).toEqual([
      'info  status unpublished=2 lost=1',
      'info  unpublished path="/a b"',
      'info  unpublished path=/c',
      'info  lost path=/theirs kept=/lost/theirs.1',
    ])
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
    expect(run.signals.listenerCount('SIGUSR2')).toBe(0)
  })

  it('reads credentials of files again when the service refuses those that it has', async () => {
    const seen: string[] = []
    const server = createServer((request, response) => {
      seen.push(/Credential=(\w+)\//.exec(request.headers.authorization ?? '')?.[1] ?? 'none')
      response.setHeader('content-type', 'application/xml')
      response.end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const file = join(folder, 'key')
    writeFileSync(file, 'FIRSTKEY\n')
    const { port } = server.address() as AddressInfo
    const run = start([
      `s3://bucket?endpoint=http://127.0.0.1:${port}&region=nowhere&disable_config_load=true`,
      ...['-o', `access_key_id=file:${file}`, '-o', 'secret_access_key=secret'],
      ...['--socket', '/nonexistent/a.sock'],
    ])
    const { renewOperator } = await run.listening
    expect(seen.at(-1)).toBe('FIRSTKEY')
    expect(renewOperator(true), 'the file has not changed').toBeUndefined()
    writeFileSync(file, 'SECONDKEY\n')
    await renewOperator(false)!.list('/')
    expect(seen.at(-1)).toBe('SECONDKEY')
    expect(renewOperator(true), 'the file has not changed since').toBeUndefined()
    rmSync(file)
    expect(renewOperator(true)).toBeUndefined()
    expect(renewOperator(true)).toBeUndefined()
    expect(
      run.output().match(/the credentials cannot be read again.*cannot read .*key \(ENOENT\)/g),
    ).toHaveLength(1)
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(0)
    server.close()
  })

  it('makes another operator from credentials that OpenDAL finds only when it may guess', async () => {
    const run = start(MEMORY)
    const { renewOperator } = await run.listening
    expect(renewOperator(false)).toBeUndefined()
    expect(renewOperator(true)).toBeDefined()
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
  })

  it('leaves the front-end to its service manager if there is a state folder, unless it is told not to', async () => {
    for (const [args, keeps] of [
      [['--state-dir', '/nonexistent'], true],
      [['--state-dir', '/nonexistent', '--no-fd-store'], false],
    ] as const) {
      const run = start([...MEMORY, ...args], { manager: true })
      const { store } = await run.listening
      run.signals.emit('SIGTERM', 'SIGTERM')
      await run.ended
      expect(store).toBe(keeps ? run.manager : undefined)
      expect(run.calls.includes('abandon')).toBe(!keeps)
    }
  })

  it('serves although its service manager cannot be reached, and says so', async () => {
    const run = start(MEMORY, { manager: new Error('nobody is there') })
    await run.listening
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(0)
    expect(run.output()).toContain('nobody is there')
  })

  it('says the words that other tools wait for, once it listens and not before', async () => {
    let before = ''
    const run = start(MEMORY, {
      listen: async () => {
        before = run.output()
      },
    })
    await run.listening
    expect(before).not.toContain('Waiting')
    expect(run.output().split('\n')).toContain('Waiting for vhost-user socket connection...')
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it('says them at the lowest level, and within a JSON line if lines are JSON', async () => {
    const quiet = start([...MEMORY, '--log-level=error'])
    await quiet.listening
    quiet.signals.emit('SIGINT', 'SIGINT')
    await quiet.ended
    expect(quiet.output()).toBe(`${LISTENING}\n`)

    const json = start([...MEMORY, '--log-format=json'])
    await json.listening
    json.signals.emit('SIGINT', 'SIGINT')
    await json.ended
    const lines = json
      .output()
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(lines.map(line => line.message)).toContain(LISTENING)
  })

  it('hands the settings on', async () => {
    const run = start([...MEMORY, '--read-only', '--uid=7', '--cache-size=32M', '--timeout=2s'])
    const share = await run.listening
    expect(share).toMatchObject({ readOnly: true, timeoutMs: 2000, files: { uid: 7, cacheBytes: 2 ** 25 } })
    run.signals.emit('SIGHUP', 'SIGHUP')
    expect(await run.ended).toBe(0)
  })

  it('serves the next front-end after one has left', async () => {
    const run = start(MEMORY)
    const { events } = await run.listening
    events.connected()
    events.disconnected()
    events.connected()
    await new Promise(resolve => setImmediate(resolve))
    expect(run.calls).toEqual(['listen'])
    expect(run.output().match(/front-end/g)).toHaveLength(3)
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it('with --once publishes and ends when the first front-end has left', async () => {
    const run = start([...MEMORY, '--once'])
    const { events } = await run.listening
    events.connected()
    events.disconnected('connection reset')
    expect(await run.ended).toBe(0)
    expect(run.calls).toEqual(['listen', 'close'])
    expect(run.output()).toContain('reason="connection reset"')
  })

  it('publishes at a signal before it ends', async () => {
    let published = false
    const run = start(MEMORY, {
      close: async () => {
        await new Promise(resolve => setImmediate(resolve))
        published = true
      },
    })
    await run.listening
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(0)
    expect(published).toBe(true)
    expect(run.signals.listenerCount('SIGTERM')).toBe(0)
  })

  it('gives up publishing at the time limit and says what is lost', async () => {
    const run = start([...MEMORY, '--shutdown-timeout=10ms'], {
      close: () => new Promise(() => {}),
      unpublished: ['/a', '/b "c"\n'],
    })
    await run.listening
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(1)
    expect(run.output()).toMatch(/ovfs: not done within 0.01 s, not published: "\/a", "\/b \\"c\\"\\n"\n$/)
  })

  it('gives up publishing at a second signal', async () => {
    const run = start(MEMORY, { close: () => new Promise(() => {}), unpublished: Array(12).fill('/x') })
    await run.listening
    run.signals.emit('SIGTERM', 'SIGTERM')
    run.signals.emit('SIGINT', 'SIGINT')
    expect(await run.ended).toBe(1)
    expect(run.output()).toMatch(/stopped by a second SIGINT, not published: .* and 2 more\n$/)
  })

  it('fails when publishing fails', async () => {
    const run = start(MEMORY, { close: () => Promise.reject(new Error('bucket gone')), unpublished: ['/a'] })
    await run.listening
    run.signals.emit('SIGTERM', 'SIGTERM')
    expect(await run.ended).toBe(1)
    expect(run.output()).toMatch(/ovfs: publishing failed, not published: "\/a": bucket gone\n$/)
  })

  it('fails in one line when the socket cannot be had', async () => {
    const run = start(MEMORY, {
      listen: () => Promise.reject(new CliError('SOCKET', 'in use', 'choose another')),
    })
    expect(await run.ended).toBe(1)
    expect(run.output()).toBe('ovfs: in use: choose another\n')
  })

  it('does not listen when the storage does not work', async () => {
    const run = start([`fs://${folder}/none`, '--socket', '/a'])
    expect(await run.ended).toBe(1)
    expect(run.calls).toEqual([])
    expect(run.output()).toMatch(/^ovfs: the folder .* does not exist: mkdir -p .*\n$/)
  })

  it('lets a defect through, with its stack', async () => {
    const run = start(MEMORY, { listen: () => Promise.reject(new TypeError('defect')) })
    await expect(run.ended).rejects.toThrow(TypeError)
  })

  it('serves what cannot be written read-only, and says so', async () => {
    const server = createServer((_, response) => response.writeHead(404).end())
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const run = start([`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, '--socket', '/a'])
    expect((await run.listening).readOnly).toBe(true)
    expect(run.output()).toMatch(/warn .*http cannot write: the share is read-only/)
    expect(run.output()).toMatch(/warn .*http cannot list/)
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
    server.closeAllConnections()
    server.close()
  })

  it('says that a share in memory will be lost', async () => {
    const run = start(MEMORY)
    await run.listening
    expect(run.output()).toMatch(/warn .*memory is this process, lost when it ends/)
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
  })

  it('warns of a secret on the command line and never repeats it', async () => {
    const run = start([
      's3://b?endpoint=http://127.0.0.1:1',
      '-o',
      'access_key_id=AKID',
      '-o',
      'secret_access_key=hunter22',
      '--socket',
      '/a',
    ])
    expect(await run.ended).toBe(1)
    expect(run.output()).toMatch(/warn .*secret_access_key stood on the command line/)
    expect(run.output()).not.toContain('hunter22')
    expect(run.titles).toEqual(['ovfs serve s3://b'])
  })

  it('gives the socket file the mode that was asked for, and never a wider one', async () => {
    const path = join(folder, 's')
    let born = 0
    const run = start(['memory://', '--socket', path, '--socket-mode=0620'], {
      listen: async () => {
        writeFileSync(path, '', { mode: 0o777 })
        born = statSync(path).mode & 0o777
      },
    })
    const umask = process.umask()
    await run.listening
    expect(born).toBe(0o600)
    expect(statSync(path).mode & 0o777).toBe(0o620)
    expect(process.umask()).toBe(umask)
    run.signals.emit('SIGTERM', 'SIGTERM')
    await run.ended
  })

  it('does not leave a socket behind whose permissions could not be set', async () => {
    const run = start([...MEMORY, '--socket-mode=0600'])
    expect(await run.ended).toBe(1)
    expect(run.calls).toEqual(['listen', 'close'])
    expect(run.output()).toMatch(/^ovfs: cannot set the permissions of .* \(ENOENT\)\n$/)
  })

  it('refuses a staging folder that is not there, or not a folder', async () => {
    writeFileSync(join(folder, 'file'), '')
    for (const [name, message] of [
      ['none', /does not exist: mkdir -p/],
      ['file', /is not a folder/],
    ] as const) {
      const run = start([...MEMORY, '--staging-dir', join(folder, name)])
      expect(await run.ended).toBe(1)
      expect(run.output()).toMatch(message)
      expect(run.calls).toEqual([])
    }
  })

  it('refuses a group that there is not', async () => {
    const run = start([...MEMORY, '--socket-group=no-such-group'])
    expect(await run.ended).toBe(1)
    expect(run.output()).toMatch(/there is no group "no-such-group"/)
  })
})
