// What `npm start` serves: the storage that the user named, or a temporary folder with a few files in it. And how the
// host looks at the same storage, past the daemon.

import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseStorage, processSources } from '@ovfs/cli'
import { Operator } from '@ovfs/opendal-fs'

export interface DemoStorage {
  readonly uri: string
  /** Further arguments for `ovfs serve`. */
  readonly args: readonly string[]
  /** The same storage from the host; undefined for one that lives inside the daemon. */
  host(): Operator | undefined
  remove(): void
}

export function demoStorage(uri: string | undefined, args: readonly string[]): DemoStorage {
  if (uri !== undefined) return { uri, args, host: () => hostView(uri, args), remove: () => {} }
  const dir = mkdtempSync(join(tmpdir(), 'ovfs-demo-'))
  mkdirSync(join(dir, 'poems'))
  writeFileSync(
    join(dir, 'hello.txt'),
    'Hello from the host. This file is in the storage; the guest sees it in /mnt/ovfs.\n',
  )
  writeFileSync(join(dir, 'poems', 'haiku.txt'), 'old pond\na frog leaps in\nwater’s sound\n')
  writeFileSync(join(dir, 'numbers.csv'), Array.from({ length: 1000 }, (_, n) => `${n},${n * n}\n`).join(''))
  const remove = () => rmSync(dir, { recursive: true, force: true })
  return { uri: `fs://${dir}`, args, host: () => new Operator('fs', { root: dir }), remove }
}

function hostView(uri: string, args: readonly string[]): Operator | undefined {
  const assignments = args.filter((_, index) => args[index - 1] === '-o')
  const { service, options } = parseStorage(uri, assignments, processSources)
  return service.name === 'memory' ? undefined : new Operator(service.name, options)
}

/** Reads the file past the daemon and compares it with what the guest has seen. */
export async function agree(
  storage: DemoStorage,
  path: string,
  seenByGuest: string,
  print: (text: string) => void,
): Promise<void> {
  const host = storage.host()
  if (host === undefined) {
    print('host: this storage lives inside the daemon, so there is nothing to compare with\n')
    return
  }
  const data = await host.read(path)
  const md5 = createHash('md5').update(data).digest('hex')
  if (md5 !== seenByGuest) throw new Error(`the storage holds ${data.length} bytes with md5 ${md5}`)
  print(`host: the storage holds ${data.length} bytes with the same md5\n`)
}
