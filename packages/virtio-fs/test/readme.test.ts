// The README's program serves what it says, seen through the driver.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Errno, FsError } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { expect, onTestFinished, test, vi } from 'vitest'

test('the smallest program serves its file', async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const program = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] as string
  const file = new URL(`./readme-program-${process.pid}.ts`, import.meta.url)
  writeFileSync(file, `${program}\nexport { share }\n`)
  onTestFinished(() => rmSync(file))
  const folder = mkdtempSync(join(tmpdir(), 'ovfs-readme-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  onTestFinished(() => log.mockRestore())

  const socketPath = join(folder, 'socket')
  const argv = process.argv
  process.argv = [...argv.slice(0, 2), socketPath]
  const { share } = await import(file.href)
  process.argv = argv
  expect(log.mock.calls).toEqual([['listening']])

  const driver = await VirtioFsDriver.connect(socketPath)
  const { client } = driver
  await client.init()
  const { nodeid, attr } = await client.lookup(1, 'hello')
  expect(attr.size).toBe(18)
  const { fh } = await client.open(nodeid)
  expect(Buffer.from(await client.read(nodeid, fh, 0, 4096)).toString()).toBe('made by a handler\n')
  expect(await client.read(nodeid, fh, 18, 4096)).toHaveLength(0)
  const absent = await client.lookup(1, 'other').catch((error: unknown) => error)
  expect(absent).toBeInstanceOf(FsError)
  expect((absent as FsError).errno).toBe(Errno.ENOENT)
  await driver.close()
  await share.close()
})
