// Everything that a back-end session knows of its connection, as its record holds it. Descriptors are named as the store knows
// them. What is missing here is in guest memory (where the used rings stand) or in the records of buffers in flight.

/** The name of a descriptor in the store. */
export type FdName = string

/** A part of a shared memory file. */
export interface SavedMemory {
  readonly fd: FdName
  readonly mmapSize: number
  readonly mmapOffset: number
}

export interface SavedRegion {
  readonly guestAddress: number
  readonly userAddress: number
  readonly size: number
  readonly mmapOffset: number
  readonly fd: FdName
}

export interface SavedRing {
  readonly size: number
  readonly base: number
  readonly addresses?: {
    readonly descAddress: number
    readonly availAddress: number
    readonly usedAddress: number
  }
  readonly started: boolean
  readonly enabled: boolean
  /** The device runs it: it goes on, instead of starting at its base. */
  readonly running: boolean
  readonly kick?: FdName
  readonly call?: FdName
  readonly err?: FdName
}

export interface SavedLog {
  readonly on: boolean
  /** Null for a ring whose used ring is not logged. */
  readonly usedRings: readonly (number | null)[]
  readonly memory?: SavedMemory
  readonly signal?: FdName
}

export interface SavedState {
  readonly owned: boolean
  /** Bit masks, in decimal. */
  readonly features: string
  readonly protocolFeatures: string
  readonly status: number
  readonly regions: readonly SavedRegion[]
  readonly log: SavedLog
  readonly channel?: FdName
  readonly inflight?: SavedMemory & { readonly numQueues: number; readonly queueSize: number }
  readonly rings: readonly SavedRing[]
}

export interface SavedSession {
  /** All names in this session, but that of the record itself. */
  readonly fds: readonly FdName[]
  readonly connection: FdName
  /** The back-end's own records of buffers in flight. */
  readonly ringRecords: FdName
  readonly state: SavedState
}

/** What the session's parts ask of whoever keeps it. */
export interface FdNames {
  /** The name under which a descriptor's file is kept; undefined if it is not. */
  nameOf(fd: number): FdName | undefined
}

/** What the parts of a session that is taken over get for the names in it. Throws TAKEOVER for a name that is not there. */
export interface InheritedFds {
  /** Lent. */
  peek(name: FdName): number
  /** For the caller to own. */
  take(name: FdName): number
}

/** Every name in the state. */
export function namesIn({ regions, log, channel, inflight, rings }: SavedState): FdName[] {
  return [
    ...regions.map(region => region.fd),
    ...rings.flatMap(({ kick, call, err }) => [kick, call, err]),
    ...[log.memory?.fd, log.signal, channel, inflight?.fd],
  ].filter(name => name !== undefined)
}
