// The README's program is the device that it says.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Driver } from './driver.ts'

test('the smallest program fills buffers with random bytes', async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const program = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] as string
  const file = new URL(`./readme-program-${process.pid}.ts`, import.meta.url)
  writeFileSync(file, `${program.replace("'@ovfs/virtio-device'", "'../src/index.ts'")}\nexport { server }\n`)
  onTestFinished(() => rmSync(file))
  const folder = mkdtempSync(join(tmpdir(), 'ovfs-readme-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  onTestFinished(() => log.mockRestore())

  const path = join(folder, 'socket')
  const argv = process.argv
  process.argv = [...argv.slice(0, 2), path]
  const { server } = await import(file.href)
  process.argv = argv
  expect(log.mock.calls).toEqual([['listening']])

  const driver = await Driver.connect(path, 1)
  const first = await driver.ask(0, '', 64)
  const second = await driver.ask(0, '', 64)
  expect([first.length, second.length]).toEqual([64, 64])
  expect(first.equals(second)).toBe(false)
  driver.close()
  await server.close()
})
