// Files that become shorter while they are mapped.

import { spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isGuarded } from '../src/sys/bus-guard.ts'
import { Mapping } from '../src/sys/mapping.ts'
import { temporaryFolder, until } from './peers.ts'

const MIB = 2 ** 20

/** A file that nobody can seal, mapped. */
function mapFile(size = MIB) {
  const path = join(temporaryFolder(), 'memory')
  writeFileSync(path, Buffer.alloc(size, 7))
  const fd = openSync(path, 'r+')
  onTestFinished(() => closeSync(fd))
  let losses = 0
  const mapping = new Mapping({ fd, offset: 0, size, lost: () => losses++ })
  onTestFinished(() => mapping.unmap())
  return { fd, mapping, bytes: new Uint8Array(mapping.pieces[0]!), losses: () => losses }
}

describe.skipIf(!isGuarded)('a mapped file that becomes shorter (needs x86-64 or arm64)', () => {
  test('turns into zeros that can be read and written, and its owner is told once', async () => {
    const { fd, bytes, losses } = mapFile()
    expect(bytes[0]).toBe(7)
    ftruncateSync(fd, 0)
    expect(bytes[5000]).toBe(0)
    bytes[MIB - 1] = 9
    expect([bytes[0], bytes[MIB - 1]]).toEqual([0, 9])
    expect(losses()).toBe(0)
    await until(() => losses() > 0)
    expect(bytes[100_000]).toBe(0)
    await new Promise(resolve => setTimeout(resolve, 10))
    expect(losses()).toBe(1)
  })

  test('is caught in copies and in atomic accesses too', async () => {
    const first = mapFile()
    const second = mapFile()
    ftruncateSync(first.fd, 4096)
    ftruncateSync(second.fd, 0)
    const target = new Uint8Array(MIB)
    target.set(first.bytes)
    expect(Atomics.load(new Uint16Array(second.mapping.pieces[0]!), 4321)).toBe(0)
    await until(() => first.losses() === 1 && second.losses() === 1)
  })

  test('is left alone as long as nobody touches what is gone', async () => {
    const { fd, bytes, losses } = mapFile()
    ftruncateSync(fd, MIB / 2)
    expect(bytes[MIB / 2 - 1]).toBe(7)
    await new Promise(resolve => setTimeout(resolve, 10))
    expect(losses()).toBe(0)
  })

  test('concerns no other mapping, in whatever order they go', async () => {
    const all = Array.from({ length: 5 }, () => mapFile())
    all[1]!.mapping.unmap()
    all[4]!.mapping.unmap()
    ftruncateSync(all[3]!.fd, 0)
    expect(all[3]!.bytes[0]).toBe(0)
    await until(() => all[3]!.losses() === 1)
    expect([0, 2].map(i => [all[i]!.bytes[0], all[i]!.losses()])).toEqual([
      [7, 0],
      [7, 0],
    ])
  })

  test('a SIGBUS that comes from elsewhere still kills', () => {
    const path = join(temporaryFolder(), 'memory')
    writeFileSync(path, Buffer.alloc(MIB))
    const compiled = new URL('../dist/sys/mapping.js', import.meta.url)
    const program = `
      import { openSync } from 'node:fs'
      const { Mapping } = await import('${compiled}')
      new Mapping({ fd: openSync('${path}', 'r+'), offset: 0, size: ${MIB} })
      console.log('mapped')
      process.kill(process.pid, 'SIGBUS')
      setTimeout(() => {}, 60_000)`
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
    expect({ signal: child.signal, said: child.stdout }).toEqual({
      signal: 'SIGBUS',
      said: 'mapped\n',
    })
  })
})
