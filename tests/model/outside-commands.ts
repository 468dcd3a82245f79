// What another host does to the storage meanwhile, without this file system: it shows in the guest, and nothing else changes.

import fc from 'fast-check'
import { data, plainPath } from './arbitraries.ts'
import { command } from './command.ts'
import { FILE_MODE, PlainFile } from './reference.ts'

/** On files that no handle is open on: a conflict is another test's matter. */
export const fromOutside = [
  fc.tuple(plainPath, data).map(([path, data]) =>
    command(
      `another host puts ${path} ${data.length}`,
      async ({ tree }, { outside }) => {
        await outside.write(path, Buffer.from(data))
        const file = tree.create(path, FILE_MODE) as PlainFile
        file.resize(0)
        file.write(0, data)
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
