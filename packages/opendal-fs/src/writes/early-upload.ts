// Parts of a large new file that go to the service while the guest is still writing it. Their bytes stay here all the same until
// the file is published: if an uploaded part is changed later, the upload fails or the file turns out to be somebody else's, the
// upload is given up, and the file is published or kept from what is here, as any other. One attempt per dirty file: what is
// given up stays at the service.

import { isDeepStrictEqual } from 'node:util'
import type { UserMetadata } from '../attributes/user-metadata.ts'
import { Gathered } from '../files/gathered.ts'
import type { Inode } from '../names/inode.ts'
import type { Tree } from '../names/tree.ts'
import type { PartUpload } from '../storage/part-upload.ts'
import type { Storage } from '../storage/storage.ts'
import { isUncertain, StorageError } from '../storage/storage-error.ts'
import type { DirtyFile } from './dirty-file.ts'

/** Services where nobody sees anything of an upload before it is completed. */
const INVISIBLE_UNTIL_COMPLETE: ReadonlySet<string> = new Set([
  's3',
  'gcs',
  'azblob',
  'oss',
  'cos',
  'obs',
  'b2',
])
/** Complete parts that a file has before its upload begins. */
const LEAST_PARTS = 4
/** A file with more is published in larger ones. */
const MOST_PARTS = 9_000
/** Each holds some parts in memory. */
const CONCURRENT_UPLOADS = 2

export class EarlyUploads {
  /** Bytes of the smallest file that is worth a call of `advance`. */
  readonly least: number
  readonly #tree: Tree
  readonly #partBytes: number
  readonly #running = new Set<EarlyUpload>()
  readonly #tried = new WeakSet<DirtyFile>()

  /** @param enabled false if what is published is not what was written last */
  constructor(tree: Tree, enabled: boolean) {
    const { storage } = tree
    this.#tree = tree
    this.#partBytes = storage.partBytes(0)
    const possible = storage.capability.writeCanMulti && INVISIBLE_UNTIL_COMPLETE.has(storage.scheme)
    this.least = enabled && possible ? LEAST_PARTS * this.#partBytes : Number.POSITIVE_INFINITY
  }

  /** To be called when there may be more to upload. */
  advance(inode: Inode): void {
    const { dirty } = inode.file!
    if (dirty === undefined) return
    if (dirty.early === undefined && this.#mayBegin(inode, dirty)) this.#begin(inode, dirty)
    dirty.early?.advance()
  }

  #mayBegin(inode: Inode, dirty: DirtyFile): boolean {
    return (
      !inode.removed &&
      !this.#tree.storage.uploadPace.isFailing &&
      this.#running.size < CONCURRENT_UPLOADS &&
      !this.#tried.has(dirty) &&
      dirty.front >= this.least
    )
  }

  #begin(inode: Inode, dirty: DirtyFile): void {
    const key = this.#tree.key(inode)
    const { info, replaced } = inode.file!
    const metadata = (info ?? replaced)?.metadata
    const isWanted = () => !inode.removed && this.#tree.key(inode) === key
    const upload = new EarlyUpload(this.#tree.storage, dirty, key, metadata, this.#partBytes, isWanted, () =>
      this.#running.delete(upload),
    )
    this.#tried.add(dirty)
    this.#running.add(upload)
    dirty.early = upload
  }

  /** The upload of the file as it is now, if there is one: the caller finishes it. To be called when a publication begins. */
  take(dirty: DirtyFile, key: string, metadata: UserMetadata | undefined): EarlyUpload | undefined {
    const upload = dirty.early
    if (upload === undefined) return undefined
    if (upload.key !== key || !isDeepStrictEqual(upload.metadata, metadata)) {
      upload.giveUp('the file was moved, or has other user metadata')
      return undefined
    }
    // From here on the file may be changed: a later publication brings that.
    dirty.early = undefined
    return upload
  }
}

export class EarlyUpload {
  readonly key: string
  /** What the object gets with the parts. */
  readonly metadata: UserMetadata | undefined
  readonly #storage: Storage
  readonly #dirty: DirtyFile
  readonly #partBytes: number
  readonly #isWanted: () => boolean
  readonly #ended: () => void
  #upload: PartUpload | undefined
  /** Bytes from the start of the file that have been sent, or are being read for it. */
  #taken = 0
  /** Bytes of the file as it is to be published, once that is known. */
  #limit = Number.POSITIVE_INFINITY
  #sending: Promise<void> | undefined
  #givenUp = false

  constructor(
    storage: Storage,
    dirty: DirtyFile,
    key: string,
    metadata: UserMetadata | undefined,
    partBytes: number,
    isWanted: () => boolean,
    ended: () => void,
  ) {
    this.key = key
    this.metadata = metadata
    this.#storage = storage
    this.#dirty = dirty
    this.#partBytes = partBytes
    this.#isWanted = isWanted
    this.#ended = ended
  }

  /** Sends what is complete, unless that is being done. */
  advance(): void {
    if (this.#sending !== undefined || this.#givenUp || !this.#hasPart()) return
    this.#sending = this.#send()
      .catch(error => this.giveUp(error))
      .finally(() => {
        this.#sending = undefined
      })
  }

  #hasPart(): boolean {
    return Math.min(this.#dirty.front, this.#limit) - this.#taken >= this.#partBytes
  }

  async #send(): Promise<void> {
    this.#upload ??= await this.#storage.upload(this.key, this.#partBytes, { metadata: this.metadata })
    while (!this.#givenUp && this.#hasPart()) {
      if (!this.#isWanted()) return this.giveUp('the file was moved or removed')
      if (this.#taken >= MOST_PARTS * this.#partBytes)
        return this.giveUp('the file is too large for its parts')
      await this.#sendNext(this.#partBytes)
    }
  }

  async #sendNext(length: number): Promise<void> {
    const part = new Gathered(length)
    const start = this.#taken
    this.#taken += length
    // A truncation since the end was taken leaves zeros: the publication after it will say so.
    const end = Math.min(start + length, Math.max(start, this.#dirty.size))
    await this.#dirty.read(start, end, part)
    if (!this.#givenUp) await this.#upload!.write(part.bytes)
  }

  /** Bytes at and after `from` are not what they were. */
  changed(from: number): void {
    if (from < this.#taken) this.giveUp('a part of the file that had been uploaded was changed')
  }

  /**
   * Sends the rest of the first `size` bytes and completes the object. False if the upload has been given up: the file is to
   * be published otherwise.
   * @param confirm rejects if the object must not be replaced
   * @throws StorageError if nobody knows whether the object has been replaced, and what `confirm` throws
   */
  async finish(size: number, confirm: () => Promise<void>): Promise<boolean> {
    this.#limit = size
    await this.#sending
    try {
      while (!this.#givenUp && this.#taken < size)
        await this.#sendNext(Math.min(this.#partBytes, size - this.#taken))
    } catch (error) {
      this.giveUp(error)
    }
    if (this.#givenUp) return false
    try {
      await confirm()
      await this.#upload!.complete()
    } catch (error) {
      this.giveUp(error)
      if (!(error instanceof StorageError) || isUncertain(error)) throw error
      // Refused, as an upload is that the service has cleared away: unless the object is ours or another's by now.
      await confirm()
      return false
    }
    this.#ended()
    return true
  }

  /** Sends nothing more. */
  giveUp(cause: unknown): void {
    if (this.#givenUp) return
    this.#givenUp = true
    if (this.#dirty.early === this) this.#dirty.early = undefined
    this.#upload?.abandon(cause)
    this.#ended()
  }
}
