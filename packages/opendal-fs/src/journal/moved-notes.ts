// Where things are kept of what a move that is finished after a kill has brought to a new name: the notes of the old one follow it.

import { newNoteKey } from './attribute-notes.ts'
import { type EntryKey, entryChange, type KeptChange, type MoveEntry } from './journal-entries.ts'
import type { Change } from './journal-record.ts'

/** A name in a directory whose sidecar keeps something of it. */
export interface KeptPlace {
  /** The key. */
  readonly directory: string
  readonly segment: string
}

/** Where it is kept what is kept of what is moved. */
export function keptPlacesOf({ to, attributes = [] }: MoveEntry): {
  old: KeptPlace | undefined
  present: KeptPlace
} {
  const plain = to.replace(/\/$/, '')
  const cut = plain.lastIndexOf('/') + 1
  const present = { directory: plain.slice(0, cut), segment: plain.slice(cut) }
  // The old key does not always tell: of a file and a directory that share it, each has a place of its own.
  const old = attributes.find(change => change.entry === null && !isAt(change, present))
  return { old: old && { directory: old.directory, segment: old.segment }, present }
}

/** Brings the notes of what was moved, and of what lies in it, to its new place. Returns what the journal is to say of it. */
export function moveNotes(entry: MoveEntry, notes: Map<string, KeptChange>): Change[] {
  const { from, to, attributes = [] } = entry
  const changes: Change[] = []
  const take = (key: string, note: KeptChange): void => {
    notes.set(key, note)
    changes.push(entryChange(key as EntryKey, { kind: 'attributes', ...note }))
  }
  const { old, present } = keptPlacesOf(entry)
  const over = attributes.find(change => isAt(change, present))?.over ?? null
  for (const [key, note] of [...notes]) {
    if (from.endsWith('/') && note.directory.startsWith(from))
      take(key, { ...note, directory: to + note.directory.slice(from.length) })
    // Noted at its old place while it was being moved.
    else if (old !== undefined && isAt(note, old) && note.entry !== null)
      take(key, { ...note, ...present, over })
  }
  for (const change of attributes) {
    const isNothing = change.entry === null && change.over === null
    // Noted since it began to move, and so newer.
    if (!isNothing && ![...notes.values()].some(note => isAt(note, change))) take(newNoteKey(), change)
  }
  return changes
}

function isAt({ directory, segment }: KeptPlace, place: KeptPlace): boolean {
  return directory === place.directory && segment === place.segment
}
