// One object on its way to the service in parts, several at once. Nothing of it shows until it is completed. It can only be given
// up before that, and then leaves its parts behind: OpenDAL's JavaScript writer cannot abort an upload. Nor does such an upload
// carry a condition, whatever the service could: who needs one looks himself, directly before the completion.

import { FsError } from '@ovfs/fuse-proto'
import type { Storage } from './storage.ts'
import type { WriteCondition } from './write-condition.ts'

/** An upload starts again, once, if the credentials were renewed during it. */
const ATTEMPTS = 2

/** The parts of an upload stay at the service, where they may cost money and nobody sees them. */
export class AbandonedUpload extends FsError {
  readonly key: string
  /** Of the parts that were sent. */
  readonly bytes: number

  constructor(key: string, bytes: number, cause: unknown) {
    super('EIO', `${JSON.stringify(key)}: ${bytes} bytes of an upload that was given up stay behind`, {
      cause,
    })
    this.name = 'AbandonedUpload'
    this.key = key
    this.bytes = bytes
  }
}

/** What an upload needs of the storage. */
export interface UploadSteps {
  write(content: Buffer): Promise<void>
  /** @param bytes of the whole object */
  complete(bytes: number): Promise<void>
  /** The credentials were renewed since the upload began. The upload still uses the old ones. */
  isOutdated(): boolean
  abandoned(error: AbandonedUpload): void
}

export class PartUpload {
  readonly key: string
  readonly partBytes: number
  readonly #steps: UploadSteps
  #sent = 0

  constructor(key: string, partBytes: number, steps: UploadSteps) {
    this.key = key
    this.partBytes = partBytes
    this.#steps = steps
  }

  /** Settles when the part is under way and its buffer may be used again. All but the last have `partBytes`. */
  async write(part: Uint8Array): Promise<void> {
    this.#sent += part.byteLength
    await this.#steps.write(Buffer.from(part.buffer, part.byteOffset, part.byteLength))
  }

  /** Settles when the object has been replaced by all the parts. */
  complete(): Promise<void> {
    return this.#steps.complete(this.#sent)
  }

  /** True if the upload failed because of its old credentials, and a new upload would use new ones. */
  get isOutdated(): boolean {
    return this.#steps.isOutdated()
  }

  /** To be called instead of `complete`, or after it has failed. */
  abandon(cause: unknown): void {
    if (this.#sent > 0) this.#steps.abandoned(new AbandonedUpload(this.key, this.#sent, cause))
  }
}

/**
 * Replaces the object with what `parts` yields, in order, without holding all of it.
 * @param parts yields `storage.partBytes(size)` each; one may be reused once the next is asked for. Called a second time if the
 * upload must begin again because the credentials were replaced.
 * @param confirm rejects if the object must not be replaced after all
 */
export async function uploadParts(
  storage: Storage,
  key: string,
  size: number,
  parts: () => AsyncIterable<Uint8Array>,
  condition: WriteCondition = {},
  confirm: () => Promise<void> = async () => undefined,
): Promise<void> {
  await storage.uploads.run(async () => {
    for (let attempt = 1; ; attempt++) {
      const upload = await storage.upload(key, storage.partBytes(size), condition)
      try {
        for await (const part of parts()) await upload.write(part)
        await confirm()
        return await upload.complete()
      } catch (error) {
        upload.abandon(error)
        if (!upload.isOutdated || attempt === ATTEMPTS) throw error
      }
    }
  })
}
