// The host's half of the guest checks: what `host VERB PATH ..` in a guest script does with the storage. A verb that finds
// something else than the guest claims rejects, and the script fails with its words.

import { createHash } from 'node:crypto'
import type { Operator } from '@ovfs/opendal-fs'

export function hostCalls(host: Operator): (call: string) => Promise<void> {
  const verbs: Record<string, (path: string, rest: string) => Promise<unknown>> = {
    put: (path, text) => host.write(path, text),
    delete: path => host.delete(path),
    text: async (path, text) => equal((await host.read(path)).toString('utf8').trimEnd(), text),
    same: async (path, md5) =>
      equal(
        createHash('md5')
          .update(await host.read(path))
          .digest('hex'),
        md5,
      ),
    size: async (path, bytes) => equal(String((await host.stat(path)).contentLength), bytes),
    gone: async path => equal(String(await host.exists(path)), 'false'),
    fill: async (path, count) => {
      await host.createDir(`${path}/`)
      const names = Array.from({ length: Number(count) }, (_, index) => `${path}/host-${index}`)
      while (names.length > 0) await Promise.all(names.splice(0, 16).map(name => host.write(name, name)))
    },
  }
  return async call => {
    const [, verb = '', path = '', rest = ''] = /^(\S+) (\S+) ?(.*)$/.exec(call) ?? []
    const run = verbs[verb]
    if (run === undefined) throw new Error(`no such call: ${call}`)
    await run(path, rest)
  }
}

function equal(found: string, expected: string): void {
  if (found !== expected)
    throw new Error(`the storage says ${found.slice(0, 80)}, not ${expected.slice(0, 80)}`)
}
