import { describe, expect, it } from 'vitest'
import { type Options, parseInvocation } from '../src/command.ts'
import { COMMANDS, serveCommand } from '../src/commands.ts'
import { CliError } from '../src/error.ts'
import { serveSettings } from '../src/settings.ts'

const parse = (...args: string[]) => parseInvocation(serveCommand, args)
const settings = (...args: string[]) => serveSettings(parse(...args))

function refusal(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(CliError)
    return `${(error as CliError).message}: ${(error as CliError).hint}`
  }
  throw new Error('nothing was refused')
}

describe('the command line of serve', () => {
  it('has defaults for everything but the URI and the socket', () => {
    expect(settings('memory://', '--socket', '/run/a.sock')).toEqual({
      uri: 'memory://',
      assignments: [],
      endpoint: { kind: 'path', path: '/run/a.sock' },
      socketMode: undefined,
      socketGroup: undefined,
      once: false,
      keepsFrontend: false,
      tag: undefined,
      requestQueues: 8,
      readOnly: false,
      timeoutMs: 30_000,
      shutdownTimeoutMs: 30_000,
      files: {
        uid: 0,
        gid: 0,
        fileMode: 0o644,
        dirMode: 0o755,
        attrs: 'sidecar',
        userMetadata: false,
        attrTtlMs: 1000,
        entryTtlMs: 1000,
        cacheBytes: 2 ** 28,
        stagingDir: undefined,
        stateDir: undefined,
        writeBack: false,
        capacityBytes: undefined,
        maxBytes: undefined,
        maxFiles: undefined,
      },
      logLevel: 'info',
      logFormat: 'text',
    })
  })

  it('takes options before and after the URI, with = and with a space, the last one winning', () => {
    const { argument, values } = parse(
      '--uid=5',
      '-o',
      'a=1',
      'memory://',
      '-ob=2',
      '--option=c=3',
      '--uid',
      '7',
      '--once',
    )
    expect(argument).toBe('memory://')
    expect(values.option).toEqual(['a=1', 'b=2', 'c=3'])
    expect([values.uid, values.once]).toEqual([7, true])
  })

  it('takes --socket-path for --socket, and an inherited descriptor instead', () => {
    expect(settings('memory://', '--socket-path=/a').endpoint).toEqual({ kind: 'path', path: '/a' })
    expect(settings('memory://', '--fd=3').endpoint).toEqual({ kind: 'fd', fd: 3 })
  })

  it('leaves the front-end to the next daemon if there is a state folder for the rest, unless it is told not to', () => {
    const kept = (...args: string[]) => settings('memory://', '--socket=/a', ...args).keepsFrontend
    expect(kept('--state-dir=/s')).toBe(true)
    expect(kept('--state-dir=/s', '--no-fd-store')).toBe(false)
    expect(kept('--no-fd-store')).toBe(false)
  })

  it('opens the socket to the group that it is given', () => {
    expect(settings('memory://', '--socket=/a', '--socket-group=kvm').socketMode).toBe(0o660)
    expect(settings('memory://', '--socket=/a', '--socket-group=kvm', '--socket-mode=0600').socketMode).toBe(
      0o600,
    )
  })

  it.each([
    [['--socket', '/a'], /URI is missing.*ovfs help serve/],
    [['memory://', '--socket', '/a', 'hunter2'], /takes one URI only/],
    [['memory://', '--sokcet', '/a'], /no option --sokcet: did you mean --socket\?/],
    [['memory://', '--zzzzzzzzz'], /no option --zzzzzzzzz: see ovfs help serve/],
    [['memory://', '-x'], /no option -x/],
    [['memory://', '--toString'], /no option --toString/],
    [['memory://', '--socket'], /--socket needs a value: --socket PATH/],
    [['memory://', '--socket', '--once'], /--socket needs a value/],
    [['memory://', '--once=yes'], /--once takes no value/],
    [['memory://', '--uid', 'root'], /--uid "root": expected a whole number/],
  ])('refuses %j', (args, message) => {
    expect(refusal(() => parse(...args))).toMatch(message)
  })

  it.each([
    [['memory://'], /--socket is missing/],
    [['memory://', '--socket=/a', '--fd=3'], /only one of/],
    [['memory://', '--socket=/a', '--socket-path=/a'], /only one of/],
    [['memory://', '--fd=1'], /standard stream/],
    [['memory://', '--fd=3', '--socket-mode=0600'], /are for --socket/],
  ])('refuses the combination %j', (args, message) => {
    expect(refusal(() => settings(...args))).toMatch(message)
  })

  it('does not repeat a stray argument, which may be a secret', () => {
    expect(refusal(() => parse('memory://', '-o', 'password', 'hunter2'))).not.toContain('hunter2')
  })
})

describe('every command', () => {
  it.each(COMMANDS.map(command => [command.name, command] as const))(
    'shows each option in one group: %s',
    (_, command) => {
      const shown = command.groups.flatMap(group => group.options)
      expect([...shown].sort()).toEqual(Object.keys(command.options satisfies Options).sort())
    },
  )
})
