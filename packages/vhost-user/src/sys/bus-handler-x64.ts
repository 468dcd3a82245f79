// The SIGBUS handler for x86-64.

import type { BusHandler } from './bus-handler.ts'

export const x64: BusHandler = {
  tableAt: 5,
  listing: `
  53                           push rbx
  4154                         push r12
  48bb0000000000000000         mov rbx, table
  488b4610                     mov rax, [rsi + 16]     # info->si_addr
  488b4b40                     mov rcx, [rbx + 64]     # count
  4c8d6360                     lea r12, [rbx + 96]     # first entry
  4885c9                next:  test rcx, rcx
  7463                         jz other
  493b0424                     cmp rax, [r12]          # below its start?
  7207                         jb skip
  493b442408                   cmp rax, [r12 + 8]      # below its end?
  7209                         jb found
  4983c418              skip:  add r12, 24
  48ffc9                       dec rcx
  ebe5                         jmp next
  498b3c24              found: mov rdi, [r12]
  498b742408                   mov rsi, [r12 + 8]
  4829fe                       sub rsi, rdi
  ba03000000                   mov edx, 3              # PROT_READ | PROT_WRITE
  41ba32400000                 mov r10d, 0x4032        # MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE
  49c7c0ffffffff               mov r8, -1
  4531c9                       xor r9d, r9d
  b809000000                   mov eax, 9              # mmap
  0f05                         syscall
  483d00f0ffff                 cmp rax, -4096
  771d                         ja other
  49ff442410                   inc qword ptr [r12 + 16]
  488b7b48                     mov rdi, [rbx + 72]     # eventfd
  488d7350                     lea rsi, [rbx + 80]     # the number one
  ba08000000                   mov edx, 8
  b801000000                   mov eax, 1              # write
  0f05                         syscall
  415c                         pop r12
  5b                           pop rbx
  c3                           ret
  bf07000000            other: mov edi, 7              # SIGBUS
  4889de                       mov rsi, rbx            # a sigaction of zeros: SIG_DFL
  31d2                         xor edx, edx
  41ba08000000                 mov r10d, 8
  b80d000000                   mov eax, 13             # rt_sigaction
  0f05                         syscall
  b827000000                   mov eax, 39             # getpid
  0f05                         syscall
  89c7                         mov edi, eax
  be07000000                   mov esi, 7              # SIGBUS, which is blocked until the handler returns
  b83e000000                   mov eax, 62             # kill
  0f05                         syscall
  415c                         pop r12
  5b                           pop rbx
  c3                           ret`,
}
