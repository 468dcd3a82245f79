// Extended attributes. Programs' own are kept with the other attributes. A few that cannot be set show what the storage says of a
// file; they are not listed, or copying all attributes of a file would fail. Which names who may use is the guest kernel's
// to decide: user.* for those who may write, trusted.* and security.* for privileged programs.

import { encodedLength, FsError, type RequestContext } from '@ovfs/fuse-proto'
import type { Inode } from '../names/inode.ts'
import type { Tree } from '../names/tree.ts'
import type { Attempts } from '../session/attempts.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import type { Attributes } from './attributes.ts'
import { now } from './time.ts'

const XATTR_CREATE = 1
const XATTR_REPLACE = 2
/** listxattr(2): a longer list cannot be given to any program. */
const LONGEST_LIST = 64 << 10
/** Names and values of one file together, in bytes: a sidecar holds those of a whole directory. */
const MOST_BYTES = 256 << 10

const KEPT = /^(?:user|trusted|security)\./
const VIRTUAL = 'user.ovfs.'
const SHOWN: Readonly<Record<string, (info: ObjectInfo) => string | undefined>> = {
  'user.ovfs.etag': info => info.etag,
  'user.ovfs.version': info => info.version,
  'user.ovfs.content-type': info => info.contentType,
}

export class ExtendedAttributes {
  readonly #tree: Tree
  readonly #attributes: Attributes
  readonly #attempts: Attempts

  constructor(tree: Tree, attempts: Attempts) {
    this.#attempts = attempts
    this.#tree = tree
    this.#attributes = tree.attributes
  }

  /** @throws ENODATA */
  get(inode: Inode, name: string): Uint8Array | Promise<Uint8Array> {
    if (name.startsWith(VIRTUAL)) return this.#virtual(inode, name)
    this.#requireKind(name)
    if (inode.attrUntil > this.#tree.clock.now()) return keptValue(inode, name)
    return this.#tree.refresh(inode).then(() => keptValue(inode, name))
  }

  async #virtual(inode: Inode, name: string): Promise<Uint8Array> {
    await this.#tree.refresh(inode)
    const info = inode.file?.info
    let text = info === undefined || !Object.hasOwn(SHOWN, name) ? undefined : SHOWN[name]!(info)
    // Listings bring less than a question about the one object.
    if (text === undefined && info !== undefined && inode.parent !== undefined)
      text = SHOWN[name]?.((await this.#tree.ask(inode.parent, inode.name)) ?? info)
    if (text === undefined) throw new FsError('ENODATA')
    return new TextEncoder().encode(text)
  }

  /** Of a request that comes again, what is there by now is its own work. */
  set(ctx: RequestContext, inode: Inode, name: string, value: Uint8Array, flags: number): Promise<void> {
    const look = () => this.#count(inode, name)
    return this.#attempts.run(ctx, look, found =>
      this.#set(inode, name, value, found === 0 ? flags & ~XATTR_CREATE : flags),
    )
  }

  remove(ctx: RequestContext, inode: Inode, name: string): Promise<void> {
    const look = () => this.#count(inode, name)
    return this.#attempts.run(ctx, look, async found => {
      if (!found || (await look()) !== 0) await this.#remove(inode, name)
    })
  }

  /** How many attributes have the name: one or none. */
  async #count(inode: Inode, name: string): Promise<number> {
    await this.#tree.refresh(inode)
    return inode.xattrs?.has(name) === true ? 1 : 0
  }

  async list(inode: Inode): Promise<readonly string[]> {
    await this.#tree.refresh(inode)
    return [...(inode.xattrs?.keys() ?? [])]
  }

  async #set(inode: Inode, name: string, value: Uint8Array, flags: number): Promise<void> {
    this.#requireKept(name)
    await this.#tree.refresh(inode)
    this.#attributes.requireWritable(inode)
    const present = inode.xattrs?.has(name) === true
    if ((flags & XATTR_CREATE) !== 0 && present) throw new FsError('EEXIST')
    if ((flags & XATTR_REPLACE) !== 0 && !present) throw new FsError('ENODATA')
    const changed = new Map(inode.xattrs)
    changed.set(name, value.slice())
    let list = 0
    let values = 0
    for (const [each, bytes] of changed) {
      list += encodedLength(each) + 1
      values += bytes.byteLength
    }
    // setxattr(2): ENOSPC if there is no room for it.
    if (list > LONGEST_LIST || list + values > MOST_BYTES) throw new FsError('ENOSPC')
    this.#change(inode, changed)
  }

  async #remove(inode: Inode, name: string): Promise<void> {
    this.#requireKept(name)
    await this.#tree.refresh(inode)
    this.#attributes.requireWritable(inode)
    const changed = new Map(inode.xattrs)
    if (!changed.delete(name)) throw new FsError('ENODATA')
    this.#change(inode, changed)
  }

  #change(inode: Inode, xattrs: ReadonlyMap<string, Uint8Array>): void {
    inode.setXattrs(xattrs)
    inode.setChanged(now())
    inode.epoch++
    this.#attributes.record(inode, true)
  }

  #requireKind(name: string): void {
    // EOPNOTSUPP: attributes of this kind do not exist here, so that programs stop asking.
    if (!KEPT.test(name) || !this.#attributes.kept) throw new FsError('EOPNOTSUPP')
    // xattr(7): a name is a namespace and something behind its dot.
    if (name.endsWith('.') && name.indexOf('.') === name.length - 1) throw new FsError('EINVAL')
  }

  #requireKept(name: string): void {
    if (this.#tree.storage.readOnly) throw new FsError('EROFS')
    this.#requireKind(name)
    if (name.startsWith(VIRTUAL)) throw new FsError('EPERM', 'it shows what the storage says')
  }
}

function keptValue(inode: Inode, name: string): Uint8Array {
  const value = inode.xattrs?.get(name)
  if (value === undefined) throw new FsError('ENODATA')
  return value
}
