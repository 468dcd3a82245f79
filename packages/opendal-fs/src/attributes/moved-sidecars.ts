// Updates sidecars after a directory move by copies. The times in a sidecar belong to one version of an object, and the copy of an
// object may be another version: its ETag differs on Azure Blob, and on S3 if the object was uploaded in parts.

import type { KeyNames } from '../storage/key-names.ts'
import type { MovedVersion, SidecarMove, SidecarMover } from '../storage/moved-versions.ts'
import type { Storage } from '../storage/storage.ts'
import { type AttributeEntry, entryOfCopy } from './attribute-entry.ts'
import { Sidecar } from './sidecar.ts'
import { compareTimes } from './time.ts'

export class MovedSidecars implements SidecarMover {
  readonly segment: string
  readonly #storage: Storage
  readonly #names: KeyNames

  constructor(storage: Storage, names: KeyNames) {
    this.#storage = storage
    this.#names = names
    this.segment = names.sidecar
  }

  async carry({ from, to, copy, versions, merges }: SidecarMove): Promise<void> {
    const sidecar = new Sidecar(this.#storage, this.#names, () => to)
    await sidecar.read({ info: copy })
    const change = (segment: string, entry: AttributeEntry) =>
      sidecar.restore(segment, { entry, at: entry.ctime, over: sidecar.origin(segment) }, false)
    if (merges) {
      const source = new Sidecar(this.#storage, this.#names, () => from)
      await source.read()
      for (const [segment, entry] of source.entries())
        if (compareTimes(entry.ctime, sidecar.get(segment)?.ctime) > 0) change(segment, entry)
    }
    for (const [segment, entry] of [...sidecar.entries()]) {
      const known = versions.get(segment)
      if (entry.version === undefined || known === undefined) continue
      const moved = await this.#complete(known, from + segment, to + segment)
      const carried = moved === undefined ? entry : entryOfCopy(entry, moved)
      if (carried !== entry) change(segment, carried)
    }
    await sidecar.flush()
  }

  /** Looks up missing ETags: some services list objects without the ETags that entries refer to. */
  async #complete(moved: MovedVersion, from: string, to: string): Promise<MovedVersion | undefined> {
    if (moved.before.etag !== undefined && moved.after.etag !== undefined) return moved
    const [before, after] = await Promise.all([this.#storage.stat(from, true), this.#storage.stat(to, true)])
    return before === undefined || after === undefined ? undefined : { before, after }
  }
}
