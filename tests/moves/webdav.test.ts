// Renames on WebDAV servers. A directory moves in one step where the server can, and nothing that another client has put at the
// target meanwhile is replaced with everything in it, as MOVE would.

import { OpendalFs, Operator } from '@ovfs/opendal-fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CrashRig, files } from '../../packages/opendal-fs/test/crash-rig.ts'
import { Guest } from '../../packages/opendal-fs/test/guest.ts'
import { type Fault, FaultProxy } from '../faults/fault-proxy.ts'
import { missingForNginx, startNginx } from '../harness/nginx.ts'
import { missingForRclone, startRclone } from '../harness/rclone.ts'
import { missingForWebdav, startWebdav, type WebdavServer } from '../harness/webdav.ts'

const SERVERS = [
  { name: 'Apache', start: startWebdav, missing: missingForWebdav(), movesDirectories: true },
  { name: 'rclone', start: startRclone, missing: missingForRclone(), movesDirectories: true },
  { name: 'nginx', start: startNginx, missing: missingForNginx(), movesDirectories: false },
]
const CONTENTS = Array.from({ length: 20 }, (_, n) => `content ${n}`)

let server: WebdavServer
let proxy: FaultProxy
let outside: Operator
let errors: Error[]
let fs: OpendalFs
let guest: Guest
let requests: string[]
let fault: (method: string) => Fault | undefined

async function begin(start: () => Promise<WebdavServer>): Promise<void> {
  server = await start()
  proxy = await FaultProxy.start(server.options.endpoint)
  requests = []
  fault = () => undefined
  proxy.rule = (method, path) => {
    requests.push(`${method} ${path}`)
    return fault(method)
  }
  outside = new Operator('webdav', { ...server.options })
  errors = []
  fs = new OpendalFs(new Operator('webdav', { endpoint: proxy.endpoint }), {
    scheme: 'webdav',
    attrs: 'none',
    negativeTtlMs: 60_000,
    entryTtlMs: 60_000,
    timeoutMs: 5000,
    onError: error => errors.push(error),
  })
  guest = new Guest(fs)
}
async function end(): Promise<void> {
  fault = () => undefined
  await fs.close()
  await proxy.refuse()
  await server.stop()
}

const count = (method: string): number => requests.filter(line => line.startsWith(`${method} `)).length

async function fill(): Promise<void> {
  await outside.createDir('d/s/')
  for (const [n, content] of CONTENTS.entries()) await outside.write(`d/s/${n}`, content)
  await outside.write('d/top', 'top')
}

async function expectAt(directory: string): Promise<void> {
  for (const [n, content] of CONTENTS.entries())
    expect(String(await outside.read(`${directory}/s/${n}`))).toBe(content)
  expect(String(await outside.read(`${directory}/top`))).toBe('top')
}

describe.each(SERVERS)('on $name', ({ start, missing, movesDirectories }) => {
  beforeEach(() => begin(start))
  afterEach(end)

  test.skipIf(missing)('a directory with everything in it moves', async () => {
    await fill()
    expect(await guest.text('d/s/7')).toBe('content 7')
    requests.length = 0
    await guest.rename('d', 'e')
    await expectAt('e')
    expect(await outside.exists('d/')).toBe(false)
    expect(await guest.text('e/s/7')).toBe('content 7')
    expect(await guest.names('/')).toEqual(['e'])
    // One request instead of two for each file.
    expect(count('MOVE')).toBe(1)
    expect([count('COPY'), count('DELETE')]).toEqual(movesDirectories ? [0, 0] : [21, 23])
  })

  test.skipIf(missing)('a directory moves over an empty one', async () => {
    await fill()
    await guest.mkdir('e')
    await guest.rename('d', 'e')
    await expectAt('e')
    expect(await outside.exists('d/')).toBe(false)
  })

  test.skipIf(missing)(
    'a directory is not moved over one that another client has filled meanwhile',
    async () => {
      await fill()
      expect(await guest.exists('e')).toBe(false)
      await outside.write('e/theirs', 'theirs')
      await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
      expect(String(await outside.read('e/theirs'))).toBe('theirs')
      await expectAt('d')
      expect(await guest.names('/')).toEqual(['d', 'e'])
    },
  )

  test.skipIf(missing)(
    'a file is not moved over a directory that another client has made meanwhile',
    async () => {
      await guest.put('a', 'A')
      expect(await guest.exists('e')).toBe(false)
      await outside.write('e/theirs', 'theirs')
      await expect(guest.rename('a', 'e')).rejects.toMatchObject({ code: 'EISDIR' })
      expect(String(await outside.read('e/theirs'))).toBe('theirs')
      expect(await guest.text('a')).toBe('A')
    },
  )

  test.skipIf(missing)(
    'a directory is not moved over a file that another client has made meanwhile',
    async () => {
      await fill()
      expect(await guest.exists('e')).toBe(false)
      await outside.write('e', 'theirs')
      await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'ENOTDIR' })
      expect(String(await outside.read('e'))).toBe('theirs')
      await expectAt('d')
    },
  )
})

describe.skipIf(missingForWebdav())('on Apache, after a kill at any step', () => {
  beforeEach(() => begin(startWebdav))
  afterEach(end)

  test.each([
    { what: 'the MOVE of a directory', answer: undefined },
    { what: 'the move of a directory file by file', answer: 405 },
  ])('$what leaves every file in exactly one place', async ({ answer }) => {
    fault = method =>
      method === 'MOVE' && answer !== undefined ? { kind: 'status', status: answer, code: 'No' } : undefined
    for (let steps = 0; ; steps++) {
      const rig = new CrashRig('webdav', new Operator('webdav', { endpoint: proxy.endpoint }))
      await rig.start()
      await rig.guest.mkdir('d')
      for (const name of ['d/1', 'd/2']) await rig.guest.put(name, name)
      const frozen = rig.freezeAfter(steps).then(() => 'killed' as const)
      const renaming = rig.guest.rename('d', 'm').then(() => 'done' as const)
      renaming.catch(() => undefined)
      const outcome = await Promise.race([frozen, renaming])
      if (outcome === 'killed') {
        await rig.kill()
        await rig.faults.idle()
        await rig.start()
        const found = await files(rig.guest)
        expect([
          { 'd/1': 'd/1', 'd/2': 'd/2' },
          { 'm/1': 'd/1', 'm/2': 'd/2' },
        ]).toContainEqual(found)
        expect(rig.report?.conflicts).toEqual([])
      } else rig.faults.before = () => undefined
      await rig.close()
      rig.remove()
      for (const key of ['d/', 'm/']) await outside.removeAll(key)
      if (outcome === 'done') break
    }
  })
})

describe.skipIf(missingForWebdav())('on Apache, when MOVE', () => {
  beforeEach(() => begin(startWebdav))
  afterEach(end)

  test('happens and its answer is lost: the rename of a directory and of a file succeeds, once', async () => {
    await fill()
    await guest.put('a', 'A')
    fault = method => (method === 'MOVE' ? { kind: 'lost answer' } : undefined)
    requests.length = 0
    await guest.rename('d', 'e')
    await guest.rename('a', 'b')
    expect(count('MOVE')).toBe(2)
    await expectAt('e')
    expect(await guest.text('b')).toBe('A')
    expect(await guest.names('/')).toEqual(['b', 'e'])
  })

  test.each([207, 405, 501])(
    'is answered %d and nothing has moved: the directory moves file by file',
    async status => {
      await fill()
      fault = method => (method === 'MOVE' ? { kind: 'status', status, code: 'No' } : undefined)
      await guest.rename('d', 'e')
      await expectAt('e')
      expect(await outside.exists('d/')).toBe(false)
      expect(await guest.names('/')).toEqual(['e'])
    },
  )

  test.each([405, 501])('is answered %d: a file moves by a copy', async status => {
    await guest.put('a', 'A')
    await guest.put('b', 'another')
    fault = method => (method === 'MOVE' ? { kind: 'status', status, code: 'No' } : undefined)
    await guest.rename('a', 'b')
    expect(await guest.text('b')).toBe('A')
    expect(await guest.names('/')).toEqual(['b'])
    expect(String(await outside.read('b'))).toBe('A')
  })

  test('and COPY are refused: a file moves through the host', async () => {
    await guest.put('a', 'A')
    fault = method =>
      method === 'MOVE' || method === 'COPY' ? { kind: 'status', status: 405, code: 'No' } : undefined
    await guest.rename('a', 'b')
    expect(await guest.names('/')).toEqual(['b'])
    expect(String(await outside.read('b'))).toBe('A')
  })

  test('is refused for want of rights: EACCES, and everything stays', async () => {
    await fill()
    fault = method => (method === 'MOVE' ? { kind: 'status', status: 403, code: 'No' } : undefined)
    await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EACCES' })
    await expectAt('d')
    expect(await outside.exists('e/')).toBe(false)
  })
})
