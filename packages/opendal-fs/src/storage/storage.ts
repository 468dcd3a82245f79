// Our own layer before every OpenDAL call: deadlines, retries, the read-only switch, typed errors, clamped reads, and no key that
// OpenDAL would take for another one. A buffer that is handed over for writing must not change until the promise settles:
// OpenDAL copies it later, on another thread.

import { FsError } from '@ovfs/fuse-proto'
import { parseTime, type Time } from '../attributes/time.ts'
import { type Given, givenBy, type UserMetadata } from '../attributes/user-metadata.ts'
import { listIndexed } from '../names/directory-index.ts'
import { Slots } from '../names/locks.ts'
import { Absences } from './absences.ts'
import { bindingBuild, type Capability, type Metadata, type Operator } from './binding.ts'
import { Connection, type RenewOperator } from './connection.ts'
import { type RetryPolicy, withDeadline, withRetries } from './deadline.ts'
import { DIRECTORY_MARKER, isAddressable, temporarySegment } from './key-names.ts'
import { ListingRights } from './listing-rights.ts'
import { OLD_VERSION } from './load-binding.ts'
import { OwnChanges } from './own-changes.ts'
import { PartUpload } from './part-upload.ts'
import { ConditionalReads } from './read-condition.ts'
import { refusalOf, withCode } from './service-answer.ts'
import { type ConditionName, capabilityOf, type FoundTraits, ServiceTraits } from './service-traits.ts'
import {
  deadlineError,
  isAnswer,
  isNotFound,
  StorageError,
  toStorageError,
  UnaddressableKey,
  versionLostError,
} from './storage-error.ts'
import { type Transfer, TransferWatch } from './transfer-watch.ts'
import { UploadPace } from './upload-pace.ts'
import { isSameEtag } from './version.ts'
import { ConditionalWrites, type ObjectHeaders, type WriteCondition } from './write-condition.ts'
import { WriteRights } from './write-rights.ts'

/** `special` is what a sidecar holds and the service does not: a symbolic link, a pipe, a device. */
export type ObjectKind = 'file' | 'directory' | 'special' | 'other'

/** What the service says about a key. */
export interface ObjectInfo {
  readonly kind: ObjectKind
  /** Bytes; 0 for a directory. */
  readonly size: number
  /** Undefined where the service keeps no times. */
  readonly mtime: Time | undefined
  readonly etag: string | undefined
  /** Where the name is one that only stands for it; see KeyNames.toShownName. */
  readonly segment?: string | undefined
  /** Of a `special` one. */
  readonly mode?: number | undefined
  /** The service's name for this version among several that it keeps. */
  readonly version?: string | undefined
  readonly contentType?: string | undefined
  /** Where it is asked for; listings have none. */
  readonly metadata?: UserMetadata | undefined
  /** The service may report this directory although it does not exist: see ServiceTraits.guessesDirectories. */
  readonly guessed?: boolean
  /** What that says of the file. */
  readonly given?: Given | undefined
  /** Of a symbolic link that lies in an object. */
  readonly target?: string | undefined
}

export interface ListedObject {
  /** The last segment of the key, without the slash of a directory. */
  readonly segment: string
  readonly kind: ObjectKind
  /** Undefined where the service lists names only. */
  readonly info: ObjectInfo | undefined
}

export interface StorageOptions {
  /** OpenDAL's name of the service. */
  readonly scheme: string
  /** What `findTraits` has found out about the server. */
  readonly found?: FoundTraits
  /**
   * The longest that the service may be silent, in milliseconds. A request that moves few bytes ends within that, second attempts
   * included; a transfer goes on while the service answers other requests.
   */
  readonly timeoutMs: number
  readonly readOnly: boolean
  readonly renewOperator?: RenewOperator | undefined
  /** Where the service cannot list, sidecars tell which names there are. */
  readonly attrs?: 'sidecar' | 'none'
  /** Ask for user metadata: one request for each file. */
  readonly userMetadata?: boolean
  /** False if the credentials may not list. Default true. */
  readonly mayList?: boolean
  /** Called for every failure except that an object does not exist. */
  readonly onError: (error: Error) => void
  /** Called once for each feature that the server turns out to lack, and for each right that the credentials lack. */
  readonly onWarning?: ((message: string) => void) | undefined
}

const RETRIES: RetryPolicy = { attempts: 4, firstDelayMs: 100, maxDelayMs: 2_000 }
const NO_RETRIES: RetryPolicy = { attempts: 1, firstDelayMs: 0, maxDelayMs: 0 }
/** OpenDAL's own limit ends an operation inside; ours, a little later, ends the waiting for it. */
const GRACE_MS = 500
/** Bytes that a service copies or assembles in a second, at the slowest: sets the upper bound for such an operation by size. */
const SLOWEST_SERVICE = 1 << 20
/** The upper bound of a copy within the service is at least this many time limits. */
const COPY_LIMITS = 10
/** The upper bound of an operation within the service that may concern any number of bytes. */
const LONGEST_OPERATION_MS = 3_600_000
/** Asked for to learn whether the service answers at all; nothing is ever stored there. */
const PROBE_KEY = '.ovfs-alive'
/** Where an object must be written in one request it has to be held in memory at once. */
const LARGEST_IN_ONE_PIECE = 1 << 30
/** An ETag that no object has. */
const NO_VERSION = '"ovfs-no-such-version"'
const CONCURRENT_UPLOADS = 2
const LARGEST_IN_PARTS = 5 * 2 ** 40

const CONDITION_REFUSED: Readonly<Record<ConditionName, string>> = {
  absent:
    'the server refuses conditional writes of new objects (If-None-Match): ovfs looks at the object before it writes a new file, and overwrites a file that another host creates between the look and the write',
  etag: 'the server refuses conditional writes of changed objects (If-Match): ovfs looks at the object before it replaces a file, and overwrites a change that another host makes between the look and the write',
}

const READ_CONDITION_REFUSED =
  'the server refuses conditional reads (If-Match): ovfs checks after each read that the object is unchanged, which takes one more request'

const LISTING_REFUSED =
  'the service refuses to list: the credentials may not list (any more). ls fails with EACCES; existing files can still be opened by name, and new ones created. Grant the right to list'

const LISTING: Transfer = { bytes: 0, serviceMs: LONGEST_OPERATION_MS }

/** How an operation runs. By default it moves few bytes, changes nothing and may be repeated. */
interface Manner {
  /** Undefined for an operation that must end within the plain time limit. */
  readonly transfer?: Transfer
  /** It may change the object under its key. */
  readonly changes?: boolean
  readonly retries?: RetryPolicy
  /** It continues an upload that an earlier call began with the old credentials, so new credentials do not help it. */
  readonly continues?: boolean
}

export class Storage {
  readonly scheme: string
  readonly traits: ServiceTraits
  readonly capability: Capability
  readonly readOnly: boolean
  /** Bytes of the largest file that can be published. */
  readonly largestFile: number
  /** The service can list keys and the credentials may list. Otherwise names come from sidecars. */
  readonly canList: boolean
  /** Listing is possible, if only by what sidecars hold. */
  readonly lists: boolean
  /** Each upload holds some parts in memory. */
  readonly uploads = new Slots(CONCURRENT_UPLOADS)
  readonly uploadPace = new UploadPace()
  readonly #connection: Connection
  readonly #watch: TransferWatch
  readonly #timeoutMs: number
  readonly #userMetadata: boolean
  readonly #retries: RetryPolicy
  readonly #onError: (error: Error) => void
  readonly #absences = new Absences(bindingBuild.version === OLD_VERSION)
  readonly #conditionalReads: ConditionalReads
  readonly #conditionalWrites: ConditionalWrites
  #probing: Promise<void> | undefined
  readonly #rights: ListingRights
  readonly #writeRights: WriteRights
  /** Changes that outlived their deadline and may still land: the next change of the same key waits for them. */
  readonly #lingering = new Map<string, Promise<unknown>>()
  readonly #ownChanges = new OwnChanges()
  /** Keys under which `reserve` has written an empty object. */
  readonly #reserved = new Set<string>()

  constructor(operator: Operator, options: StorageOptions) {
    this.scheme = options.scheme
    this.traits = new ServiceTraits(options.scheme, options.found)
    this.capability = capabilityOf(operator, options.scheme)
    const mayList = options.mayList ?? true
    this.canList = this.capability.list && mayList
    this.lists = this.canList || options.attrs === 'sidecar'
    this.readOnly = options.readOnly || !this.capability.write
    const most = this.capability.writeCanMulti ? LARGEST_IN_PARTS : LARGEST_IN_ONE_PIECE
    this.largestFile = Math.min(most, Number(this.capability.writeTotalMaxSize ?? BigInt(most)))
    this.#timeoutMs = options.timeoutMs
    this.#userMetadata = options.userMetadata ?? false
    this.#retries = this.scheme === 'fs' ? NO_RETRIES : RETRIES
    this.#connection = new Connection(operator, {
      timeoutMs: options.timeoutMs,
      retries: this.#retries,
      renewOperator: options.renewOperator,
    })
    this.#watch = new TransferWatch(options.timeoutMs, GRACE_MS, () => this.#isAlive())
    this.#onError = options.onError
    this.#rights = new ListingRights(!mayList, () => options.onWarning?.(LISTING_REFUSED))
    this.#writeRights = new WriteRights(message => options.onWarning?.(message))
    this.#conditionalReads = new ConditionalReads(this.capability, this.traits, () =>
      options.onWarning?.(READ_CONDITION_REFUSED),
    )
    this.#conditionalWrites = new ConditionalWrites(this.capability, this.traits, name =>
      options.onWarning?.(CONDITION_REFUSED[name]),
    )
  }

  /**
   * Undefined if there is no such object. A directory's key ends with a slash; the root's is empty.
   * @param unseen this daemon has never seen the object. If the service then conceals whether it exists, because the credentials may
   * not list, it counts as absent. For an object that this daemon has seen, such a refusal is EACCES.
   */
  async stat(key: string, unseen = false): Promise<ObjectInfo | undefined> {
    const found = await this.#look(key, unseen)
    return typeof found === 'string' ? undefined : found
  }

  async #look(key: string, unseen: boolean): Promise<ObjectInfo | 'absent' | 'concealed'> {
    if (this.traits.findsNoDirectories && key.endsWith('/')) return 'absent'
    const path = key === '' ? '/' : key
    try {
      if (this.#absences.expected) {
        const exists = await this.#run('stat', key, ({ plain }) =>
          this.#unlessConcealed(
            plain,
            key,
            unseen,
            withCode(plain, path, () => plain.exists(path)),
          ),
        )
        if (exists !== true) {
          this.#absences.seen(true)
          return exists === false ? 'absent' : exists
        }
      }
      const metadata = await this.#run('stat', key, ({ plain }) =>
        this.#unlessConcealed(
          plain,
          key,
          unseen,
          withCode(plain, path, () => plain.stat(path)),
        ),
      )
      if (metadata === 'concealed') return metadata
      const info = toInfo(metadata, this.#userMetadata)
      this.#absences.seen(false)
      // Only the key with the slash asks for a directory.
      const isGuess = this.traits.guessesDirectories && info.kind === 'directory' && !path.endsWith('/')
      return isGuess ? 'absent' : info
    } catch (error) {
      const absent = isNotFound(error) || (error instanceof StorageError && error.code === 'ENOTDIR')
      if (!absent) throw error
      this.#absences.rejected()
      return 'absent'
    }
  }

  /** Returns the answer, or `concealed` if the service refuses it because the credentials may not list the directory. */
  async #unlessConcealed<T>(
    operator: Operator,
    key: string,
    unseen: boolean,
    answer: Promise<T>,
  ): Promise<T | 'concealed'> {
    try {
      return await answer
    } catch (error) {
      if (!unseen || refusalOf(error) !== 'access') throw error
      if (await this.#rights.mayList(key, directory => canBeListed(operator, directory))) throw error
      return 'concealed'
    }
  }

  /** True if the credentials may not list the directory of the key, as was seen lately. */
  isListingRefused(key: string): boolean {
    return this.#rights.isRefused(key)
  }

  /**
   * Rejects if an object exists under the key. If the service conceals whether one exists, writes an empty object on the condition
   * that none exists. The caller's next write, which carries no condition, then replaces only that empty object.
   */
  async requireAbsent(key: string): Promise<void> {
    await this.reserve(key)
  }

  /** Like `requireAbsent`. Returns true if it has written an empty object, which the caller must replace or delete. */
  async reserve(key: string): Promise<boolean> {
    const found = await this.#look(key, true)
    if (found === 'absent') return false
    if (found !== 'concealed') throw versionLostError('write', key)
    await this.write(key, new Uint8Array(0), { absent: true }, async () => {
      throw new FsError(
        'EACCES',
        `${JSON.stringify(key)} may exist: the credentials may not list, and the server refuses conditional writes, so ovfs cannot tell`,
      )
    })
    this.#reserved.add(key)
    return true
  }

  /** True if what was found is the empty object of `reserve`, which nothing has replaced since. */
  isReserved(key: string, found: ObjectInfo | undefined): boolean {
    return found?.kind === 'file' && found.size === 0 && this.#reserved.has(key)
  }

  /** Looks up an object with the headers that only a copy needs; undefined if there is no such object. */
  async describe(
    key: string,
  ): Promise<{ readonly info: ObjectInfo; readonly headers: ObjectHeaders } | undefined> {
    try {
      const metadata = await this.#run('stat', key, ({ plain }) =>
        withCode(plain, key, () => plain.stat(key)),
      )
      return { info: toInfo(metadata, this.#userMetadata), headers: metadata }
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  /**
   * Exactly the bytes asked for: the range must lie within the object, or the read fails as a lost version does.
   * @param etag refuses any other version, where the service can and the ETag is strong
   */
  async read(key: string, offset: number, length: number, etag?: string): Promise<Uint8Array> {
    const range = { offset: BigInt(offset), size: BigInt(length) }
    const fetch = (operator: Operator) =>
      this.#conditionalReads.run(etag, condition => operator.read(key, { ...range, ...condition }))
    const bytes =
      this.traits.cutsRanges === undefined
        ? await this.#fetch(key, length, fetch)
        : await this.#cut(key, offset, length)
    // As a plain Uint8Array: cutting pieces from a Buffer costs twice as much.
    if (bytes.byteLength === length) return new Uint8Array(bytes.buffer, bytes.byteOffset, length)
    throw this.#tooShort(key, bytes.byteLength, length)
  }

  /** A transfer of about so many bytes from the service. */
  #fetch<T>(key: string, bytes: number, call: (operator: Operator) => Promise<T>): Promise<T> {
    const transfer = { bytes }
    // A read over a connection that hangs ends early and is repeated. Each attempt gets twice as much time as the one before,
    // so that a read over a slow line succeeds as well.
    let limitMs = 0
    const read = (connection: Connection) => {
      const longestMs = this.#watch.longestMs(transfer)
      const firstMs = this.#timeoutMs + (longestMs - this.#timeoutMs) / 4
      limitMs = Math.min(Math.max(firstMs, limitMs * 2), longestMs)
      return call(connection.transferring(limitMs))
    }
    return this.#run('read', key, read, { transfer })
  }

  /** stat fetches the whole value: a caller that wants the bytes should read them without a stat before. */
  get statsByReading(): boolean {
    return this.traits.cutsRanges === 'remote' && this.scheme !== 'cacache'
  }

  /** A whole value, of whatever size; undefined if there is none. */
  async readValue(key: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#fetch(key, 0, operator => operator.read(key))
    } catch (error) {
      if (!isNotFound(error)) throw error
      return undefined
    }
  }

  /** A range of a value that the binding would cut itself, and panic if the value has become shorter. */
  async #cut(key: string, offset: number, length: number): Promise<Uint8Array> {
    if (this.traits.cutsRanges === 'remote') {
      const value = await this.#fetch(key, offset + length, operator => operator.read(key))
      return value.subarray(offset, offset + length)
    }
    const range = { offset: BigInt(offset), size: BigInt(length) }
    return this.#fetch(key, length, async operator => {
      const size = Number((await operator.stat(key)).contentLength ?? 0n)
      if (size < offset + length) throw this.#tooShort(key, size - offset, length)
      return operator.read(key, range)
    })
  }

  #tooShort(key: string, got: number, wanted: number): StorageError {
    const text = `Unexpected (permanent) at read => reader got too little data: ${Math.max(0, got)} of ${wanted} bytes`
    return this.#failed(text, 'read', key)
  }

  /**
   * True if the service refuses a read of another version than the one that the condition names. Some S3 gateways ignore
   * If-Match or refuse it: the first call asks for a version that cannot be, with one request.
   * @param key of an object that is there
   */
  async readsOnCondition(key: string): Promise<boolean> {
    if (!this.#conditionalReads.areSent) return false
    if (this.traits.ignoresIfMatch !== undefined) return !this.traits.ignoresIfMatch
    this.#probing ??= this.#probeReadCondition(key).finally(() => {
      this.#probing = undefined
    })
    await this.#probing
    return this.traits.ignoresIfMatch === false
  }

  async #probeReadCondition(key: string): Promise<void> {
    try {
      await this.read(key, 0, 1, NO_VERSION)
      this.traits.ignoresIfMatch = true
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.kind === 'ConditionNotMatch') this.traits.ignoresIfMatch = false
      // Any other failure proves nothing: the next read tests again.
    }
  }

  /**
   * Replaces the object, in one request.
   * @param confirm runs directly before a write whose condition the service does not check; rejects if the object must not be
   * replaced. By default it looks whether the condition holds.
   */
  async write(
    key: string,
    bytes: Uint8Array,
    condition: WriteCondition = {},
    confirm = () => this.#requireCondition(key, condition),
  ): Promise<void> {
    if (this.traits.misplaces(key)) {
      const beside = temporarySegment()
      await this.write(beside, bytes, { metadata: condition.metadata })
      return this.#putInPlace(beside, key, bytes.byteLength, confirm)
    }
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const transfer = { bytes: bytes.byteLength }
    const limitMs = this.#watch.longestMs(transfer)
    if (!this.#conditionalWrites.isEnforced(condition)) await confirm()
    const write = (connection: Connection) =>
      this.#conditionalWrites.run(
        condition,
        options => connection.transferring(limitMs).write(key, content, options),
        confirm,
      )
    await this.#change('write', key, write, { transfer })
    this.#reserved.delete(key)
  }

  async #requireCondition(key: string, { absent, etag }: WriteCondition): Promise<void> {
    if (absent !== true && etag === undefined) return
    const found = await this.stat(key)
    const holds = absent === true ? found === undefined : isSameEtag(found?.etag, etag)
    if (!holds) throw versionLostError('write', key)
  }

  /** Copies a temporary object to the key, because the binding cannot write this key directly: see ServiceTraits.misplaces. */
  async #putInPlace(
    beside: string,
    key: string,
    size: number,
    confirm: () => Promise<void> = async () => undefined,
  ): Promise<void> {
    try {
      await confirm()
      await this.copy(beside, key, size)
    } finally {
      // If the deletion fails, a temporary object remains, which is not listed.
      await this.delete(beside).catch(() => undefined)
    }
  }

  /** Begins to replace the object part by part. Only the condition's metadata counts: OpenDAL completes an upload without conditions. */
  async upload(key: string, partBytes: number, condition: WriteCondition = {}): Promise<PartUpload> {
    if (this.traits.misplaces(key)) return this.#uploadBeside(key, partBytes, condition)
    return this.#upload(key, partBytes, condition, async () => undefined)
  }

  #uploadBeside(key: string, partBytes: number, condition: WriteCondition): Promise<PartUpload> {
    const beside = temporarySegment()
    const { metadata } = condition
    return this.#upload(beside, partBytes, { metadata }, size => this.#putInPlace(beside, key, size))
  }

  /** @param completed called with the size of the uploaded object */
  async #upload(
    key: string,
    partBytes: number,
    condition: WriteCondition,
    completed: (size: number) => Promise<void>,
  ): Promise<PartUpload> {
    const { concurrentParts } = this.uploadPace
    const options = {
      chunk: BigInt(partBytes),
      concurrent: concurrentParts,
      ...this.#conditionalWrites.options(condition),
    }
    // The parts that are under way at once share the line.
    const transfer = { bytes: concurrentParts * partBytes }
    const limitMs = this.#watch.longestMs(transfer)
    const { generation } = this.#connection
    // The writer keeps the operator that it was made with.
    const renewing = <T>(step: Promise<T>): Promise<T> =>
      step.catch(error => {
        this.uploadPace.failed()
        this.#connection.renew(error, generation)
        throw error
      })
    const writer = await this.#change('write', key, connection =>
      connection.uploading(limitMs).writer(key, options),
    )
    const manner = { retries: NO_RETRIES, continues: true }
    return new PartUpload(key, partBytes, {
      // Retried inside, part by part: the parts before it are in the writer's state.
      write: content =>
        renewing(this.#run('write', key, () => writer.write(content), { ...manner, transfer })),
      complete: async bytes => {
        const whole = { ...transfer, serviceMs: serviceMs(bytes) }
        await renewing(this.#change('close', key, () => writer.close(), { ...manner, transfer: whole }))
        this.uploadPace.completed()
        await completed(bytes)
      },
      isOutdated: () => this.#connection.generation !== generation,
      abandoned: error => {
        // The new object beside the old one is deleted there.
        if (this.scheme !== 'fs') this.report(error)
      },
    })
  }

  /** The part size for an object of `size` bytes: at most 9,000 parts, within the service's limits. */
  partBytes(size: number): number {
    const least = Math.max(8 << 20, Number(this.capability.writeMultiMinSize ?? 0n))
    const most = Number(this.capability.writeMultiMaxSize ?? BigInt(Number.MAX_SAFE_INTEGER))
    return Math.min(Math.max(least, Math.ceil(size / 9_000)), most)
  }

  /** A directory exists only through a marker object in it: the service has no directories, or ovfs cannot look at them. */
  get marksDirectories(): boolean {
    return !this.capability.createDir || this.traits.guessesDirectories || this.#rights.hasRefused
  }

  /** The same for one directory. */
  marksDirectory(key: string): boolean {
    return this.#lacksDirectories(key) || this.#rights.hasRefused
  }

  #lacksDirectories(key: string): boolean {
    return !this.capability.createDir || this.traits.guessesDirectories || this.traits.misplaces(key)
  }

  async createDirectory(key: string): Promise<void> {
    if (this.marksDirectory(key)) {
      await this.write(key + DIRECTORY_MARKER, new Uint8Array(0))
      // If only the right to list is missing, other programs recognize the directory by its object with the slash.
      if (!this.#rights.hasRefused || this.#lacksDirectories(key)) return
    }
    await this.#change('create_dir', key, ({ plain }) => plain.createDir(key))
  }

  /**
   * Fails for a directory that may hold names which the server does not list, because a DELETE is recursive (RFC 4918, 9.6.1).
   * @throws EPERM
   */
  requireDeletable(key: string): void {
    if (!this.traits.mayHideDots || !key.endsWith('/')) return
    const hides = this.traits.hidesDots ? 'does not list' : 'may not list'
    const reason = `the server ${hides} names that begin with a dot, and would delete such files with their directory`
    throw new FsError('EPERM', `delete ${JSON.stringify(key)}: ${reason}`)
  }

  /** Deletes one object or one empty directory; fine if it is not there. */
  async delete(key: string): Promise<void> {
    this.requireDeletable(key)
    try {
      await this.#change('delete', key, ({ plain }) => plain.delete(key))
    } catch (error) {
      if (!isNotFound(error)) throw error
    }
  }

  /**
   * The service's own rename. Replaces the object at the target. Requires `capability.rename`. Not retried, because a second rename
   * could move another object: see renameObject.
   */
  async rename(from: string, to: string): Promise<void> {
    this.#requireAddressable('rename', to)
    const transfer = { bytes: 0, serviceMs: LONGEST_OPERATION_MS }
    const limitMs = this.#watch.longestMs(transfer)
    const rename = (connection: Connection) => connection.transferring(limitMs).rename(from, to)
    await this.#change('rename', from, rename, { transfer, retries: NO_RETRIES })
    if (this.traits.realDirectories) this.#ownChanges.made(to)
  }

  /** When this host last changed something in the directory, where that gives it another time; undefined if that is not known. */
  ownChange(directory: string): Time | undefined {
    return this.#ownChanges.last(directory)
  }

  /** True if the service may copy an object of that size. */
  canCopy(size: number): boolean {
    return this.capability.copy && this.traits.copies && size <= this.traits.largestCopy
  }

  /** The service's own copy of an object of `size` bytes. Replaces the object at the target. Requires `canCopy`. */
  async copy(from: string, to: string, size = 0): Promise<void> {
    this.#requireAddressable('copy', from)
    const transfer = { bytes: 0, serviceMs: COPY_LIMITS * this.#timeoutMs + serviceMs(size) }
    const limitMs = this.#watch.longestMs(transfer)
    // Newer builds of the binding look at the source first, with a HEAD.
    const copy = (connection: Connection) =>
      withCode(connection.plain, from, () => connection.transferring(limitMs).copy(from, to))
    await this.#change('copy', to, copy, { transfer })
  }

  /** The children of a directory, `key` being empty or ending with a slash; nothing if there is no such directory. */
  async list(key: string): Promise<ListedObject[]> {
    if (!this.lists) throw new FsError('EOPNOTSUPP', `the service ${this.scheme} cannot list`)
    if (!this.canList) return listIndexed(this, key)
    // OpenDAL applies the time limit to each page. All pages together may take LONGEST_OPERATION_MS while the service answers.
    const entries = await this.#run('list', key, ({ lister }) => lister.list(key), {
      transfer: LISTING,
      retries: NO_RETRIES,
    })
    const listed: ListedObject[] = []
    for (const entry of entries) {
      const path = entry.path()
      // fs and webdav list the directory itself, object stores its marker.
      if (path === key || path === '/' || !path.startsWith(key)) continue
      const segment = path.endsWith('/') ? path.slice(key.length, -1) : path.slice(key.length)
      const shown = toInfo(entry.metadata(), false)
      const info = { ...shown, mtime: shown.mtime && this.traits.statTime(shown.mtime) }
      // Without a time or an etag the listed size is a default, not a size. User metadata is never listed.
      const known =
        !this.#userMetadata && info.kind === 'file' && (info.mtime !== undefined || info.etag !== undefined)
      listed.push({
        segment,
        kind: path.endsWith('/') ? 'directory' : info.kind,
        info: known ? info : undefined,
      })
    }
    return listed
  }

  /** True if the directory has at least one child that is not to be ignored. */
  async hasChildren(key: string, ignore: (segment: string) => boolean): Promise<boolean> {
    if (!this.canList) return (await this.list(key)).some(({ segment }) => !ignore(segment))
    const hasAny = async ({ lister }: Connection) => {
      const entries = await lister.lister(key)
      for (;;) {
        const entry = await entries.next()
        if (entry === null) return false
        const path = entry.path()
        if (path === key || path === '/' || !path.startsWith(key)) continue
        if (!ignore(path.endsWith('/') ? path.slice(key.length, -1) : path.slice(key.length))) return true
      }
    }
    return this.#run('list', key, hasAny, { transfer: LISTING, retries: NO_RETRIES })
  }

  /** Something is wrong with what the storage holds, while nobody is there to whom it could be an answer. */
  report(error: Error): void {
    this.#onError(error)
  }

  /** Waits for a change of the key that outlived its deadline, so that the next look at the key sees its outcome. */
  async settled(key: string, operation = 'stat'): Promise<void> {
    const earlier = this.#lingering.get(key)
    if (earlier !== undefined) await this.#within(earlier, operation, key)
  }

  async #change<T>(
    operation: string,
    key: string,
    call: (connection: Connection) => Promise<T>,
    manner: Manner = {},
  ): Promise<T> {
    if (this.readOnly) throw new FsError('EROFS', `${operation} ${key}: read-only`)
    if (this.#lingering.has(key)) await this.settled(key, operation)
    try {
      const result = await this.#run(operation, key, call, { ...manner, changes: true })
      this.#writeRights.succeeded(operation)
      // Opening an upload in parts does not change the object yet.
      if (operation !== 'write') this.#reserved.delete(key)
      return result
    } finally {
      if (this.traits.realDirectories) this.#ownChanges.made(key)
    }
  }

  async #run<T>(
    operation: string,
    key: string,
    call: (connection: Connection) => Promise<T>,
    { transfer, changes = false, retries = this.#retries, continues = false }: Manner = {},
  ): Promise<T> {
    this.#requireAddressable(operation, key)
    const end = Date.now() + this.#timeoutMs
    let isLate = false
    let running: Promise<T> | undefined
    const connection = this.#connection
    const attempt = () => (continues ? call(connection) : connection.call(() => call(connection)))
    const work = withRetries(
      retries,
      () => (running = this.#heard(attempt())),
      error =>
        toStorageError(error, this.scheme, operation, key).transient &&
        (transfer === undefined ? Date.now() < end : !isLate),
    )
    const late = (milliseconds: number, answers = false) => {
      isLate = true
      if (changes && running !== undefined) this.#linger(key, running)
      return deadlineError(operation, key, milliseconds, answers)
    }
    try {
      if (transfer !== undefined) return await this.#watch.run(work, transfer, late)
      return await withDeadline(work, this.#timeoutMs + GRACE_MS, () => late(this.#timeoutMs))
    } catch (error) {
      throw this.#failed(error, operation, key)
    }
  }

  /** Waits for an earlier change of the key as long as for any answer. */
  async #within(earlier: Promise<unknown>, operation: string, key: string): Promise<void> {
    const late = () => deadlineError(operation, key, this.#timeoutMs)
    await withDeadline(earlier, this.#timeoutMs + GRACE_MS, late).catch(error => {
      throw this.#failed(error, operation, key)
    })
  }

  /** Notes that the service has answered. */
  async #heard<T>(attempt: Promise<T>): Promise<T> {
    try {
      const value = await attempt
      this.#watch.answered()
      return value
    } catch (error) {
      if (isAnswer(error)) this.#watch.answered()
      throw error
    }
  }

  async #isAlive(): Promise<boolean> {
    try {
      await withRetries(
        this.#retries,
        () => this.#connection.plain.exists(PROBE_KEY),
        error => !isAnswer(error),
      )
      return true
    } catch (error) {
      return isAnswer(error)
    }
  }

  /** The root has the empty key. */
  #requireAddressable(operation: string, key: string): void {
    if (key === '' || isAddressable(key)) return
    const error = new UnaddressableKey(operation, key)
    this.#onError(error)
    throw error
  }

  #linger(key: string, running: Promise<unknown>): void {
    const settled = running.then(
      () => undefined,
      () => undefined,
    )
    this.#lingering.set(key, settled)
    settled.then(() => this.#lingering.delete(key))
  }

  #failed(error: unknown, operation: string, key: string): StorageError {
    const failure = toStorageError(error, this.scheme, operation, key)
    // On a local folder each directory has its own permissions.
    if (this.scheme !== 'fs') this.#writeRights.failed(failure)
    // A read of a version that is gone is an ordinary answer to a reader of a file that others change.
    const isOrdinary =
      failure.kind === 'NotFound' ||
      failure.code === 'ENOTDIR' ||
      // A web server refuses to show the index of a directory.
      (operation === 'stat' && failure.code === 'EACCES' && this.traits.assumesDirectories) ||
      (operation === 'read' && failure.kind === 'ConditionNotMatch')
    if (!isOrdinary) this.#onError(failure)
    return failure
  }
}

/** How long the service's own work on this many bytes may take, in milliseconds. */
function serviceMs(bytes: number): number {
  return (bytes / SLOWEST_SERVICE) * 1000
}

async function canBeListed(operator: Operator, directory: string): Promise<boolean> {
  try {
    const lister = await operator.lister(directory === '' ? '/' : directory, { limit: 1 })
    await lister.next()
    return true
  } catch (error) {
    if (refusalOf(error) === 'access') return false
    throw error
  }
}

function toInfo(metadata: Metadata, withUsers: boolean): ObjectInfo {
  const users = withUsers ? (metadata.userMetadata ?? undefined) : undefined
  const kind = metadata.isDirectory() ? 'directory' : metadata.isFile() ? 'file' : 'other'
  return {
    kind,
    size: kind === 'file' ? Number(metadata.contentLength ?? 0n) : 0,
    mtime: parseTime(metadata.lastModified),
    etag: metadata.etag ?? undefined,
    version: metadata.version ?? undefined,
    contentType: metadata.contentType ?? undefined,
    metadata: users,
    given: users && givenBy(users, kind === 'directory'),
  }
}
