// The machine code of the SIGBUS handlers, compared with what an assembler makes of the listing beside it.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type BusHandler, machineCode } from '../src/sys/bus-handler.ts'
import { arm64 } from '../src/sys/bus-handler-arm64.ts'
import { x64 } from '../src/sys/bus-handler-x64.ts'
import { temporaryFolder } from './peers.ts'

const isThere = (program: string) => spawnSync(program, ['--version']).status === 0

/** The programs of binutils for a processor, by what stands before their names on a machine of any kind. */
function binutils(processor: string): string | undefined {
  const prefixes = [
    `${processor}-linux-gnu-`,
    ...(process.arch === 'x64' && processor === 'x86_64' ? [''] : []),
  ]
  return prefixes.find(prefix => isThere(`${prefix}as`) && isThere(`${prefix}objcopy`))
}

function assemble(prefix: string, source: string): Buffer {
  const folder = temporaryFolder()
  const [object, raw] = [join(folder, 'object'), join(folder, 'raw')]
  const assembler = spawnSync(`${prefix}as`, ['-o', object, '-'], { input: source, encoding: 'utf8' })
  expect(assembler.stderr).toBe('')
  const copied = spawnSync(`${prefix}objcopy`, ['-O', 'binary', '-j', '.text', object, raw], {
    encoding: 'utf8',
  })
  expect(copied.stderr).toBe('')
  return readFileSync(raw)
}

/** Without the column of bytes. */
const instructions = ({ listing }: BusHandler) => `${listing.replaceAll(/^\s*[0-9a-f]+/gm, '')}\n`

const handlers = [
  { name: 'arm64', handler: arm64, prefix: binutils('aarch64'), source: instructions(arm64) },
  {
    name: 'x86-64',
    handler: x64,
    prefix: binutils('x86_64'),
    // An address that needs all 64 bits, so that the instruction is as long as the one that the real address needs.
    source: `.intel_syntax noprefix\n${instructions(x64).replace('table', '0x1122334455667788')}`,
  },
]

for (const { name, handler, prefix, source } of handlers) {
  test.skipIf(prefix === undefined)(
    `the handler for ${name} is what its listing says (needs binutils)`,
    () => {
      const table = name === 'arm64' ? 0n : 0x1122334455667788n
      const code = Buffer.from(machineCode(handler, table)).toString('hex')
      expect(assemble(prefix!, source).toString('hex')).toBe(code)
    },
  )
}
