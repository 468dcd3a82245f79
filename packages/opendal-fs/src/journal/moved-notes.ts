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

/** Where it is kept what is kept of a file or a directory. */
export function keptPlaceOf(key: string): KeptPlace {
  const plain = key.replace(/\/$/, '')
  const cut = plain.lastIndexOf('/') + 1
  return { directory: plain.slice(0, cut), segment: plain.slice(cut) }
}

/** Brings the notes of what was moved, and of what lies in it, to its new place. Returns what the journal is to say of it. */
export function moveNotes(
  { from, to, attributes = [] }: MoveEntry,
  notes: Map<string, KeptChange>,
): Change[] {
  const changes: Change[] = []
  const take = (key: string, note: KeptChange): void => {
    notes.set(key, note)
    changes.push(entryChange(key as EntryKey, { kind: 'attributes', ...note }))
  }
  const [old, present] = [keptPlaceOf(from), keptPlaceOf(to)]
  const over = attributes.find(change => isAt(change, present))?.over ?? null
  for (const [key, note] of [...notes]) {
    if (from.endsWith('/') && note.directory.startsWith(from))
      take(key, { ...note, directory: to + note.directory.slice(from.length) })
    // Noted at its old place while it was being moved.
    else if (isAt(note, old) && note.entry !== null) take(key, { ...note, ...present, over })
  }
  for (const change of attributes) {
    // Noted since it began to move, and so newer.
    if (![...notes.values()].some(note => isAt(note, change))) take(newNoteKey(), change)
  }
  return changes
}

function isAt({ directory, segment }: KeptPlace, place: KeptPlace): boolean {
  return directory === place.directory && segment === place.segment
}
