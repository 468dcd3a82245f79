// SETATTR: what programs change about a file beside its bytes, apart from its size, which is theirs too. Without a sidecar only
// what is so already can be confirmed: what cannot be kept is refused, never silently dropped. The one time that can be set
// then is the present one, by publishing.

import { FsError, type SetattrChange, type Timestamp } from '@ovfs/fuse-proto'
import type { Files } from '../files/files.ts'
import { type Inode, S_IFMT } from '../names/inode.ts'
import type { Tree } from '../names/tree.ts'
import type { Publisher } from '../writes/publication.ts'
import type { Attributes } from './attributes.ts'
import { now } from './time.ts'

const PERMISSIONS = 0o7777
/** Touching an unchanged file without a sidecar means storing it again; larger ones are refused. Bytes. */
const LARGEST_TOUCH = 64 << 20

export class AttributeChanges {
  readonly #tree: Tree
  readonly #attributes: Attributes
  readonly #publisher: Publisher
  readonly #files: Files

  constructor(tree: Tree, publisher: Publisher, files: Files) {
    this.#tree = tree
    this.#attributes = tree.attributes
    this.#publisher = publisher
    this.#files = files
  }

  async apply(inode: Inode, change: SetattrChange, group: number): Promise<void> {
    if (this.#tree.storage.readOnly) throw new FsError('EROFS')
    await this.#tree.refresh(inode)
    if (change.size !== undefined) requireRegular(inode)
    if (change.size !== undefined) await this.#publisher.usage.ready()
    let changed = false
    if (this.#attributes.kept) {
      if (keepsNothing(change)) changed = this.#resize(inode, change, group)
      else {
        this.#attributes.requireWritable(inode)
        changed = this.#resize(inode, change, group)
        this.#keep(inode, change)
      }
    } else {
      refuseWhatChanges(inode, change)
      changed = this.#resize(inode, change, group)
      if (change.mtime === 'now') changed = this.#touch(inode) || changed
    }
    // Without a handle no close will follow that would publish it.
    if (changed && change.fh === undefined) await this.#publisher.settle(inode)
  }

  #resize(inode: Inode, { size, killSuidgid }: SetattrChange, group: number): boolean {
    if (size === undefined) return false
    this.#attributes.killPrivileges(inode, killSuidgid, group)
    if (size === inode.attr.size) {
      // truncate(2) marks the times also if no byte changes.
      this.#attributes.markModified(inode)
      return false
    }
    this.#files.truncate(inode, size)
    return true
  }

  #keep(inode: Inode, change: SetattrChange): void {
    const { attr } = inode
    const present = now()
    inode.epoch++
    if (change.uid !== undefined) attr.uid = change.uid
    if (change.gid !== undefined) attr.gid = change.gid
    if (change.uid !== undefined || change.gid !== undefined) this.#attributes.killPrivileges(inode, true)
    if (change.mode !== undefined) attr.mode = (attr.mode & S_IFMT) | (change.mode & PERMISSIONS)
    inode.setChanged(present)
    if (change.mtime !== undefined) {
      const { sec, nsec } = change.mtime === 'now' ? present : change.mtime
      attr.mtime = sec
      attr.mtimensec = nsec
      inode.keepsTimes = inode.directory !== undefined
      if (inode.file?.dirty !== undefined) inode.file.dirty.mtime = { sec, nsec }
    }
    if (change.atime !== undefined) {
      inode.setAccessed(change.atime === 'now' ? present : change.atime)
      inode.keepsTimes = inode.directory !== undefined
    }
    this.#attributes.record(inode, true)
  }

  #touch(inode: Inode): boolean {
    if (inode.file === undefined) {
      inode.setTime(now())
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

// truncate(2): EISDIR for a directory, EINVAL for what is no regular file.
function requireRegular(inode: Inode): void {
  if (inode.file === undefined) throw new FsError('EISDIR')
  if (inode.kind === 'special') throw new FsError('EINVAL')
}

/** The change time cannot be set by programs; a guest that sends it only reports its own clock. */
function keepsNothing({ mode, uid, gid, atime, mtime }: SetattrChange): boolean {
  return [mode, uid, gid, atime, mtime].every(value => value === undefined)
}

function refuseWhatChanges({ attr }: Inode, change: SetattrChange): void {
  refuseUnlessSame(change.mode === undefined ? undefined : change.mode & PERMISSIONS, attr.mode & PERMISSIONS)
  refuseUnlessSame(change.uid, attr.uid)
  refuseUnlessSame(change.gid, attr.gid)
  refuseUnlessSameTime(change.atime, attr.atime, attr.atimensec)
  refuseUnlessSameTime(change.mtime, attr.mtime, attr.mtimensec)
}

function refuseUnlessSame(wanted: number | undefined, present: number): void {
  if (wanted !== undefined && wanted !== present) throw new FsError('EPERM', 'the service cannot keep it')
}

function refuseUnlessSameTime(wanted: Timestamp | 'now' | undefined, sec: number, nsec: number): void {
  if (wanted === undefined || wanted === 'now') return
  if (wanted.sec !== sec || wanted.nsec !== nsec) throw new FsError('EPERM', 'the service cannot keep it')
}
