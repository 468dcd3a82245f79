import { readFileSync } from 'node:fs'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'

it('runs the program of the README', async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const program = /```ts\n([\s\S]*?)```/.exec(readme)![1]!.replace(/^import .*$/gm, '')
  const printed: string[] = []
  const AsyncFunction = (async () => undefined).constructor as new (
    ...args: string[]
  ) => (...args: unknown[]) => Promise<void>
  const run = new AsyncFunction('Operator', 'OpendalFs', 'ROOT_NODE', 'console', program)
  await run(Operator, OpendalFs, ROOT_NODE, { log: (line: string) => printed.push(line) })
  expect(printed).toEqual(['13 bytes'])
})
