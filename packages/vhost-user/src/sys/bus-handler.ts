// A SIGBUS handler as machine code: void handler(int, siginfo_t *info, void *). It looks for the address that was touched in a
// table of mappings, puts anonymous memory in place of the one that holds it, counts that, and writes an eventfd. If there is
// none, it restores what SIGBUS does by default and raises it again. It makes system calls and touches the table, nothing else.
//
// The code is kept as the bytes together with what they mean, so that no assembler is needed to run it and any assembler can
// check it, which the tests do.

import type { Address } from './libc.ts'

export interface BusHandler {
  /** One instruction a line: its bytes as they lie in memory, then what GNU as takes for it, with an Intel syntax on x86-64. */
  readonly listing: string
  /** Where in the code the address of the table stands. */
  readonly tableAt: number
}

/** What the handler finds in its table, in 64-bit words. The first eight are zeros: they are also a sigaction of SIG_DFL. */
export const TABLE = {
  count: 8,
  event: 9,
  /** What is written to the eventfd. */
  one: 10,
  firstEntry: 12,
  /** Start, end, and how often the handler has replaced the range. */
  entryWords: 3,
} as const

/** The bytes of a handler that reads this table. */
export function machineCode({ listing, tableAt }: BusHandler, table: Address): Uint8Array {
  const bytes = listing
    .trim()
    .split('\n')
    .map(line => line.trim().split(/\s/, 1)[0])
  const code = Buffer.from(bytes.join(''), 'hex')
  code.writeBigUInt64LE(table, tableAt)
  return code
}
