// What a file system is made of, and what each part is given of the others: the only place that knows how they hang together.

import { AttributeChanges } from './attributes/attribute-changes.ts'
import { ExtendedAttributes } from './attributes/extended-attributes.ts'
import type { CoarseClock } from './coarse-clock.ts'
import { BlockCache } from './files/block-cache.ts'
import { FileRanges } from './files/file-ranges.ts'
import { Files } from './files/files.ts'
import { Handles } from './files/handles.ts'
import { NameJournal } from './journal/name-journal.ts'
import { SavedFiles } from './journal/saved-files.ts'
import { Creation } from './names/creation.ts'
import { Directories } from './names/directories.ts'
import { InodeTable } from './names/inode-table.ts'
import { SharedLock } from './names/locks.ts'
import { NameChanges } from './names/name-changes.ts'
import { Namespace } from './names/namespace.ts'
import { Renamer } from './names/rename.ts'
import { Tree } from './names/tree.ts'
import type { Settings } from './options.ts'
import { Attempts } from './session/attempts.ts'
import { KeptFileSystem } from './session/kept-file-system.ts'
import { SessionRecord } from './session/session-record.ts'
import { SessionTransfer } from './session/session-transfer.ts'
import type { Operator } from './storage/binding.ts'
import { KeyNames } from './storage/key-names.ts'
import { Storage } from './storage/storage.ts'
import { Publisher } from './writes/publication.ts'
import { StagingBudget } from './writes/staging-budget.ts'
import { KeptPages } from './writes/staging-pages.ts'
import { WholeCopies } from './writes/whole-copies.ts'

export interface Parts {
  readonly table: InodeTable
  readonly tree: Tree
  readonly handles: Handles
  readonly publisher: Publisher
  readonly files: Files
  readonly ranges: FileRanges
  readonly directories: Directories
  readonly names: NameChanges
  readonly creation: Creation
  readonly attributes: AttributeChanges
  readonly xattrs: ExtendedAttributes
  readonly sessions: SessionTransfer
  /** Undefined if nothing survives this process. */
  readonly kept: KeptFileSystem | undefined
}

export function partsOf(operator: Operator, settings: Settings, clock: CoarseClock): Parts {
  const { state, session } = settings
  const lock = new SharedLock()
  const pages = session && new KeptPages(session.folder, session.log)
  // One ceiling: a quarter of it for what is not published yet.
  const staging = new StagingBudget(
    Math.floor(settings.cacheBytes / 4),
    settings.stagingBytes,
    settings.stagingDir,
    { kept: pages, onLost: settings.onError },
  )
  const cache = new BlockCache(settings.cacheBytes - staging.limit)
  const storage = new Storage(operator, settings)
  const table = new InodeTable(settings, content => cache.discard(content))
  const names = new KeyNames(settings.scheme, storage.traits.hidesDots)
  const tree = new Tree(table, storage, names, clock, cache, settings, lock)
  const handles = new Handles(settings.maxHandles)
  const saved = state && new SavedFiles(state, tree, settings.onError)
  const journal = new NameJournal(state?.journal, saved, settings.onError)
  const record = session && new SessionRecord(session.log, table, handles)
  table.record = record
  handles.record = record
  tree.attributes.sessionRecord = record
  const publisher = new Publisher(tree, staging, lock, settings, saved, record)
  const files = new Files(tree, handles, publisher, settings, journal, lock)
  const namespace = new Namespace(tree, publisher, lock, journal)
  const attempts = new Attempts(record)
  const renamer = new Renamer(tree, namespace, lock, journal)
  return {
    table,
    tree,
    handles,
    publisher,
    files,
    ranges: new FileRanges(tree, handles, publisher, files, new WholeCopies(tree, publisher, lock)),
    directories: new Directories(tree, handles, settings, record),
    names: new NameChanges(tree, namespace, renamer, attempts),
    creation: new Creation(tree, namespace, publisher, files, attempts),
    attributes: new AttributeChanges(tree, publisher, files),
    xattrs: new ExtendedAttributes(tree, attempts),
    sessions: new SessionTransfer(tree, handles, publisher),
    kept:
      session &&
      pages &&
      new KeptFileSystem(session, pages, settings, { tree, handles, publisher, attempts }),
  }
}
