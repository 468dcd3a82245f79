// What another host does to the storage meanwhile, without this file system: it shows in the guest, and nothing else changes.
// Where both change a file, the other host wins, and what was written here is kept on the host and nowhere else.

import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect } from 'vitest'
import { data, plainPath, slot } from './arbitraries.ts'
import { command, type Model, outcomeOf } from './command.ts'
import { PlainFile } from './reference.ts'

/**
 * Of another size than what was there, since services may tell versions apart by that alone: 500 is more than the reference
 * writes. Works on every service: what both want to change is known here, so no listing has to show it.
 */
export const conflicts = [
  fc.tuple(slot, data, fc.uint8Array({ minLength: 500, maxLength: 5000 })).map(([slot, data, theirs]) =>
    command(
      `another host changes what handle ${slot} writes`,
      async (model, real) => {
        const at = slot % model.open.length
        const lost = model.open[at]!
        const path = placeOf(model, slot)!
        const { client, node, fh } = real.open[at]!
        await client.write(node, fh, 0, data)
        lost.write(0, data)
        await real.outside.write(path, Buffer.from(theirs))
        expect(await outcomeOf(client.fsync(node, fh))).toBe('ESTALE')
        for (const at of [...model.open.keys()].reverse()) {
          if (model.open[at] !== lost) continue
          const [handle] = real.open.splice(at, 1)
          model.open.splice(at, 1)
          const outcome = await outcomeOf(handle!.close())
          // Only who has written is told.
          if (handle!.fh === fh) expect(outcome).toBe('ESTALE')
          else expect([undefined, 'ESTALE']).toContain(outcome)
        }
        await expectKept(real.recoveryDir, lost.bytes)
        const shown = model.tree.file(path)!
        replace(shown, theirs)
      },
      model => placeOf(model, slot) !== undefined,
    ),
  ),
]

/** Where the storage has a file that is open here, if no name on the way is stored escaped. */
function placeOf({ tree, open }: Readonly<Model>, slot: number): string | undefined {
  const path = open.length === 0 ? undefined : tree.pathOf(open[slot % open.length]!)
  return path?.includes(' ') ? undefined : path
}

async function expectKept(folder: string, bytes: Uint8Array): Promise<void> {
  const names = await readdir(folder)
  expect(names).toHaveLength(1)
  expect([...(await readFile(join(folder, names[0]!)))]).toEqual([...bytes])
  await rm(join(folder, names[0]!))
}

/** Times that were kept belong to a version: another host's has its own. */
function replace(file: PlainFile, data: Uint8Array): void {
  file.resize(0)
  file.write(0, data)
  file.atime = undefined
}

/** On files that no handle is open on. */
export const fromOutside = [
  fc.tuple(plainPath, data).map(([path, data]) =>
    command(
      `another host puts ${path} ${data.length}`,
      async ({ tree }, { outside }) => {
        await outside.write(path, Buffer.from(data))
        replace(tree.appear(path), data)
      },
      ({ tree, open }) => {
        const place = tree.parent(path)
        const present = tree.find(path)
        if (typeof place === 'string' || (typeof present !== 'string' && !(present instanceof PlainFile)))
          return false
        return typeof present === 'string' || !open.includes(present)
      },
    ),
  ),
  plainPath.map(path =>
    command(
      `another host deletes ${path}`,
      async ({ tree }, { outside }) => {
        await outside.delete(path)
        tree.unlink(path)
      },
      ({ tree, open }) => {
        const file = tree.file(path)
        return file !== undefined && !open.includes(file) && path.includes('/') === false
      },
    ),
  ),
]
