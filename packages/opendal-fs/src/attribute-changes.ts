// SETATTR: sizes are changed; everything else can only be confirmed, because a service keeps no modes, owners or chosen times.
// What cannot be kept is refused, never silently dropped. The one time that can be set is the present one, by publishing.

import { FsError, type SetattrChange, type Timestamp } from '@ovfs/fuse-proto'
import type { Files } from './files.ts'
import type { Inode } from './inode.ts'
import type { Publisher } from './publication.ts'
import type { Tree } from './tree.ts'

const PERMISSIONS = 0o7777
/** Touching an unchanged file means storing it again; larger ones are refused. Bytes. */
const LARGEST_TOUCH = 64 << 20

export class AttributeChanges {
  readonly #tree: Tree
  readonly #publisher: Publisher
  readonly #files: Files

  constructor(tree: Tree, publisher: Publisher, files: Files) {
    this.#tree = tree
    this.#publisher = publisher
    this.#files = files
  }

  async apply(inode: Inode, change: SetattrChange): Promise<void> {
    if (this.#tree.storage.readOnly) throw new FsError('EROFS')
    await this.#tree.refresh(inode)
    const { attr } = inode
    if (change.size !== undefined && inode.file === undefined) throw new FsError('EISDIR')
    refuseUnlessSame(
      change.mode === undefined ? undefined : change.mode & PERMISSIONS,
      attr.mode & PERMISSIONS,
    )
    refuseUnlessSame(change.uid, attr.uid)
    refuseUnlessSame(change.gid, attr.gid)
    refuseUnlessSameTime(change.atime, attr.atime, attr.atimensec)
    refuseUnlessSameTime(change.mtime, attr.mtime, attr.mtimensec)
    // The change time cannot be set by programs; a guest that sends it only reports its own clock.

    let changed = false
    if (change.size !== undefined) {
      changed = change.size !== attr.size
      if (changed) this.#files.truncate(inode, change.size)
    }
    if (change.mtime === 'now') changed = this.#touch(inode) || changed
    // Without a handle no close will follow that would publish it.
    if (changed && change.fh === undefined) await this.#publisher.publish(inode)
  }

  #touch(inode: Inode): boolean {
    if (inode.file === undefined) {
      inode.setTime({ sec: Math.floor(Date.now() / 1000), nsec: 0 })
      return false
    }
    if (inode.file.dirty === undefined && inode.attr.size > LARGEST_TOUCH) {
      throw new FsError('EPERM', 'the time of a large unchanged file cannot be kept')
    }
    this.#publisher.dirty(inode).touch()
    this.#publisher.showDirty(inode)
    return true
  }
}

function refuseUnlessSame(wanted: number | undefined, present: number): void {
  if (wanted !== undefined && wanted !== present) throw new FsError('EPERM', 'the service cannot keep it')
}

function refuseUnlessSameTime(wanted: Timestamp | 'now' | undefined, sec: number, nsec: number): void {
  if (wanted === undefined || wanted === 'now') return
  if (wanted.sec !== sec || wanted.nsec !== nsec) throw new FsError('EPERM', 'the service cannot keep it')
}
