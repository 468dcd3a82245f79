// Our front-end and driver against two block devices that serve a file: QEMU's own, and the example in examples/. The same
// requests must have the same results.

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { accessSync, constants, existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { repository } from '../harness/initramfs.ts'
import { ended, ownProcess } from '../harness/process.ts'
import { BlockDriver, SECTOR } from './block-driver.ts'

const EXAMPLE = join(repository, 'examples', 'dist', 'vhost-user-blk.js')
const STORAGE_DAEMON = 'qemu-storage-daemon'
const SIZE = 4 << 20

const qemu = (socket: string, image: string) => [
  STORAGE_DAEMON,
  ...['--blockdev', `driver=file,filename=${image},node-name=disk`],
  ...['--export', `vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,addr.path=${socket}`],
]
const ours = (socket: string, image: string) => [process.execPath, EXAMPLE, socket, 'file', image]

function onPath(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some(dir => {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

describe.each([
  ["QEMU's storage daemon", qemu, onPath(STORAGE_DAEMON) ? '' : ` (needs ${STORAGE_DAEMON})`],
  ['the example disk', ours, existsSync(EXAMPLE) ? '' : ' (needs npx tsc -b examples)'],
])('our front-end at %s', (_name, command, needs) => {
  let dir: string
  let image: string
  let stop: () => Promise<void>
  let socketPath: string

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'ovfs-block-'))
    image = join(dir, 'disk.img')
    socketPath = join(dir, 'socket')
    await writeFile(image, randomBytes(SIZE))
    const [program = '', ...args] = command(socketPath, image)
    const child = ownProcess(spawn(program, args, { stdio: 'ignore' }))
    const end = ended(child)
    stop = async () => {
      child.kill('SIGTERM')
      await end
    }
    while (!existsSync(socketPath)) {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`)
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  })

  afterEach(async () => {
    await stop()
    await rm(dir, { recursive: true, force: true })
  })

  const it = test.skipIf(needs !== '')

  it(`the capacity is that of the file, and every sector reads as the file has it${needs}`, async () => {
    const driver = await BlockDriver.connect(socketPath)
    expect(driver.capacity).toBe(SIZE)
    const file = await readFile(image)
    const step = 0x10000
    for (let at = 0; at < SIZE; at += 8 * step) {
      const parts = await Promise.all(Array.from({ length: 8 }, (_, i) => driver.read(at + i * step, step)))
      expect(Buffer.concat(parts).equals(file.subarray(at, at + 8 * step))).toBe(true)
    }
    driver.close()
  })

  it(`what was written and flushed is in the file${needs}`, async () => {
    const driver = await BlockDriver.connect(socketPath)
    const data = randomBytes(3 * SECTOR)
    await driver.write(7 * SECTOR, data)
    await Promise.all(
      Array.from({ length: 16 }, (_, i) => driver.write((100 + 2 * i) * SECTOR, data.subarray(0, SECTOR))),
    )
    await driver.flush()
    const file = await readFile(image)
    expect(file.subarray(7 * SECTOR, 10 * SECTOR).equals(data)).toBe(true)
    for (let i = 0; i < 16; i++) {
      const at = (100 + 2 * i) * SECTOR
      expect(file.subarray(at, at + SECTOR).equals(data.subarray(0, SECTOR))).toBe(true)
    }
    expect((await driver.read(8 * SECTOR, SECTOR)).equals(data.subarray(SECTOR, 2 * SECTOR))).toBe(true)
    driver.close()
  })

  it(`a request past the end, and one of a type that is not known, fail, and the next one is served${needs}`, async () => {
    const driver = await BlockDriver.connect(socketPath)
    await expect(driver.read(SIZE, SECTOR)).rejects.toMatchObject({ status: 1 })
    await expect(driver.request(0x77, SECTOR)).rejects.toMatchObject({ status: 2 })
    expect((await driver.read(0, SECTOR)).equals((await readFile(image)).subarray(0, SECTOR))).toBe(true)
    driver.close()
  })

  it(`a ring that is disabled and enabled again in the middle of requests loses none${needs}`, async () => {
    const driver = await BlockDriver.connect(socketPath)
    const file = await readFile(image)
    const reads = Array.from({ length: 15 }, (_, i) => driver.read(i * 0x10000, 0x10000))
    await driver.pause()
    for (const [i, part] of (await Promise.all(reads)).entries()) {
      expect(part.equals(file.subarray(i * 0x10000, (i + 1) * 0x10000))).toBe(true)
    }
    driver.close()
  })

  it(`a front-end that leaves without a word makes way for the next${needs}`, async () => {
    for (let times = 0; times < 5; times++) {
      const driver = await BlockDriver.connect(socketPath)
      const lost = driver.read(0, SECTOR)
      void lost.catch(() => undefined)
      driver.close()
    }
    const driver = await BlockDriver.connect(socketPath)
    expect(await driver.read(0, SECTOR)).toHaveLength(SECTOR)
    driver.close()
  })
})
