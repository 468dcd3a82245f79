// Touching a mapped page past the end of its file is a SIGBUS, and a peer that shortens its file could kill this process with
// one. JavaScript cannot handle a signal in the middle of an access, so the handler is machine code: it puts anonymous memory
// in place of the whole mapping, all zeros, and writes an eventfd; the access goes on, and the owner of the mapping is told in
// the next turn of the event loop. A SIGBUS anywhere else kills the process, as it would have.
//
// x86-64 only. Elsewhere nothing is guarded, and `isGuarded` is false.

import koffi from 'koffi'
import { VhostUserError } from '../errors.ts'
import { createEventFd, drainEventFd } from './eventfd.ts'
import { FdPoll } from './fd-poll.ts'
import { type Address, checked, libc, MAP_FAILED, NativeBuffer } from './libc.ts'

export const isGuarded = process.arch === 'x64'

const PAGE_SIZE = 4096
const PROT_READ = 1
const PROT_READ_WRITE = 3
const PROT_EXEC = 4
const MAP_PRIVATE_ANONYMOUS = 0x22
const SIGBUS = 7
const SA_SIGINFO = 4
/** struct sigaction of glibc and musl: handler, 1024 bits of mask, flags. */
const SIGACTION = { size: 152, flags: 136 }

/** The table that the handler reads, in 64-bit words: see the offsets in the code below. */
const TABLE_SIZE = 64 * PAGE_SIZE
const COUNT = 8
const EVENT = 9
const ONE = 10
const FIRST_ENTRY = 12
/** Start, end, and how often the handler has replaced the range. */
const ENTRY_WORDS = 3
const MAX_ENTRIES = Math.floor((TABLE_SIZE / 8 - FIRST_ENTRY) / ENTRY_WORDS)

/** void handler(int, siginfo_t *info, void *), with the address of the table at byte 5. */
const CODE = `
  53              push rbx
  4154            push r12
  48bb0000000000000000  mov rbx, table
  488b4610        mov rax, [rsi + 16]      info->si_addr
  488b4b40        mov rcx, [rbx + 64]      count
  4c8d6360        lea r12, [rbx + 96]      first entry
  4885c9          next: test rcx, rcx
  7463            jz other
  493b0424        cmp rax, [r12]           below its start?
  7207            jb skip
  493b442408      cmp rax, [r12 + 8]       below its end?
  7209            jb found
  4983c418        skip: add r12, 24
  48ffc9          dec rcx
  ebe5            jmp next
  498b3c24        found: mov rdi, [r12]
  498b742408      mov rsi, [r12 + 8]
  4829fe          sub rsi, rdi
  ba03000000      mov edx, 3               PROT_READ | PROT_WRITE
  41ba32400000    mov r10d, 0x4032         MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE
  49c7c0ffffffff  mov r8, -1
  4531c9          xor r9d, r9d
  b809000000      mov eax, 9               mmap
  0f05            syscall
  483d00f0ffff    cmp rax, -4096
  771d            ja other
  49ff442410      inc [r12 + 16]
  488b7b48        mov rdi, [rbx + 72]      eventfd
  488d7350        lea rsi, [rbx + 80]      the number one
  ba08000000      mov edx, 8
  b801000000      mov eax, 1               write
  0f05            syscall
  415c            pop r12
  5b              pop rbx
  c3              ret
  bf07000000      other: mov edi, 7        SIGBUS
  4889de          mov rsi, rbx             a sigaction of zeros: SIG_DFL
  31d2            xor edx, edx
  41ba08000000    mov r10d, 8
  b80d000000      mov eax, 13              rt_sigaction
  0f05            syscall
  b827000000      mov eax, 39              getpid
  0f05            syscall
  89c7            mov edi, eax
  be07000000      mov esi, 7               SIGBUS, which is blocked until the handler returns
  b83e000000      mov eax, 62              kill
  0f05            syscall
  415c            pop r12
  5b              pop rbx
  c3              ret`
const TABLE_ADDRESS_AT = 5

interface Guarded {
  readonly lost: () => void
  /** Where its entry is; entries move when others go. */
  index: number
}

class BusGuard {
  readonly #table: BigUint64Array
  readonly #guarded: Guarded[] = []
  readonly #event = createEventFd()
  readonly #poll: FdPoll

  constructor() {
    const table = mapAnonymous(TABLE_SIZE)
    // SAFETY: the table is never unmapped.
    this.#table = new BigUint64Array(koffi.view(table, TABLE_SIZE))
    this.#table[EVENT] = BigInt(this.#event)
    this.#table[ONE] = 1n
    installHandler(table)
    this.#poll = new FdPoll(
      this.#event,
      { readable: true },
      {
        ready: () => this.#tell(),
        failed: error => {
          throw error
        },
      },
    )
    this.#poll.unref()
  }

  add(start: Address, length: number, lost: () => void): Guarded {
    const index = this.#guarded.length
    if (index >= MAX_ENTRIES) throw new VhostUserError('BAD_MEMORY', `${index} mappings are too many`)
    const at = FIRST_ENTRY + index * ENTRY_WORDS
    this.#table.set([start, start + BigInt(length), 0n], at)
    const guarded = { lost, index }
    this.#guarded.push(guarded)
    this.#table[COUNT] = BigInt(this.#guarded.length)
    return guarded
  }

  /** The last entry takes the place of the one that goes. */
  remove({ index }: Guarded): void {
    const last = this.#guarded.pop() as Guarded
    const from = FIRST_ENTRY + last.index * ENTRY_WORDS
    if (last.index !== index) {
      this.#table.copyWithin(FIRST_ENTRY + index * ENTRY_WORDS, from, from + ENTRY_WORDS)
      last.index = index
      this.#guarded[index] = last
    }
    this.#table[COUNT] = BigInt(this.#guarded.length)
  }

  #tell(): void {
    if (!drainEventFd(this.#event)) return
    const hit = (index: number) => FIRST_ENTRY + index * ENTRY_WORDS + 2
    const lost = this.#guarded.filter(({ index }) => this.#table[hit(index)] !== 0n)
    for (const { index } of lost) this.#table[hit(index)] = 0n
    for (const { lost: tell } of lost) tell()
  }
}

let guard: BusGuard | undefined

/**
 * From now until `release`, the mapping turns into zeros instead of killing the process when its file has become shorter; then
 * `lost` is called, in a turn of the event loop of its own.
 */
export function guardMapping(start: Address, length: number, lost: () => void): { release(): void } {
  if (!isGuarded) return { release: () => undefined }
  guard ??= new BusGuard()
  const used = guard
  const guarded = used.add(start, length, lost)
  return { release: () => used.remove(guarded) }
}

function mapAnonymous(size: number): Address {
  // SAFETY: the kernel chooses a free range, which stays mapped until the process ends.
  const address = libc.mmap(null, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0)
  if (address === MAP_FAILED) checked('mmap', -1, 'of memory for the SIGBUS handler')
  return address
}

function installHandler(table: Address): void {
  const hex = CODE.trim()
    .split('\n')
    .map(line => line.trim().split(/\s/, 1)[0])
  const code = Buffer.from(hex.join(''), 'hex')
  code.writeBigUInt64LE(table, TABLE_ADDRESS_AT)
  const page = mapAnonymous(PAGE_SIZE)
  // SAFETY: the page was just mapped, is writable, and longer than the code.
  new Uint8Array(koffi.view(page, PAGE_SIZE)).set(code)
  // SAFETY: from here on the page is never written; nothing else lies in it.
  checked('mprotect', libc.mprotect(page, PAGE_SIZE, PROT_READ | PROT_EXEC), 'of the SIGBUS handler')
  const action = new NativeBuffer(SIGACTION.size)
  action.view.setBigUint64(0, page, true)
  action.view.setInt32(SIGACTION.flags, SA_SIGINFO, true)
  // SAFETY: the handler keeps the registers that the ABI protects, makes system calls only, and its memory stays.
  checked('sigaction', libc.sigaction(SIGBUS, action.address, null))
}
