// A signal to an eventfd that never waits. write(2) waits for a counter that is full, unless O_NONBLOCK is set, which is not ours
// alone to say. What the kernel itself signals does not: a full counter stays full. So the kernel is asked for an operation that
// ends at once and whose end it signals (io_submit(2), IOCB_FLAG_RESFD); that costs about one microsecond more than a write.

import { lastErrno, libc, NativeBuffer, SYS, systemCallError } from './libc.ts'

/** Ends of operations that nobody has fetched yet, at most. */
const ROOM = 128
/** Fetched so often that there is always room. */
const FETCH_AFTER = ROOM / 2

/** linux/aio_abi.h: struct iocb, 64 bytes, and struct io_event, 32. */
const IOCB = { opcode: 16, fildes: 20, buf: 24, flags: 56, resfd: 60 } as const
const IOCB_SIZE = 64
const IO_EVENT_SIZE = 32
const IOCB_CMD_PREAD = 0
const IOCB_FLAG_RESFD = 1

export class CompletionSignal {
  /** 0 if there is none. */
  #context = 0n
  /** This kernel has no such thing, or forbids it. */
  #isImpossible = false
  readonly #iocb = new NativeBuffer(IOCB_SIZE)
  /** A list of one pointer, to the iocb. */
  readonly #list = new NativeBuffer(8)
  readonly #events = new NativeBuffer(ROOM * IO_EVENT_SIZE)
  #unfetched = 0

  constructor() {
    const { view, address } = this.#iocb
    // A read of nothing, from the eventfd itself.
    view.setUint16(IOCB.opcode, IOCB_CMD_PREAD, true)
    view.setBigUint64(IOCB.buf, address, true)
    view.setUint32(IOCB.flags, IOCB_FLAG_RESFD, true)
    this.#list.view.setBigUint64(0, address, true)
    this.#setUp()
  }

  /** Of the whole host only so many operations can be under way (fs.aio-max-nr): what others hold now may be free later. */
  #setUp(): void {
    const context = new NativeBuffer(8)
    // SAFETY: writes 8 bytes to `context`, which is reachable here. The context lives as long as the process.
    if (libc.ioSetup(SYS.io_setup, ROOM, context.address) === 0)
      this.#context = context.view.getBigUint64(0, true)
    else this.#isImpossible = lastErrno() !== 'EAGAIN'
  }

  /** False if nothing was signalled, because the kernel cannot do it in this way. Throws SYSTEM_CALL if `fd` is closed. */
  signal(fd: number): boolean {
    if (this.#context === 0n) {
      if (!this.#isImpossible) this.#setUp()
      if (this.#context === 0n) return false
    }
    if (this.#unfetched >= FETCH_AFTER) this.#fetch()
    this.#iocb.view.setUint32(IOCB.fildes, fd, true)
    this.#iocb.view.setUint32(IOCB.resfd, fd, true)
    if (this.#submit()) return true
    let errno = lastErrno()
    if (errno === 'EAGAIN') {
      this.#fetch()
      if (this.#submit()) return true
      errno = lastErrno()
    }
    // EINVAL: the reading of eventfds in this way came with Linux 5.8.
    if (errno === 'EINVAL' || errno === 'EAGAIN' || errno === 'ENOMEM') return false
    throw systemCallError('io_submit', errno, 'to an event descriptor')
  }

  #submit(): boolean {
    // SAFETY: reads `list` and reads and writes `iocb`, which this object keeps; a read of no bytes touches no buffer.
    if (libc.ioSubmit(SYS.io_submit, this.#context, 1, this.#list.address) !== 1) return false
    this.#unfetched++
    return true
  }

  #fetch(): void {
    // SAFETY: writes at most ROOM events to `events`, which this object keeps. With a minimum of none it does not wait.
    libc.ioGetevents(SYS.io_getevents, this.#context, 0, ROOM, this.#events.address, null)
    this.#unfetched = 0
  }
}
