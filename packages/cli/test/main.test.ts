// The program as a process: what is built is what runs.

import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ExitCode } from '../src/exit-code.ts'
import { buildProgram, type Circumstances, MAIN, PACKAGE, WAITING, Workshop } from './ovfs-process.ts'

const NOBODY = 65534

let work: Workshop

beforeAll(buildProgram, 120_000)
beforeEach(() => {
  work = new Workshop()
})
afterEach(() => work.clear())

const ovfs = (args: readonly string[], circumstances?: Circumstances) => work.ovfs(args, circumstances)
const socket = () => work.path('a.sock')

describe('what is asked for is on stdout, with exit code 0', () => {
  it.each([
    [['--version'], /^ovfs \d+\.\d+\.\d+\nopendal \d+\.\d+\.\d+( \(not [\d.]+: .+\))?\n$/],
    [['--help'], /Usage: ovfs COMMAND/],
    [['help', 'serve'], /Usage: ovfs serve URI/],
    [['serve', '--help'], /Usage: ovfs serve URI/],
    [['services', 's3'], /access_key_id/],
    [['--print-capabilities'], /^\{"type":"fs","features":\[\]\}\n$/],
  ])('ovfs %j', async (args, expected) => {
    const { code, stdout, stderr } = await ovfs(args).ended
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(expected)
  })

  it('ovfs services --json lists what the binding offers, and leaves no files behind', async () => {
    const { code, stdout } = await ovfs(['services', '--json'], { env: { TMPDIR: work.folder } }).ended
    expect(code).toBe(0)
    const services = JSON.parse(stdout) as { name: string; abilities: Record<string, boolean> }[]
    const byName = new Map(services.map(service => [service.name, service.abilities]))
    expect(byName.get('fs')).toMatchObject({ read: true, write: true, list: true, rename: true })
    expect(byName.get('redis')).toMatchObject({ list: false })
    expect(byName.get('http')).toMatchObject({ write: false })
    expect(byName.size).toBeGreaterThan(40)
    expect(execFileSync('ls', ['-A', work.folder]).toString()).toBe('')
  })
})

describe('an error of a person is one line on stderr, with exit code 1, or 78 if a restart cannot help', () => {
  const serve = (...args: string[]) => ['serve', ...args]
  it.each([
    [['sevre'], /^ovfs: unknown command "sevre": did you mean serve\?\n$/],
    [['--verison'], /^ovfs: unknown option "--verison"/],
    [['help', 'nothing-of-ours'], /^ovfs: unknown command/],
    [serve(), /^ovfs: URI is missing: see ovfs help serve\n$/],
    [serve('memory://'), /^ovfs: --socket is missing/],
    [serve('memroy://', '--socket', 'x'), /^ovfs: unknown service "memroy": did you mean memory:\/\/\?\n$/],
    [serve('ftp://h', '--socket', 'x'), /^ovfs: unknown service "ftp"/],
    [serve('s3://', '--socket', 'x'), /^ovfs: s3 needs the option bucket: s3:\/\/BUCKET/],
    [serve('s3://b?buckt=x', '--socket', 'x'), /^ovfs: s3 has no option "buckt": did you mean bucket\?\n$/],
    [
      serve('fs:///no/such/folder', '--socket', 'x'),
      /^ovfs: the folder \/no\/such\/folder does not exist: mkdir -p/,
    ],
    [
      serve('redis://127.0.0.1:1', '--socket', 'x'),
      /^ovfs: redis does not work: nothing listens on 127.0.0.1:1: /,
    ],
    [serve('memory://', '--socket', 'x', '--uid', 'me'), /^ovfs: --uid "me": expected a whole number/],
    [['services', 'ftp'], /^ovfs: the installed OpenDAL has no service "ftp"/],
  ])('ovfs %j', async (args, expected) => {
    const { code, stdout, stderr } = await ovfs(args).ended
    expect(stderr).toMatch(expected)
    expect(stderr.split('\n')).toHaveLength(2)
    const fromOutside = /folder|nothing listens/.test(stderr)
    expect([code, stdout]).toEqual([fromOutside ? ExitCode.FAILED : ExitCode.MISTAKE, ''])
  })

  it('where a service manager keeps a front-end, it is to start the daemon until the mistake is mended', async () => {
    const program = ['serve', 'memroy://', '--socket', 'x']
    const script = 'export LISTEN_PID=$$; exec "$@"'
    const child = spawn('/bin/sh', ['-c', script, 'sh', process.execPath, MAIN, ...program], {
      stdio: ['ignore', 'pipe', 'pipe', 'ignore'],
      env: { PATH: process.env.PATH, LISTEN_FDS: '1', LISTEN_FDNAMES: 'vhost-user-0-record' },
    })
    expect((await work.follow(child).ended).code).toBe(1)
  })

  it('without a command the overview is shown', async () => {
    const { code, stderr } = await ovfs([]).ended
    expect(code).toBe(1)
    expect(stderr).toContain('Usage: ovfs COMMAND')
  })

  it('a folder that cannot be written is refused', async () => {
    const path = work.path('locked')
    mkdirSync(path)
    chmodSync(path, 0o555)
    const run = ovfs(['serve', `fs://${path}`, '--socket', socket()], asNobody())
    const { code, stderr } = await run.ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: no permission on the folder .* \(EACCES\): .*--read-only\n$/)
  })

  it('a socket in a folder that cannot be written is refused', async () => {
    chmodSync(work.folder, 0o555)
    const { code, stderr } = await ovfs(
      ['serve', 'memory://', '--log-level=error', '--socket', socket()],
      asNobody(),
    ).ended
    chmodSync(work.folder, 0o755)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: cannot listen on .*\(EACCES\): .*\n$/)
  })

  it('a socket in a folder that does not exist is refused', async () => {
    const { code, stderr } = await ovfs([
      'serve',
      'memory://',
      '--log-level=error',
      '--socket',
      work.path('none/a.sock'),
    ]).ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: cannot listen on .*\(ENOENT\): mkdir -p .*\n$/)
  })

  it('a socket that another process serves is refused, and stays', async () => {
    const other = createServer()
    await new Promise<void>(resolve => other.listen(socket(), resolve))
    const { code, stderr } = await ovfs(['serve', 'memory://', '--log-level=error', '--socket', socket()])
      .ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: another process listens on .*: .*\n$/)
    expect(existsSync(socket())).toBe(true)
    await new Promise(resolve => other.close(resolve))
  })

  it('a file where the socket is to be is refused, and stays', async () => {
    writeFileSync(socket(), 'precious')
    const { code, stderr } = await ovfs(['serve', 'memory://', '--log-level=error', '--socket', socket()])
      .ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: .* is not a socket: .*\n$/)
    expect(readFileSync(socket(), 'utf8')).toBe('precious')
  })

  it('a descriptor that is no listening socket is refused', async () => {
    const { code, stderr } = await ovfs(['serve', 'memory://', '--log-level=error', '--fd=9']).ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: .*9.*\n$/)
  })
})

/** The rights of a user who is not root. */
function asNobody(): Circumstances {
  return process.getuid?.() === 0 ? { uid: NOBODY } : {}
}

describe('ovfs serve', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'listens, and ends with 0 at %s, without its socket',
    async signal => {
      const run = ovfs(['serve', 'memory://', '--socket', socket()])
      await run.said(WAITING)
      expect(statSync(socket()).isSocket()).toBe(true)
      run.child.kill(signal)
      const { code, stderr } = await run.ended
      expect(code).toBe(0)
      expect(stderr.split('\n')).toContain(WAITING)
      expect(existsSync(socket())).toBe(false)
    },
  )

  it('replaces the socket of a process that was killed', async () => {
    const killed = ovfs(['serve', 'memory://', '--socket', socket()])
    await killed.said(WAITING)
    killed.child.kill('SIGKILL')
    await killed.ended
    expect(existsSync(socket())).toBe(true)
    const run = ovfs(['serve', 'memory://', '--socket', socket()])
    await run.said(WAITING)
    run.child.kill('SIGTERM')
    expect((await run.ended).code).toBe(0)
  })

  it('serves one visitor after the other', async () => {
    const run = ovfs(['serve', 'memory://', '--socket', socket()])
    await run.said(WAITING)
    await visit(socket())
    await run.said('front-end left')
    await visit(socket())
    run.child.kill('SIGTERM')
    const { code, stderr } = await run.ended
    expect(code).toBe(0)
    expect(stderr.match(/front-end connected/g)).toHaveLength(2)
  })

  it('with --once ends with 0 when the first visitor has left', async () => {
    const run = ovfs(['serve', 'memory://', '--once', '--socket', socket()])
    await run.said(WAITING)
    await visit(socket())
    expect((await run.ended).code).toBe(0)
  })

  it('listens on a socket that it inherits', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(socket(), resolve))
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle
    const run = ovfs(['serve', 'memory://', '--once', '--fd=3'], { fds: [fd] })
    await run.said(WAITING)
    // Closing removes the file by its first name: the socket stays with the child, under another one.
    renameSync(socket(), work.path('b.sock'))
    await new Promise(resolve => server.close(resolve))
    await visit(work.path('b.sock'))
    expect((await run.ended).code).toBe(0)
  })

  it('gives the socket file mode and group', async () => {
    const group = process.getgid?.() ?? 0
    const run = ovfs(['serve', 'memory://', '--socket', socket(), `--socket-group=${group}`])
    await run.said(WAITING)
    const { mode, gid } = statSync(socket())
    expect([mode & 0o777, gid]).toEqual([0o660, group])
    run.child.kill('SIGTERM')
    await run.ended
  })

  it('keeps a secret out of everything that it writes', async () => {
    const secret = 'correct horse/battery+staple'
    const path = work.path('secret')
    writeFileSync(path, `${secret}\n`)
    const args = ['serve', 's3://b?endpoint=http://127.0.0.1:1', '--socket', socket(), '--log-level=debug']
    const run = ovfs([...args, '-o', 'access_key_id=env:ID', '-o', `secret_access_key=file:${path}`], {
      env: { ID: secret },
    })
    const { code, stderr, stdout } = await run.ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: s3 does not work: nothing listens on 127.0.0.1:1/)
    for (const text of [stderr, stdout]) expect(text).not.toMatch(/horse|battery/)
  })

  it('takes a secret that stands on the command line out of the process table', async () => {
    // Accepts and never answers: the start check waits.
    const server = createServer(visitor => visitor.resume().on('error', () => {}))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const run = ovfs(['serve', `redis://127.0.0.1:${port}`, '-o', 'password=hunter2pw', '--socket', socket()])
    await run.said('password stood on the command line')
    const shown = readFileSync(`/proc/${run.child.pid}/cmdline`, 'utf8')
    expect(shown).toContain(`ovfs serve redis://127.0.0.1:${port}`)
    expect(shown).not.toContain('hunter2pw')
    run.child.kill('SIGKILL')
    await run.ended
    await new Promise(resolve => server.close(resolve))
  })

  it('goes on when nobody reads its log: neither a full one nor a closed one stops it', async () => {
    const run = ovfs(['serve', 'memory://', '--socket', socket()])
    await run.said(WAITING)
    run.child.stderr?.pause()
    for (let i = 0; i < 400; i++) await visit(socket())
    run.child.stderr?.destroy()
    await visit(socket())
    run.child.kill('SIGTERM')
    expect((await run.ended).code).toBe(0)
  })
})

describe('a defect', () => {
  it('ends the process with its stack, exit code 70, and without secrets', async () => {
    const server = createServer(visitor => visitor.resume().on('error', () => {}))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const thrower = `setTimeout(() => { throw new Error('boom ' + process.env.SECRET) }, 2000)`
    const run = ovfs(['serve', `redis://127.0.0.1:${port}`, '-o', 'password=env:SECRET', '--fd=3'], {
      env: {
        SECRET: 'hunter2pw',
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(thrower)}`,
      },
    })
    const { code, stderr } = await run.ended
    expect(stderr).toMatch(/^ovfs: a defect of ovfs: an exception was not caught: Error: boom \*\*\*\n +at /)
    expect(code).toBe(70)
    await new Promise(resolve => server.close(resolve))
  })
})

describe('the README', () => {
  const readme = readFileSync(join(PACKAGE, 'README.md'), 'utf8')

  it('has a program that runs', async () => {
    const [, program] = /```sh\n([^`]*)```/.exec(readme)!
    const bin = work.path('bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'ovfs'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, {
      mode: 0o755,
    })
    const script = `set -e\n${program!.replaceAll('/tmp/', `${work.folder}/`).replace(/^ovfs /m, 'exec ovfs ')}`
    const child = spawn('sh', ['-c', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: `${bin}:${process.env.PATH}` },
    })
    const run = work.follow(child)
    await run.said(WAITING)
    expect(statSync(work.path('ovfs.sock')).isSocket()).toBe(true)
    child.kill('SIGTERM')
    expect((await run.ended).code).toBe(0)
  })

  it('says what the program says', () => {
    expect(readme).toContain(WAITING)
    for (const code of Object.values(ExitCode)) expect(readme).toMatch(new RegExp(`^\\| ${code} +\\|`, 'm'))
  })
})

/** Connects, as a front-end does, and leaves. */
async function visit(path: string): Promise<void> {
  const visitor = connect(path)
  await new Promise<void>((resolve, reject) => visitor.on('connect', resolve).on('error', reject))
  await new Promise(resolve => visitor.on('close', resolve).end().resume())
}
