// New names on behalf of a guest, each answered with the inode that it stands for and counted as looked up. What is in the way
// is EEXIST; what the share cannot keep is refused before anything is made.

import { type CreateReply, type EntryOut, FsError, type RequestContext } from '@ovfs/fuse-proto'
import { type Files, O_EXCL, O_TRUNC } from '../files/files.ts'
import type { Attempts } from '../session/attempts.ts'
import type { Publisher } from '../writes/publication.ts'
import { type Inode, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './inode.ts'
import type { Namespace } from './namespace.ts'
import type { Tree } from './tree.ts'

/** What has no bytes: a symbolic link, pipe, socket or device. */
interface SpecialNode {
  readonly mode: number
  readonly rdev: number
  readonly target?: string
}

export class Creation {
  readonly #tree: Tree
  readonly #namespace: Namespace
  readonly #publisher: Publisher
  readonly #files: Files
  readonly #attempts: Attempts

  constructor(tree: Tree, namespace: Namespace, publisher: Publisher, files: Files, attempts: Attempts) {
    this.#attempts = attempts
    this.#tree = tree
    this.#namespace = namespace
    this.#publisher = publisher
    this.#files = files
  }

  /** Opens a file that need not exist yet (open(2) with O_CREAT). */
  create(
    creator: RequestContext,
    parent: Inode,
    name: string,
    mode: number,
    flags: number,
  ): Promise<CreateReply> {
    const { unique } = creator
    return this.#attempt(creator, parent, name, isOwn =>
      this.#create(creator, unique, parent, name, mode, flags, isOwn),
    )
  }

  /** @param task is told whether what has the name was made by this request itself, in an earlier process */
  #attempt<T>(
    creator: RequestContext,
    parent: Inode,
    name: string,
    task: (isOwn: boolean) => Promise<T>,
  ): Promise<T> {
    const look = async () => (await this.#tree.child(parent, name))?.nodeid ?? 0
    return this.#attempts.run(creator, look, found => task(found === 0))
  }

  async #create(
    creator: RequestContext,
    unique: number | undefined,
    parent: Inode,
    name: string,
    mode: number,
    flags: number,
    isOwn: boolean,
  ): Promise<CreateReply> {
    await this.#publisher.usage.ready()
    const existing = await this.#tree.child(parent, name)
    if (parent.removed) throw new FsError('ENOENT')
    if (existing !== undefined) {
      if ((flags & O_EXCL) !== 0 && !isOwn) throw new FsError('EEXIST')
      const open = await this.#files.open(existing, flags, unique)
      return { entry: this.#tree.entry(existing), open }
    }
    const inode = this.#namespace.addFile(parent, name, creator, mode)
    const open = this.#files.opened(inode, flags & ~O_TRUNC, unique)
    return { entry: this.#tree.entry(inode), open }
  }

  async mknod(
    creator: RequestContext,
    parent: Inode,
    name: string,
    mode: number,
    rdev: number,
  ): Promise<EntryOut> {
    const type = mode & S_IFMT
    // mknod(2): no type means a regular file, and directories and links are not made this way.
    if (type === S_IFDIR || type === S_IFLNK) throw new FsError('EPERM')
    if (type !== S_IFREG && type !== 0) return this.#special(creator, parent, name, { mode, rdev })
    return this.#attempt(creator, parent, name, async isOwn => {
      await this.#publisher.usage.ready()
      let inode = isOwn ? await this.#tree.child(parent, name) : undefined
      if (inode === undefined) {
        await this.#namespace.requireFree(parent, name)
        inode = this.#namespace.addFile(parent, name, creator, mode)
      }
      // Nobody will close it.
      const entry = this.#tree.entry(inode)
      try {
        await this.#publisher.settle(inode)
      } catch (error) {
        this.#namespace.forgetName(inode)
        this.#tree.table.forget(inode.nodeid, 1)
        throw error
      }
      return entry
    })
  }

  mkdir(creator: RequestContext, parent: Inode, name: string, mode: number): Promise<EntryOut> {
    return this.#attempt(creator, parent, name, async isOwn => {
      await this.#publisher.usage.ready()
      const own = isOwn ? await this.#tree.child(parent, name) : undefined
      if (own !== undefined) return this.#tree.entry(this.#namespace.made(own, creator, mode))
      return this.#tree.entry(await this.#namespace.mkdir(parent, name, creator, mode))
    })
  }

  symlink(creator: RequestContext, parent: Inode, name: string, target: string): Promise<EntryOut> {
    return this.#special(creator, parent, name, { mode: S_IFLNK | 0o777, rdev: 0, target })
  }

  #special(creator: RequestContext, parent: Inode, name: string, node: SpecialNode): Promise<EntryOut> {
    return this.#attempt(creator, parent, name, async isOwn => {
      if (!this.#tree.attributes.kept) throw new FsError('EPERM', 'there is no sidecar that could keep it')
      this.#tree.attributes.requireWritable(parent)
      await this.#publisher.usage.ready()
      const own = isOwn ? await this.#tree.child(parent, name) : undefined
      return this.#tree.entry(own ?? (await this.#namespace.addSpecial(parent, name, creator, node)))
    })
  }
}
