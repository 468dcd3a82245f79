import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { openLogSink } from '../src/log-sink.ts'

/** A stream whose reader reads when it is told to. */
function slowStream() {
  const taken: string[] = []
  let finish: () => void = () => {}
  const stream = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      taken.push(chunk)
      finish = done
    },
  })
  const read = async (): Promise<void> => {
    let before = -1
    while (before !== taken.length) {
      before = taken.length
      finish()
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  return { stream, taken, read }
}

const line = (index: number) => `line ${index} ${'x'.repeat(100)}\n`

describe('the log sink', () => {
  it('writes line after line', async () => {
    const { stream, taken, read } = slowStream()
    const write = openLogSink(stream)
    for (let i = 0; i < 3; i++) write(line(i))
    await read()
    expect(taken).toEqual([line(0), line(1), line(2)])
  })

  it('holds a bounded amount back while nobody reads, and then tells how many lines are lost', async () => {
    const { stream, taken, read } = slowStream()
    const write = openLogSink(stream)
    for (let i = 0; i < 30_000; i++) write(line(i))
    expect(stream.writableLength).toBeLessThan(2 ** 20 + 1000)
    await read()
    const kept = taken.length
    expect(taken).toEqual(Array.from({ length: kept }, (_, i) => line(i)))
    write('later\n')
    write('and later\n')
    await read()
    const told = `ovfs: ${30_000 - kept} log lines were lost: nobody read them\n`
    expect(taken.slice(kept)).toEqual([told, 'later\n', 'and later\n'])
  })

  it('goes on when the reader has gone', async () => {
    const stream = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('gone'), { code: 'EPIPE' })),
    })
    const write = openLogSink(stream)
    for (let i = 0; i < 3; i++) {
      write(line(i))
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(stream.destroyed).toBe(true)
  })
})
