// What a replay of the journal asks of a guest's session that goes on, and tells it.

import type { ObjectInfo } from '../storage/storage.ts'
import type { EntryChange } from './attribute-notes.ts'
import type { MoveEntry } from './journal-entries.ts'

/**
 * What a guest still uses, whose session goes on. It knows files and directories by their nodes, and more of them than the
 * storage: one that was moved or removed in the session has been moved or removed in the storage before, and something else may
 * have its old name by now. Told of what is found.
 */
export interface NamesInUse {
  /** The object of a removed file that is still open. */
  isHeld(aside: string): boolean
  isAt(node: number, key: string): boolean
  isRemoved(node: number): boolean
  isOpen(node: number): boolean
  /** Somebody has it open, and bytes of it are nowhere but in its object. */
  needsObject(node: number): boolean
  /** What was at `key` has lost its name. Its object is at `aside`, if anybody needs it. */
  removed(node: number, key: string, aside: string | undefined): void
  /** @param replaces what lies at the new name now, if it is not what was moved, whose bytes only the guest's session has */
  moved(entry: MoveEntry, replaces: ObjectInfo | undefined): void
  published(key: string, size: number): void
  /** A change of what is kept of a name that the storage lacks. Each was noted in the session before it was in the journal. */
  change(directory: string, segment: string): EntryChange | undefined
}
