// Our own layer before every OpenDAL call: deadlines, retries, the read-only switch, typed errors, clamped reads. Keys are built
// from escaped segments (key-names.ts), so none holds `..` or white space that OpenDAL would trim. A buffer that is handed
// over for writing must not change until the promise settles: OpenDAL copies it later, on another thread.

import { FsError } from '@ovfs/fuse-proto'
import { parseTime, type Time } from '../attributes/time.ts'
import { type Given, givenBy, type UserMetadata } from '../attributes/user-metadata.ts'
import { listIndexed } from '../names/directory-index.ts'
import { Slots } from '../names/locks.ts'
import { Absences } from './absences.ts'
import type { Capability, Metadata, Operator } from './binding.ts'
import { Connection, type RenewOperator } from './connection.ts'
import { type RetryPolicy, withDeadline, withRetries } from './deadline.ts'
import { DIRECTORY_MARKER } from './key-names.ts'
import { PartUpload } from './part-upload.ts'
import { withCode } from './service-answer.ts'
import { type ConditionName, ServiceTraits } from './service-traits.ts'
import { deadlineError, isNotFound, StorageError, toStorageError, versionLostError } from './storage-error.ts'
import { strongEtag } from './version.ts'
import { ConditionalWrites, type WriteCondition } from './write-condition.ts'

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
  /** A directory that the service only guesses: see ServiceTraits.guessesDirectories. */
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
  /** The longest that one operation may take, retries included. */
  readonly timeoutMs: number
  readonly readOnly: boolean
  readonly renewOperator?: RenewOperator | undefined
  /** Where the service cannot list, sidecars tell which names there are. */
  readonly attrs?: 'sidecar' | 'none'
  /** Ask for user metadata: one request for each file. */
  readonly userMetadata?: boolean
  /** Told of every failure that is more than an object not being there. */
  readonly onError: (error: Error) => void
  /** Told once of each thing that the server or the credentials turn out not to do. */
  readonly onWarning?: ((message: string) => void) | undefined
}

const RETRIES: RetryPolicy = { attempts: 4, firstDelayMs: 100, maxDelayMs: 2_000 }
const NO_RETRIES: RetryPolicy = { attempts: 1, firstDelayMs: 0, maxDelayMs: 0 }
/** OpenDAL's own limit ends an operation inside; ours, a little later, ends the waiting for it. */
const GRACE_MS = 500
/** A listing is many pages; each has OpenDAL's limit, all together ours. */
const LISTING_PATIENCE = 4
/** A write in one piece that is larger than this gets a second more for each such piece. */
const BYTES_PER_EXTRA_SECOND = 1 << 20
/** A copy within the service takes that much less time than the same bytes from here. */
const COPY_ADVANTAGE = 16
const LARGE_WRITE = 16 << 20
/** Where an object must be written in one request it has to be held in memory at once. */
const LARGEST_IN_ONE_PIECE = 1 << 30
const CONCURRENT_PARTS = 4
const CONCURRENT_UPLOADS = 2
const LARGEST_IN_PARTS = 5 * 2 ** 40

const CONDITION_REFUSED: Readonly<Record<ConditionName, string>> = {
  absent:
    'the server refuses writes on condition that there is no such object (If-None-Match): ovfs looks before it writes a new file, and a file that another host creates in that moment is overwritten',
  etag: 'the server refuses writes on condition that the object is unchanged (If-Match): ovfs looks before it replaces a file, and a change that another host makes in that moment is overwritten',
}

export class Storage {
  readonly scheme: string
  readonly traits: ServiceTraits
  readonly capability: Capability
  readonly readOnly: boolean
  /** Bytes of the largest file that can be published. */
  readonly largestFile: number
  /** Listing is possible, if only by what sidecars hold. */
  readonly lists: boolean
  /** Each upload holds some parts in memory. */
  readonly uploads = new Slots(CONCURRENT_UPLOADS)
  readonly #connection: Connection
  readonly #timeoutMs: number
  readonly #userMetadata: boolean
  readonly #retries: RetryPolicy
  readonly #onError: (error: Error) => void
  readonly #absences = new Absences()
  readonly #conditionalWrites: ConditionalWrites
  /** Changes that outlived their deadline and may still land: the next change of the same key waits for them. */
  readonly #lingering = new Map<string, Promise<unknown>>()

  constructor(operator: Operator, options: StorageOptions) {
    this.scheme = options.scheme
    this.traits = new ServiceTraits(options.scheme)
    this.capability = operator.capability()
    this.lists = this.capability.list || options.attrs === 'sidecar'
    this.readOnly = options.readOnly || !this.capability.write
    const most = this.capability.writeCanMulti ? LARGEST_IN_PARTS : LARGEST_IN_ONE_PIECE
    this.largestFile = Math.min(most, Number(this.capability.writeTotalMaxSize ?? BigInt(most)))
    this.#timeoutMs = options.timeoutMs
    this.#userMetadata = options.userMetadata ?? false
    this.#retries = this.scheme === 'fs' ? NO_RETRIES : RETRIES
    this.#connection = new Connection(operator, {
      timeoutMs: options.timeoutMs,
      uploadMs: partsMs(this.partBytes(0)),
      retries: this.#retries,
      renewOperator: options.renewOperator,
    })
    this.#onError = options.onError
    this.#conditionalWrites = new ConditionalWrites(this.capability, this.traits, name =>
      options.onWarning?.(CONDITION_REFUSED[name]),
    )
  }

  /** Undefined if there is no such object. A directory's key ends with a slash; the root's is empty. */
  async stat(key: string): Promise<ObjectInfo | undefined> {
    const path = key === '' ? '/' : key
    try {
      if (this.#absences.expected && !(await this.#exists(key, path))) {
        this.#absences.seen(true)
        return undefined
      }
      const info = toInfo(
        await this.#ask('stat', key, operator => withCode(operator, path, () => operator.stat(path))),
        this.#userMetadata,
      )
      this.#absences.seen(false)
      // Only the key with the slash asks for a directory.
      const isGuess = this.traits.guessesDirectories && info.kind === 'directory' && !path.endsWith('/')
      return isGuess ? undefined : info
    } catch (error) {
      const absent = isNotFound(error) || (error instanceof StorageError && error.code === 'ENOTDIR')
      if (!absent) throw error
      this.#absences.rejected()
      return undefined
    }
  }

  #exists(key: string, path: string): Promise<boolean> {
    return this.#ask('stat', key, operator => withCode(operator, path, () => operator.exists(path)))
  }

  /**
   * Exactly the bytes asked for: the range must lie within the object, or the read fails as a lost version does.
   * @param etag refuses any other version, where the service can and the ETag is strong
   */
  async read(key: string, offset: number, length: number, etag?: string): Promise<Uint8Array> {
    const ifMatch = this.capability.readWithIfMatch ? strongEtag(etag) : undefined
    const options = {
      offset: BigInt(offset),
      size: BigInt(length),
      ...(ifMatch !== undefined && { ifMatch }),
    }
    const bytes =
      this.traits.cutsRanges === undefined
        ? await this.#ask('read', key, operator => operator.read(key, options))
        : await this.#cut(key, offset, length)
    // As a plain Uint8Array: cutting pieces from a Buffer costs twice as much.
    if (bytes.byteLength === length) return new Uint8Array(bytes.buffer, bytes.byteOffset, length)
    throw this.#tooShort(key, bytes.byteLength, length)
  }

  /** A range of a value that the binding would cut itself, and panic if the value has become shorter. */
  async #cut(key: string, offset: number, length: number): Promise<Uint8Array> {
    if (this.traits.cutsRanges === 'remote') {
      const value = await this.#ask('read', key, operator => operator.read(key))
      return value.subarray(offset, offset + length)
    }
    const range = { offset: BigInt(offset), size: BigInt(length) }
    return this.#ask('read', key, async operator => {
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
    const large = bytes.byteLength > LARGE_WRITE
    const extraMs = large ? (bytes.byteLength / BYTES_PER_EXTRA_SECOND) * 1000 : 0
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (!this.#conditionalWrites.isEnforced(condition)) await confirm()
    await this.#change(
      'write',
      key,
      operator =>
        this.#conditionalWrites.run(
          condition,
          options => (large ? this.#connection.patient : operator).write(key, content, options),
          confirm,
        ),
      extraMs,
    )
  }

  async #requireCondition(key: string, { absent, etag }: WriteCondition): Promise<void> {
    if (absent !== true && etag === undefined) return
    const found = await this.stat(key)
    const holds = absent === true ? found === undefined : found?.etag === etag
    if (!holds) throw versionLostError('write', key)
  }

  /** Begins to replace the object part by part. Only the condition's metadata counts: OpenDAL completes an upload without conditions. */
  async upload(key: string, partBytes: number, condition: WriteCondition = {}): Promise<PartUpload> {
    const options = {
      chunk: BigInt(partBytes),
      concurrent: CONCURRENT_PARTS,
      ...this.#conditionalWrites.options(condition),
    }
    const extraMs = partsMs(partBytes)
    const { generation } = this.#connection
    // The writer keeps the operator that it was made with.
    const renewing = <T>(step: Promise<T>): Promise<T> =>
      step.catch(error => {
        this.#connection.renew(error, generation)
        throw error
      })
    const writer = await this.#change('write', key, () => this.#connection.uploader.writer(key, options))
    return new PartUpload(key, partBytes, {
      // Retried inside, part by part: the parts before it are in the writer's state.
      write: content =>
        renewing(this.#run('write', key, () => writer.write(content), extraMs, false, NO_RETRIES)),
      complete: () => renewing(this.#change('close', key, () => writer.close(), extraMs, NO_RETRIES)),
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

  /** A directory exists by an object of ours in it: the service has no directories, or none that can be relied on. */
  get marksDirectories(): boolean {
    return !this.capability.createDir || this.traits.guessesDirectories
  }

  async createDirectory(key: string): Promise<void> {
    if (this.marksDirectories) return this.write(key + DIRECTORY_MARKER, new Uint8Array(0))
    await this.#change('create_dir', key, operator => operator.createDir(key))
  }

  /** Deletes one object or one empty directory; fine if it is not there. */
  async delete(key: string): Promise<void> {
    try {
      await this.#change('delete', key, operator => operator.delete(key))
    } catch (error) {
      if (!isNotFound(error)) throw error
    }
  }

  /** The service's own rename: replaces what is there. Only where `capability.rename` is set. */
  async rename(from: string, to: string): Promise<void> {
    await this.#change('rename', from, operator => operator.rename(from, to))
  }

  /** The service's own copy of an object of `size` bytes: replaces what is there. Only where `capability.copy` is set. */
  async copy(from: string, to: string, size = 0): Promise<void> {
    const large = size > LARGE_WRITE
    const extraMs = large ? (size / BYTES_PER_EXTRA_SECOND / COPY_ADVANTAGE) * 1000 : 0
    await this.#change(
      'copy',
      to,
      operator => (large ? this.#connection.patient : operator).copy(from, to),
      extraMs,
    )
  }

  /** The children of a directory, `key` being empty or ending with a slash; nothing if there is no such directory. */
  async list(key: string): Promise<ListedObject[]> {
    if (!this.lists) throw new FsError('EOPNOTSUPP', `the service ${this.scheme} cannot list`)
    if (!this.capability.list) return listIndexed(this, key)
    const entries = await this.#ask(
      'list',
      key,
      operator => operator.list(key),
      LISTING_PATIENCE * this.#timeoutMs,
    )
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
    if (!this.capability.list) return (await this.list(key)).some(({ segment }) => !ignore(segment))
    return this.#ask(
      'list',
      key,
      async operator => {
        const lister = await operator.lister(key)
        for (;;) {
          const entry = await lister.next()
          if (entry === null) return false
          const path = entry.path()
          if (path === key || path === '/' || !path.startsWith(key)) continue
          if (!ignore(path.endsWith('/') ? path.slice(key.length, -1) : path.slice(key.length))) return true
        }
      },
      LISTING_PATIENCE * this.#timeoutMs,
    )
  }

  /** Something is wrong with what the storage holds, while nobody is there to whom it could be an answer. */
  report(error: Error): void {
    this.#onError(error)
  }

  #ask<T>(operation: string, key: string, call: (operator: Operator) => Promise<T>, extraMs = 0): Promise<T> {
    return this.#run(operation, key, call, extraMs, false)
  }

  async #change<T>(
    operation: string,
    key: string,
    call: (operator: Operator) => Promise<T>,
    extraMs = 0,
    policy = this.#retries,
  ): Promise<T> {
    if (this.readOnly) throw new FsError('EROFS', `${operation} ${key}: read-only`)
    const earlier = this.#lingering.get(key)
    if (earlier !== undefined) await this.#once(operation, key, () => earlier)
    return this.#run(operation, key, call, extraMs, true, policy)
  }

  #once<T>(operation: string, key: string, call: () => Promise<T>): Promise<T> {
    return this.#run(operation, key, call, 0, false, NO_RETRIES)
  }

  async #run<T>(
    operation: string,
    key: string,
    call: (operator: Operator) => Promise<T>,
    extraMs: number,
    changes: boolean,
    policy = this.#retries,
  ): Promise<T> {
    const limitMs = this.#timeoutMs + extraMs
    const end = Date.now() + limitMs
    let running: Promise<T> | undefined
    const connection = this.#connection
    // What may be done once only is not done again with another operator either.
    const attempt = () => (policy.attempts > 1 ? connection.call(call) : call(connection.plain))
    const work = withRetries(
      policy,
      () => (running = attempt()),
      error => toStorageError(error, this.scheme, operation, key).transient && Date.now() < end,
    )
    try {
      return await withDeadline(work, limitMs + GRACE_MS, () => {
        if (changes && running !== undefined) this.#linger(key, running)
        return deadlineError(operation, key, limitMs)
      })
    } catch (error) {
      throw this.#failed(error, operation, key)
    }
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
    if (failure.kind !== 'NotFound' && failure.code !== 'ENOTDIR') this.#onError(failure)
    return failure
  }
}

/** The time that the parts which are under way at once may take, beyond that of any operation. */
function partsMs(partBytes: number): number {
  return ((CONCURRENT_PARTS * partBytes) / BYTES_PER_EXTRA_SECOND) * 1000
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
