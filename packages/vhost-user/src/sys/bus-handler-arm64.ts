// The SIGBUS handler for arm64. The system call numbers are those of <asm-generic/unistd.h>.

import type { BusHandler } from './bus-handler.ts'

export const arm64: BusHandler = {
  tableAt: 0xb0,
  listing: `
  89050058                 ldr x9, table
  2a0840f9                 ldr x10, [x1, #16]  // info->si_addr
  2b2140f9                 ldr x11, [x9, #64]  // count
  2c810191                 add x12, x9, #96    // first entry
  6b0300b4          next:  cbz x11, other
  800540a9                 ldp x0, x1, [x12]
  5f0100eb                 cmp x10, x0         // below its start?
  63000054                 b.lo skip
  5f0101eb                 cmp x10, x1         // below its end?
  83000054                 b.lo found
  8c610091          skip:  add x12, x12, #24
  6b0500d1                 sub x11, x11, #1
  f8ffff17                 b next
  210000cb          found: sub x1, x1, x0
  620080d2                 mov x2, #3          // PROT_READ | PROT_WRITE
  430688d2                 mov x3, #0x4032     // MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE
  04008092                 mov x4, #-1
  050080d2                 mov x5, #0
  c81b80d2                 mov x8, #222        // mmap
  010000d4                 svc #0
  1ffc3fb1                 cmn x0, #4095       // -4095 to -1: an error
  42010054                 b.hs other
  8a0940f9                 ldr x10, [x12, #16]
  4a050091                 add x10, x10, #1
  8a0900f9                 str x10, [x12, #16]
  202540f9                 ldr x0, [x9, #72]   // eventfd
  21410191                 add x1, x9, #80     // the number one
  020180d2                 mov x2, #8
  080880d2                 mov x8, #64         // write
  010000d4                 svc #0
  c0035fd6                 ret
  e00080d2          other: mov x0, #7          // SIGBUS
  e10309aa                 mov x1, x9          // a sigaction of zeros: SIG_DFL
  020080d2                 mov x2, #0
  030180d2                 mov x3, #8
  c81080d2                 mov x8, #134        // rt_sigaction
  010000d4                 svc #0
  881580d2                 mov x8, #172        // getpid
  010000d4                 svc #0
  e10080d2                 mov x1, #7          // SIGBUS, which is blocked until the handler returns
  281080d2                 mov x8, #129        // kill
  010000d4                 svc #0
  c0035fd6                 ret
  1f2003d5                 nop                 // the table's address is aligned
  0000000000000000  table: .quad 0`,
}
