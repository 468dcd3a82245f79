// The README's program is a file that runs here.

import { readFileSync } from 'node:fs'
import { expect, it, vi } from 'vitest'

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8')

it('the program in the README is the one that runs', () => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme-program.ts')}\`\`\``)
})

it('the program in the README prints what the device answered', async () => {
  const log = vi.spyOn(console, 'log').mockReturnValue()
  await import('./readme-program.ts')
  expect(log.mock.calls).toEqual([['HELLO']])
})
