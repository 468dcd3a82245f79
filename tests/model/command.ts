// What a command of the model is: something done to the file system and to the reference, which must end the same way, and
// leaves both with the same tree.

import { type Attr, FsError } from '@ovfs/fuse-proto'
import type { Operator } from '@ovfs/opendal-fs'
import type fc from 'fast-check'
import { expect } from 'vitest'
import type { Capabilities } from './capabilities.ts'
import { type Mounted, type OpenFile, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type Seen } from './mounted.ts'
import { type Outcome, type PlainFile, type PlainTree, type Snapshot, snapshotOf } from './reference.ts'

export interface Model {
  readonly tree: PlainTree
  /** Parallel to the handles of `Real`. */
  readonly open: PlainFile[]
}

export interface Real {
  mounted: Mounted
  readonly open: OpenFile[]
  readonly outside: Operator
  /** Where the bytes go that lose a conflict: a folder on the host. */
  readonly recoveryDir: string
  readonly remount: () => Promise<Mounted>
  readonly capabilities: Capabilities
}

export type Command = fc.AsyncCommand<Model, Real>

export async function compareTrees({ tree }: Model, { mounted, capabilities }: Real): Promise<void> {
  const wanted = snapshotOf(tree, capabilities)
  expect(shownOf(await mounted.everything(capabilities.xattrs), capabilities, wanted)).toEqual(wanted)
  expect(mounted.reports).toEqual([])
}

/** A time that the reference does not know, because a clock gave it, is not compared. */
function shownOf(everything: readonly Seen[], kept: Capabilities, wanted: Snapshot): Snapshot {
  const shown: Snapshot = {}
  for (const { path, attr, content, xattrs } of everything) {
    expect(shown, 'listed twice').not.toHaveProperty([path])
    const { mode, uid, gid, mtime, atime } = attr
    shown[path] = {
      ...kindOf(attr, content),
      ...(kept.modes && (mode & S_IFMT) !== S_IFLNK ? { mode: mode & 0o7777 } : {}),
      ...(kept.owners ? { uid, gid } : {}),
      ...(wanted[path]?.mtime === undefined ? {} : { mtime }),
      ...(wanted[path]?.atime === undefined ? {} : { atime }),
      ...(Object.keys(xattrs).length > 0 ? { xattrs } : {}),
    }
  }
  return shown
}

function kindOf({ mode, rdev }: Attr, content: string): Record<string, unknown> {
  const type = mode & S_IFMT
  if (type === S_IFLNK) return { link: content }
  if (type === S_IFDIR) return { directory: true }
  return type === S_IFREG ? { file: content } : { special: type, rdev }
}

/** How a call ended: undefined, or the errno's name. What is not an errno is no outcome. */
export async function outcomeOf(call: Promise<unknown>): Promise<Outcome> {
  try {
    await call
    return undefined
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}

export function command(
  text: string,
  run: (model: Model, real: Real) => Promise<void>,
  check: (model: Readonly<Model>) => boolean = () => true,
): Command {
  return {
    check,
    run: async (model, real) => {
      await run(model, real)
      await compareTrees(model, real)
    },
    toString: () => text,
  }
}

/** Both sides must end alike. */
export function alike(
  text: string,
  real: (real: Real, model: Model) => Promise<unknown>,
  plain: (model: Model) => Outcome,
): Command {
  return command(text, async (model, side) => {
    const got = await outcomeOf(real(side, model))
    expect(got, text).toBe(plain(model))
  })
}

/** Something with one of the open files; slots beyond them begin again at the first. */
export function onHandle(
  text: string,
  slot: number,
  run: (file: PlainFile, open: OpenFile, real: Real, model: Model) => Promise<void>,
): Command {
  return command(
    `${text} through handle ${slot}`,
    (model, real) => {
      const at = slot % model.open.length
      return run(model.open[at]!, real.open[at]!, real, model)
    },
    model => model.open.length > 0,
  )
}
