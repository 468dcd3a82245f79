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
  /** stat reports times in whole seconds, rounded this way; listings may have fractions of seconds. */
  readonly wholeSeconds?: 'down' | 'up'
  /** For a ranged read, the binding fetches the whole value and cuts out the range. It panics if the value ends before the range does. */
  readonly cutsRanges?: 'remote' | 'in-process'
  /** stat finds a directory under every key with a slash at its end, and nothing can be listed. */
  readonly assumesDirectories?: boolean
  /** stat reports a directory if any key matches its name, ignoring case and with `_` and `%` as wildcards. */
  readonly guessesDirectories?: boolean
  /** stat cannot find directories: a directory exists if its marker object does. */
  readonly findsNoDirectories?: boolean
  /** Overrides `capability()` where the builds of the binding report different values. */
  readonly capability?: Partial<Capability>
  /** `rename` replaces a directory at the target, with everything in it. */
  readonly renameReplacesDirectories?: boolean
  /** Objects with the same etag hold the same bytes. */
  readonly contentEtags?: boolean
  /** Bytes of the largest object that the service copies in one request. */
  readonly largestCopy?: number
  /** The service may refuse to list a prefix with a percent sign, and looking for a directory is such a listing: see KeyNames. */
  readonly refusesPercent?: boolean
  /** Keys that the old build of the binding stores under another name when it writes them. */
  readonly misplaced?: RegExp
}

/** The most bytes that Azure Files takes in one request (Put Range). OpenDAL sends a whole file in one request. */
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
  // For a larger object the service may answer before the copy is complete.
  azblob: { largestCopy: GIB / 4, refusesPercent: true },
  // The old build encodes the name twice when it writes. Reads, copies and deletes are right.
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
    // 0.49.2 finds no directory. Newer builds search for keys below it, which fails on a table with VARBINARY names.
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

/** The condition of a write: that no object exists under the key (`absent`), or that a certain version does (`etag`). */
export type ConditionName = 'absent' | 'etag'

/** Whether a server supports a feature of its protocol: unknown until the first request that uses the feature. */
export type Support = 'unknown' | 'works' | 'refused'

/** The capabilities that ovfs uses: the same with each build of the binding. */
export function capabilityOf(operator: Operator, scheme: string): Capability {
  const said = operator.capability()
  const instead = SCHEMES[scheme]?.capability
  if (instead === undefined) return said
  // Native getters fail if `this` is not the native object itself.
  return new Proxy(said, {
    get: (target, name) =>
      name in instead ? instead[name as keyof Capability] : Reflect.get(target, name, target),
  })
}

/** What a test of the server has shown, before the share is served. */
export interface FoundTraits {
  /** It leaves names that begin with a dot out of its listings (nginx with dav-ext). */
  readonly hidesDots?: boolean
  /** The test failed, so the server may do the same. */
  readonly mayHideDots?: boolean
}

/** The traits to assume for a server whose test failed or did not end in time. */
export function untestedTraits(scheme: string): FoundTraits {
  return scheme === 'webdav' ? { mayHideDots: true } : {}
}

/**
 * Tests whether the server lists names that begin with a dot, with three requests, on WebDAV only. If the credentials may not write,
 * no test is possible and none is needed, because they cannot delete a directory either.
 * @param operator writes
 */
export async function findTraits(operator: Operator, scheme: string): Promise<FoundTraits> {
  if (scheme !== 'webdav') return {}
  // A random name, so that another host that starts at the same time does not delete it.
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
    // If the deletion fails, a temporary object remains, which a guest does not see.
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
  /** Undefined if the binding does not cut ranges. `remote`: read values whole. `in-process`: look at the size before each read. */
  readonly cutsRanges: 'remote' | 'in-process' | undefined
  /** stat finds a directory under every key with a slash at its end, and nothing can be listed. */
  readonly assumesDirectories: boolean
  /** stat may report a directory that does not exist, because it matches names with SQL's LIKE: without case, and with wildcards. */
  readonly guessesDirectories: boolean
  /** stat cannot find directories: a directory exists if its marker object does. */
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
  /** stat works with every spelling of a name. Otherwise only a listing shows whether an object has another spelling than the first. */
  readonly asksForSpellings: boolean
  /** Listings lack names that begin with a dot, so a directory that looks empty may hold files. */
  readonly hidesDots: boolean
  /** Listings lack such names, or may lack them: no directory is deleted. */
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

  /** True if the binding would write the object under another key: it must be written elsewhere and copied to this key. */
  misplaces(key: string): boolean {
    return this.#misplaced?.test(key) === true
  }

  /** Rounds a time from a listing as stat does, so that a version has only one modification time. */
  statTime(time: Time): Time {
    if (this.#wholeSeconds === undefined || time.nsec === 0) return time
    return { sec: this.#wholeSeconds === 'up' ? time.sec + 1 : time.sec, nsec: 0 }
  }
}
