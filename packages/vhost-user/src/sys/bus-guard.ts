// Touching a mapped page past the end of its file is a SIGBUS, and a peer that shortens its file could kill this process with
// one. JavaScript cannot handle a signal in the middle of an access, so the handler is machine code: it puts anonymous memory
// in place of the whole mapping, all zeros, and writes an eventfd; the access goes on, and the owner of the mapping is told in
// the next turn of the event loop. A SIGBUS anywhere else kills the process, as it would have.
//
// On processors that have no handler nothing is guarded, and `isGuarded` is false.

import koffi from 'koffi'
import { VhostUserError } from '../errors.ts'
import { type BusHandler, machineCode, TABLE } from './bus-handler.ts'
import { arm64 } from './bus-handler-arm64.ts'
import { x64 } from './bus-handler-x64.ts'
import { createEventFd, drainEventFd } from './eventfd.ts'
import { FdPoll } from './fd-poll.ts'
import { type Address, checked, libc, MAP_FAILED, NativeBuffer } from './libc.ts'

const handlers: Partial<Record<NodeJS.Architecture, BusHandler>> = { arm64, x64 }
const handler = handlers[process.arch]

export const isGuarded = handler !== undefined

const PAGE_SIZE = 4096
const PROT_READ = 1
const PROT_READ_WRITE = 3
const PROT_EXEC = 4
const MAP_PRIVATE_ANONYMOUS = 0x22
const SIGBUS = 7
const SA_SIGINFO = 4
/** struct sigaction of glibc and musl: handler, 1024 bits of mask, flags. */
const SIGACTION = { size: 152, flags: 136 }

const TABLE_SIZE = 64 * PAGE_SIZE
const MAX_ENTRIES = Math.floor((TABLE_SIZE / 8 - TABLE.firstEntry) / TABLE.entryWords)

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

  constructor(handler: BusHandler) {
    const table = mapAnonymous(TABLE_SIZE)
    // SAFETY: the table is never unmapped.
    this.#table = new BigUint64Array(koffi.view(table, TABLE_SIZE))
    this.#table[TABLE.event] = BigInt(this.#event)
    this.#table[TABLE.one] = 1n
    install(handler, table)
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
    const at = TABLE.firstEntry + index * TABLE.entryWords
    this.#table.set([start, start + BigInt(length), 0n], at)
    const guarded = { lost, index }
    this.#guarded.push(guarded)
    this.#table[TABLE.count] = BigInt(this.#guarded.length)
    return guarded
  }

  /** The last entry takes the place of the one that goes. */
  remove({ index }: Guarded): void {
    const last = this.#guarded.pop() as Guarded
    const from = TABLE.firstEntry + last.index * TABLE.entryWords
    if (last.index !== index) {
      this.#table.copyWithin(TABLE.firstEntry + index * TABLE.entryWords, from, from + TABLE.entryWords)
      last.index = index
      this.#guarded[index] = last
    }
    this.#table[TABLE.count] = BigInt(this.#guarded.length)
  }

  #tell(): void {
    if (!drainEventFd(this.#event)) return
    const hit = (index: number) => TABLE.firstEntry + index * TABLE.entryWords + 2
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
  if (handler === undefined) return { release: () => undefined }
  guard ??= new BusGuard(handler)
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

function install(handler: BusHandler, table: Address): void {
  const page = mapAnonymous(PAGE_SIZE)
  // SAFETY: the page was just mapped, is writable, and longer than the code.
  new Uint8Array(koffi.view(page, PAGE_SIZE)).set(machineCode(handler, table))
  // SAFETY: from here on the page is never written; nothing else lies in it.
  checked('mprotect', libc.mprotect(page, PAGE_SIZE, PROT_READ | PROT_EXEC), 'of the SIGBUS handler')
  // An arm64 processor does not see by itself that memory holds new instructions. Linux cleans the data cache and invalidates
  // the instruction caches of all processors when it makes a page executable that has not been so since it was written; as
  // that is its habit and no promise, the same is done here where libgcc is there to do it. A processor that has fetched
  // ahead starts anew when it returns from the kernel, which is how each call of the handler begins.
  // SAFETY: only reads the page.
  libc.clearCache?.(page, page + BigInt(PAGE_SIZE))
  const action = new NativeBuffer(SIGACTION.size)
  action.view.setBigUint64(0, page, true)
  action.view.setInt32(SIGACTION.flags, SA_SIGINFO, true)
  // SAFETY: the handler keeps the registers that the ABI protects, makes system calls only, and its memory stays.
  checked('sigaction', libc.sigaction(SIGBUS, action.address, null))
}
