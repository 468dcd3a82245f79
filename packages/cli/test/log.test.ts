import { describe, expect, it } from 'vitest'
import { Log, type LogOptions } from '../src/log.ts'

function record(options: Partial<LogOptions> = {}) {
  let output = ''
  const log = new Log({
    level: 'info',
    format: 'text',
    redact: text => text.replaceAll('hunter2', '***'),
    write: line => {
      output += line
    },
    now: () => new Date(0),
    ...options,
  })
  return { log, output: () => output }
}

describe('the log', () => {
  it('writes one line per event: time, level, message, fields', () => {
    const { log, output } = record()
    log.info('front-end left', { reason: 'a "b" c', count: 3, absent: undefined, path: '/x' })
    expect(output()).toBe(
      '1970-01-01T00:00:00.000Z info  front-end left reason="a \\"b\\" c" count=3 path=/x\n',
    )
  })

  it('writes one JSON object per event', () => {
    const { log, output } = record({ format: 'json' })
    log.warn('careful', { path: 'a\nb', ok: true })
    expect(JSON.parse(output())).toEqual({
      time: '1970-01-01T00:00:00.000Z',
      level: 'warn',
      message: 'careful',
      path: 'a b',
      ok: true,
    })
    expect(output().endsWith('}\n')).toBe(true)
  })

  it('writes levels as a journal reads them, and leaves times to it', () => {
    const { log, output } = record({ format: 'journal', level: 'debug' })
    log.error('e', { path: '/x' })
    log.warn('w')
    log.info('i')
    log.debug('d')
    log.status('waiting')
    log.failure('over')
    expect(output()).toBe('<3>e path=/x\n<4>w\n<6>i\n<7>d\n<6>waiting\n<3>over\n')
  })

  it('leaves out what is below its level', () => {
    const { log, output } = record({ level: 'warn' })
    log.debug('d')
    log.info('i')
    log.warn('w')
    log.error('e')
    expect(output().match(/(warn|error) {1,2}[a-z]/g)).toHaveLength(2)
    expect(output().split('\n')).toHaveLength(3)
  })

  it.each(['text', 'json', 'journal'] as const)('redacts every text and keeps it on its line: %s', format => {
    const { log, output } = record({ format })
    log.error('said hunter2\nforged line', { path: 'hunter2\r\u2028\u0085x', '': '' })
    log.failure('hunter2\nand more')
    expect(output()).not.toContain('hunter2')
    expect(
      output()
        .trimEnd()
        .split(/[\r\n\u2028\u0085]/),
    ).toHaveLength(2)
  })
})
