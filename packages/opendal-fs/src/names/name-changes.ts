// Names that a guest takes away or moves. A request that comes again, because the process that began it was killed, may find its
// work done: that is success then.

import { FsError, type RequestContext } from '@ovfs/fuse-proto'
import type { Attempts } from '../session/attempts.ts'
import type { Inode } from './inode.ts'
import type { Namespace } from './namespace.ts'
import type { Renamer, Renaming } from './rename.ts'
import type { Tree } from './tree.ts'

export class NameChanges {
  readonly #tree: Tree
  readonly #namespace: Namespace
  readonly #renamer: Renamer
  readonly #attempts: Attempts

  constructor(tree: Tree, namespace: Namespace, renamer: Renamer, attempts: Attempts) {
    this.#tree = tree
    this.#namespace = namespace
    this.#renamer = renamer
    this.#attempts = attempts
  }

  unlink(ctx: RequestContext, parent: Inode, name: string): Promise<void> {
    return this.#remove(ctx, parent, name, () => this.#namespace.unlink(parent, name))
  }

  rmdir(ctx: RequestContext, parent: Inode, name: string): Promise<void> {
    return this.#remove(ctx, parent, name, () => this.#namespace.rmdir(parent, name))
  }

  /** What an earlier attempt found and this one does not, or not any more, is gone by that attempt. */
  #remove(ctx: RequestContext, parent: Inode, name: string, remove: () => Promise<void>): Promise<void> {
    return this.#attempts.run(
      ctx,
      () => this.#idOf(parent, name),
      async found => {
        try {
          await remove()
        } catch (error) {
          if (!(found && error instanceof FsError && error.code === 'ENOENT')) throw error
        }
      },
    )
  }

  rename(ctx: RequestContext, renaming: Renaming): Promise<void> {
    const look = () => this.#idOf(renaming.parent, renaming.name)
    return this.#attempts.run(ctx, look, async source => {
      if (source && (await this.#renamer.isDone(source, renaming))) return
      await this.#renamer.rename(renaming)
    })
  }

  /** 0 if there is none. */
  async #idOf(parent: Inode, name: string): Promise<number> {
    return (await this.#tree.child(parent, name))?.nodeid ?? 0
  }
}
