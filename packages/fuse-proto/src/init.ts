// The negotiation of INIT: which version and which features the session has. A feature is on when the guest offers it, the
// file system wants it, and this package can do it; nothing is echoed that nobody here implements.

import {
  InitFlags as F,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_OLDEST_MINOR_VERSION,
} from './constants.ts'
import { EXTENSION_FLAGS2, EXTENSIONS_MINOR, IMPLEMENTED_FLAGS, IMPLEMENTED_FLAGS2 } from './features.ts'
import type { FuseHandler, InitOptions } from './handler.ts'
import { FuseProtocolError, truncated } from './protocol-error.ts'
import { InHeader, InitIn, type InitOut } from './structs.ts'

const DEFAULT_MAX_WRITE = 1024 * 1024
const DEFAULT_MAX_BACKGROUND = 128
/** A WRITE of one page must always be possible; Linux raises what is below to it. */
const MIN_MAX_WRITE = 4096
/** The kernel's default limit; max_pages bounds READ too, so it does not follow a smaller max_write. */
const MAX_PAGES = 256
const PAGE = 4096
/** Bytes of INIT's arguments before minor 36. */
const INIT_IN_COMPAT_SIZE = 16
const VERSION_SIZE = 8

/** Decodes INIT's arguments, 16 or 64 bytes; `flags2` is 0 when the guest has none. Throws FuseProtocolError. */
export function decodeInit(bytes: Uint8Array): InitIn {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const o = InitIn.offsets
  if (bytes.byteLength < VERSION_SIZE)
    throw truncated(InitIn.cName, InHeader.size, VERSION_SIZE, bytes.byteLength)
  const major = view.getUint32(o.major, true)
  const minor = view.getUint32(o.minor, true)
  // A newer major version fixes nothing but the place of its two numbers.
  if (major !== FUSE_KERNEL_VERSION) return { major, minor, maxReadahead: 0, flags: 0, flags2: 0 }
  if (bytes.byteLength < INIT_IN_COMPAT_SIZE) {
    throw truncated(InitIn.cName, InHeader.size, INIT_IN_COMPAT_SIZE, bytes.byteLength)
  }
  const flags = view.getUint32(o.flags, true)
  const hasFlags2 = (flags & F.INIT_EXT) !== 0 && bytes.byteLength >= o.flags2 + 4
  return {
    major,
    minor,
    maxReadahead: view.getUint32(o.maxReadahead, true),
    flags,
    flags2: hasFlags2 ? view.getUint32(o.flags2, true) : 0,
  }
}

/** The answer that only says which major version is spoken here; the guest then sends a second INIT with it. */
export function versionOnly(): InitOut {
  return {
    major: FUSE_KERNEL_VERSION,
    minor: FUSE_KERNEL_MINOR_VERSION,
    maxReadahead: 0,
    flags: 0,
    maxBackground: 0,
    congestionThreshold: 0,
    maxWrite: 0,
    timeGran: 0,
    maxPages: 0,
    mapAlignment: 0,
    flags2: 0,
    maxStackDepth: 0,
    requestTimeout: 0,
  }
}

/** Throws FuseProtocolError BAD_VERSION, EPROTO for the guest, if the version is too old. */
export function requireVersion(request: InitIn): void {
  const tooOld =
    request.major < FUSE_KERNEL_VERSION ||
    (request.major === FUSE_KERNEL_VERSION && request.minor < FUSE_OLDEST_MINOR_VERSION)
  if (tooOld) {
    throw new FuseProtocolError('BAD_VERSION', `version ${request.major}.${request.minor} is not spoken`, {
      struct: InitIn.cName,
      offset: InHeader.size,
      errno: 'EPROTO',
    })
  }
}

/** The flags that the methods of a handler cannot serve are taken from what it wants. */
function servable(handler: FuseHandler, flags: number): number {
  let servable = flags
  // READDIRPLUS has no fallback in the guest once it was negotiated.
  if (!handler.readdirplus) servable &= ~(F.DO_READDIRPLUS | F.READDIRPLUS_AUTO)
  // A guest that keeps its locks to itself is better off than one whose every lock is refused.
  if (!handler.setlk || !handler.getlk) servable &= ~F.POSIX_LOCKS
  if (!handler.setlk) servable &= ~F.FLOCK_LOCKS
  return servable
}

/** The reply to an INIT of major version 7. */
export function negotiate(request: InitIn, options: InitOptions, handler: FuseHandler): InitOut {
  const decodable =
    request.minor >= EXTENSIONS_MINOR ? IMPLEMENTED_FLAGS2 : IMPLEMENTED_FLAGS2 & ~EXTENSION_FLAGS2
  const flags2 = request.flags2 & (options.flags2 ?? 0) & decodable
  const wanted =
    servable(handler, options.flags) |
    // Without these two, requests are limited to one page and 32 pages.
    F.BIG_WRITES |
    F.MAX_PAGES |
    // The guest looks at flags2 only if INIT_EXT is set.
    (flags2 === 0 ? 0 : F.INIT_EXT)
  const unneeded = flags2 === 0 ? F.INIT_EXT : 0
  const flags = request.flags & wanted & IMPLEMENTED_FLAGS & ~unneeded
  const maxWrite = Math.max(options.maxWrite ?? DEFAULT_MAX_WRITE, MIN_MAX_WRITE)
  const maxBackground = Math.min(options.maxBackground ?? DEFAULT_MAX_BACKGROUND, 0xffff)
  return {
    ...versionOnly(),
    minor: Math.min(request.minor, FUSE_KERNEL_MINOR_VERSION),
    maxReadahead: request.maxReadahead,
    flags: flags >>> 0,
    flags2: flags2 >>> 0,
    maxBackground,
    congestionThreshold: Math.floor((maxBackground * 3) / 4),
    maxWrite,
    timeGran: options.timeGran ?? 1,
    // With the flag and 0 pages, Linux would send single pages.
    maxPages:
      (flags & F.MAX_PAGES) === 0 ? 0 : Math.min(Math.max(Math.ceil(maxWrite / PAGE), MAX_PAGES), 0xffff),
  }
}
