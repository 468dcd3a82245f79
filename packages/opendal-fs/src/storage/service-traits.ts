// What a service does that OpenDAL's `capability()` does not say: facts that hold for every server of a scheme, and facts that
// one server shows only when it is used. `Storage` owns one instance; every layer above asks it instead of comparing schemes.

import type { Time } from '../attributes/time.ts'
import { bindingBuild, type Capability, type Operator } from './binding.ts'
import { temporarySegment } from './key-names.ts'
import { OLD_VERSION } from './load-binding.ts'
import { refusalOf } from './service-answer.ts'

/** Facts that hold for every server of a scheme. */
interface SchemeTraits {
  /** Directories exist by themselves, and stat finds one under its key without the slash. */
  readonly realDirectories?: boolean
  /** `rename` moves a directory and everything in it in one step. A server may refuse that. */
  readonly movesDirectories?: boolean
  /** stat tells times in whole seconds, rounded in this way, while a listing may have fractions of them. */
  readonly wholeSeconds?: 'down' | 'up'
  /** The binding fetches every value whole and cuts the range out itself. It panics if the value is shorter than the range. */
  readonly cutsRanges?: 'remote' | 'in-process'
  /** stat finds a directory under every key with a slash at its end, and nothing can be listed. */
  readonly assumesDirectories?: boolean
  /** stat takes a directory for found if any key matches its name without case and with `_` and `%` as wildcards. */
  readonly guessesDirectories?: boolean
  /** stat is not asked for a directory: our marker object tells of it. */
  readonly findsNoDirectories?: boolean
  /** What holds instead of `capability()`, on which the builds of the binding disagree. */
  readonly capability?: Partial<Capability>
  /** `rename` replaces a directory at the target, with everything in it. */
  readonly renameReplacesDirectories?: boolean
  /** Objects with the same etag hold the same bytes. */
  readonly contentEtags?: boolean
  /** Bytes of the largest object that the service copies in one request. */
  readonly largestCopy?: number
  /** The service may refuse to list, and so to look for a directory, where the key has a percent sign: see KeyNames. */
  readonly refusesPercent?: boolean
  /** Keys that the old build of the binding stores under another name when it writes them. */
  readonly misplaced?: RegExp
}

/** Azure Files takes at most that much in a request (Put Range), and OpenDAL sends a file in one. */
const LARGEST_PUT_RANGE = 4n << 20n

const GIB = 2 ** 30

const SCHEMES: Readonly<Record<string, SchemeTraits>> = {
  fs: { realDirectories: true, movesDirectories: true },
  azfile: { capability: { writeTotalMaxSize: LARGEST_PUT_RANGE } },
  // Newer builds commit each write to the repository.
  hf: { capability: { write: false, delete: false } },
  webdav: { realDirectories: true, movesDirectories: true, renameReplacesDirectories: true },
  // Last-Modified of a HEAD has whole seconds (RFC 9110, 5.6.7).
  s3: { wholeSeconds: 'down', contentEtags: true, largestCopy: 5 * GIB },
  oss: { wholeSeconds: 'down', contentEtags: true, largestCopy: GIB },
  cos: { wholeSeconds: 'down', contentEtags: true, largestCopy: 5 * GIB },
  obs: { wholeSeconds: 'down', contentEtags: true, largestCopy: 5 * GIB },
  // OpenStack Swift rounds it up.
  swift: { wholeSeconds: 'up' },
  b2: { largestCopy: 5 * GIB },
  // It may answer before the copy of a larger one is complete.
  azblob: { largestCopy: GIB / 4, refusesPercent: true },
  // It encodes the name twice. Reads, copies and deletes are right.
  gcs: { misplaced: /[^A-Za-z0-9\-_.!~*'()/]/ },
  http: { assumesDirectories: true },
  sqlite: { guessesDirectories: true },
  dashmap: { cutsRanges: 'in-process' },
  memory: { cutsRanges: 'in-process' },
  moka: { cutsRanges: 'in-process' },
  cacache: { cutsRanges: 'remote' },
  'cloudflare-kv': { cutsRanges: 'remote' },
  d1: { cutsRanges: 'remote' },
  foundationdb: { cutsRanges: 'remote' },
  gridfs: { cutsRanges: 'remote' },
  memcached: { cutsRanges: 'remote' },
  mongodb: { cutsRanges: 'remote' },
  mysql: {
    cutsRanges: 'remote',
    // 0.49.2 cannot list, so names are in sidecars. A share must show the same names whichever build serves it.
    capability: { list: false, listWithRecursive: false, createDir: false },
    // 0.49.2 finds none. Newer builds search for keys below, which fails on a table with VARBINARY names.
    findsNoDirectories: true,
  },
  persy: { cutsRanges: 'remote' },
  postgresql: { cutsRanges: 'remote' },
  redb: { cutsRanges: 'remote' },
  rocksdb: { cutsRanges: 'remote' },
  sled: { cutsRanges: 'remote' },
  surrealdb: { cutsRanges: 'remote' },
  tikv: { cutsRanges: 'remote' },
}

/** A condition that a write may carry: that nothing is under the key, or that a certain version is. */
export type ConditionName = 'absent' | 'etag'

/** Whether a server does something that its protocol has. It shows when it is asked to for the first time. */
export type Support = 'unknown' | 'works' | 'refused'

/** What the service can do, the same with each build of the binding. */
export function capabilityOf(operator: Operator, scheme: string): Capability {
  const said = operator.capability()
  const instead = SCHEMES[scheme]?.capability
  if (instead === undefined) return said
  // The getters of a native object work on that object only.
  return new Proxy(said, {
    get: (target, name) =>
      name in instead ? instead[name as keyof Capability] : Reflect.get(target, name, target),
  })
}

/** What one server was seen to do, before a share of it is served. */
export interface FoundTraits {
  /** It leaves names that begin with a dot out of its listings (nginx with dav-ext). */
  readonly hidesDots?: boolean
  /** It could not be found out whether it does. */
  readonly mayHideDots?: boolean
}

/** What is known of a server that did not answer in time. */
export function untestedTraits(scheme: string): FoundTraits {
  return scheme === 'webdav' ? { mayHideDots: true } : {}
}

/**
 * Looks what the server does with names that begin with a dot: three requests, on WebDAV alone. Where the credentials may not write,
 * it is taken for a usual server, since nothing can be deleted there either.
 * @param operator writes
 */
export async function findTraits(operator: Operator, scheme: string): Promise<FoundTraits> {
  if (scheme !== 'webdav') return {}
  // Another host that starts at the same time must not delete it.
  const probe = temporarySegment()
  try {
    await operator.write(probe, Buffer.alloc(0))
  } catch (error) {
    return refusalOf(error) === undefined ? untestedTraits(scheme) : {}
  }
  try {
    const listed = await operator.list('/')
    return { hidesDots: !listed.some(entry => entry.path() === probe) }
  } catch {
    return untestedTraits(scheme)
  } finally {
    // What could not be cleaned up is an object too many, which is not listed.
    await operator.delete(probe).catch(() => undefined)
  }
}

export class ServiceTraits {
  /** OpenDAL's name of the service. */
  readonly scheme: string
  /** Directories exist by themselves; elsewhere a directory is only a part of longer keys, or a marker object. */
  readonly realDirectories: boolean
  /** `rename` moves a directory and everything in it in one step. A server may refuse that. */
  readonly movesDirectories: boolean
  /** How ranges are read safely where the binding cuts them: values whole, or, if the service is in this process, after a look. */
  readonly cutsRanges: 'remote' | 'in-process' | undefined
  /** stat finds a directory under every key with a slash at its end, and nothing can be listed. */
  readonly assumesDirectories: boolean
  /** What stat says of a directory is only a guess, by case-insensitive matching with wildcards: SQL's LIKE. */
  readonly guessesDirectories: boolean
  /** stat is not asked for a directory: our marker object tells of it. */
  readonly findsNoDirectories: boolean
  /** `rename` replaces a directory at the target, with everything in it. */
  readonly renameReplacesDirectories: boolean
  /** Objects with the same etag hold the same bytes; objects with different ones may, too. */
  readonly contentEtags: boolean
  /** Bytes of the largest object that the service copies in one request. */
  readonly largestCopy: number
  /** Conditions of writes, which several S3 gateways answer with 400 or 501. */
  readonly conditions: Record<ConditionName, Support> = { absent: 'unknown', etag: 'unknown' }
  /** Reads with If-Match, which several S3 gateways answer with 400 or 501. */
  readCondition: Support = 'unknown'
  /** A read with If-Match gets any version; undefined until one was tried. */
  ignoresIfMatch: boolean | undefined
  /** False once the service has answered that it has no copy. */
  copies = true
  /** An object can be asked for in every spelling of its name; else only a listing tells of those that are not the first. */
  readonly asksForSpellings: boolean
  /** Listings lack names that begin with a dot, so that a directory which looks empty may hold something. */
  readonly hidesDots: boolean
  /** The same, or it is not known: a directory that looks empty is not deleted. */
  readonly mayHideDots: boolean
  readonly #misplaced: RegExp | undefined
  readonly #wholeSeconds: 'down' | 'up' | undefined

  constructor(scheme: string, found: FoundTraits = {}, binding = bindingBuild.version) {
    this.hidesDots = found.hidesDots ?? false
    this.mayHideDots = this.hidesDots || found.mayHideDots === true
    const traits: SchemeTraits = SCHEMES[scheme] ?? {}
    const { realDirectories = false, movesDirectories = false, wholeSeconds } = traits
    this.scheme = scheme
    this.realDirectories = realDirectories
    this.movesDirectories = movesDirectories
    this.cutsRanges = traits.cutsRanges
    this.assumesDirectories = traits.assumesDirectories ?? false
    this.guessesDirectories = traits.guessesDirectories ?? false
    this.findsNoDirectories = traits.findsNoDirectories ?? false
    this.renameReplacesDirectories = traits.renameReplacesDirectories ?? false
    this.contentEtags = traits.contentEtags ?? false
    this.largestCopy = traits.largestCopy ?? Number.POSITIVE_INFINITY
    this.#misplaced = binding === OLD_VERSION ? traits.misplaced : undefined
    this.asksForSpellings = traits.refusesPercent !== true
    this.#wholeSeconds = wholeSeconds
  }

  /** True if a write to the key would go to another one: the object has to be copied there instead. */
  misplaces(key: string): boolean {
    return this.#misplaced?.test(key) === true
  }

  /** A time from a listing as stat would tell it, so that a version has one modification time. */
  statTime(time: Time): Time {
    if (this.#wholeSeconds === undefined || time.nsec === 0) return time
    return { sec: this.#wholeSeconds === 'up' ? time.sec + 1 : time.sec, nsec: 0 }
  }
}
