// Renames on S3, where a move is a copy and a deletion: the source is deleted only when the target is known to be its copy, and
// only while it is still the version that was copied.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs, StateFolder } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { Storage } from '../src/storage/storage.ts'
import { CrashRig, files } from './crash-rig.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest } from './guest.ts'
import { PlainS3, type S3Request, s3Error } from './plain-s3.ts'

const isCopy = ({ copyOf }: S3Request): boolean => copyOf !== undefined

let s3: PlainS3
let folder: string
let errors: Error[]
let close: () => Promise<void>
let guest: Guest

beforeEach(async () => {
  s3 = await PlainS3.start()
  folder = mkdtempSync(join(tmpdir(), 'ovfs-moves-'))
  errors = []
  close = async () => undefined
})
afterEach(async () => {
  await close()
  await s3.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Options {
  readonly writeBack?: boolean
  readonly state?: boolean
  readonly root?: string
}

async function start({ writeBack = false, state = writeBack, root = '/' }: Options = {}): Promise<void> {
  const opened = state ? await StateFolder.open(folder) : undefined
  const fs = new OpendalFs(new Operator('s3', { ...s3.options, root }), {
    scheme: 's3',
    attrs: 'none',
    writeBack,
    ...(opened && { state: opened }),
    onError: error => errors.push(error),
  })
  if (opened !== undefined) await fs.replay()
  guest = new Guest(fs)
  close = async () => {
    close = async () => undefined
    await fs.close()
    await opened?.close()
  }
}

function storage(): Storage {
  return new Storage(new Operator('s3', s3.options), {
    scheme: 's3',
    timeoutMs: 1000,
    readOnly: false,
    onError: error => errors.push(error),
  })
}

const texts = (): string => errors.map(String).join('\n')

describe.each([
  { mode: 'without a journal', options: {} },
  { mode: 'with a journal', options: { state: true } },
  { mode: 'with write-back', options: { writeBack: true } },
])('$mode', ({ options }) => {
  beforeEach(() => start(options))

  it('a rename whose copy is answered 200 with an error loses nothing', async () => {
    s3.put('a', 'payload')
    s3.intercept = request => (isCopy(request) ? s3Error('InternalError', 200) : undefined)
    await guest.rename('a', 'b')
    expect(s3.texts()).toEqual({ b: 'payload' })
    expect(await guest.names('/')).toEqual(['b'])
  })

  it('an object of the same size that another client stores at the target is not taken for the copy', async () => {
    s3.put('a', 'mine')
    s3.put('d/f', 'mine too')
    s3.intercept = ({ copyOf, key }) => {
      if (copyOf === undefined) return undefined
      s3.put(key, copyOf === 'a' ? 'them' : 'them too')
      return s3Error('InternalError', 200)
    }
    await guest.rename('a', 'b')
    await guest.rename('d', 'e')
    const stored = Object.entries(s3.texts()).filter(([key]) => !key.endsWith('/'))
    expect(Object.fromEntries(stored)).toEqual({ b: 'mine', 'e/f': 'mine too' })
  })

  it('a rename whose copy never arrives is EIO, and leaves source and target as they were', async () => {
    s3.put('a', 'payload')
    s3.put('b', 'another')
    s3.intercept = request =>
      isCopy(request) || (request.method === 'PUT' && request.key === 'b')
        ? s3Error('InternalError', 200)
        : undefined
    await expect(guest.rename('a', 'b')).rejects.toMatchObject({ code: 'EIO' })
    expect(s3.texts()).toEqual({ a: 'payload', b: 'another' })
    s3.intercept = () => undefined
    expect([await guest.text('a'), await guest.text('b')]).toEqual(['payload', 'another'])
    expect(texts()).toMatch(/"b".* is not the copy of "a"/)
  })

  it('a directory rename of which one copy is answered 200 with an error loses nothing', async () => {
    for (let n = 0; n < 10; n++) s3.put(`d/${n}`, `content ${n}`)
    s3.intercept = request => (request.copyOf === 'd/7' ? s3Error('SlowDown', 200) : undefined)
    await guest.rename('d', 'e')
    expect(Object.keys(s3.texts()).filter(key => !key.endsWith('/'))).toEqual(
      Array.from({ length: 10 }, (_, n) => `e/${n}`),
    )
    expect(await guest.text('e/7')).toBe('content 7')
  })

  it('a directory rename of which one copy never arrives is EIO, and leaves the directory whole', async () => {
    for (let n = 0; n < 10; n++) s3.put(`d/${n}`, `content ${n}`)
    const before = s3.texts()
    s3.intercept = ({ method, key }) =>
      method === 'PUT' && key === 'e/7' ? s3Error('SlowDown', 200) : undefined
    await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EIO' })
    expect(s3.texts()).toEqual(before)
    s3.intercept = () => undefined
    await guest.rename('d', 'e')
    expect(await guest.text('e/7')).toBe('content 7')
  })

  it('an object that another host stores at the source during the copy stays there', async () => {
    s3.put('a', 'older')
    s3.before = request => {
      if (isCopy(request)) s3.put('a', 'newer')
    }
    await guest.rename('a', 'b')
    expect(s3.texts()).toEqual({ a: 'newer', b: 'older' })
    expect([await guest.text('a'), await guest.text('b')]).toEqual(['newer', 'older'])
    expect(await guest.names('/')).toEqual(['a', 'b'])
    expect(texts()).toMatch(/"a" was replaced by another client while it was being moved to "b"/)
  })

  it('a file that another host stores in a directory during its rename stays, and the directory with it', async () => {
    for (let n = 0; n < 10; n++) s3.put(`d/${n}`, `older ${n}`)
    s3.before = ({ copyOf }) => {
      if (copyOf === 'd/3') s3.put('d/3', 'newer 3')
      if (copyOf === 'd/4') s3.put('d/new', 'new')
    }
    await guest.rename('d', 'e')
    expect(s3.texts()).toMatchObject({ 'd/3': 'newer 3', 'd/new': 'new', 'e/3': 'older 3', 'e/4': 'older 4' })
    expect(s3.objects.has('d/4')).toBe(false)
    expect(await guest.names('/')).toEqual(['d', 'e'])
    expect(await guest.names('d')).toEqual(['3', 'new'])
  })
})

it('a rename over a target of the same size is not taken for done because the target is there', async () => {
  await start()
  s3.put('a', 'AAAA', {}, 'multipart-2')
  s3.put('b', 'BBBB')
  s3.intercept = request => (isCopy(request) ? s3Error('InternalError', 200) : undefined)
  await guest.rename('a', 'b')
  expect(s3.texts()).toEqual({ b: 'AAAA' })
})

it('a rename of an object whose etag a copy does not keep needs no bytes', async () => {
  await start()
  s3.put('a', 'AAAA', {}, 'multipart-2')
  s3.put('b', 'BBBB')
  await guest.rename('a', 'b')
  expect(s3.texts()).toEqual({ b: 'AAAA' })
  expect(s3.count('GET')).toBe(0)
})

it('a rename asks for both objects once after the copy, and for nothing else', async () => {
  await start()
  await guest.put('a', 'A')
  s3.requests = []
  await guest.rename('a', 'b')
  expect(
    s3.requests
      .filter(request => !request.startsWith('LIST'))
      .slice(-4)
      .sort(),
  ).toEqual(['COPY b', 'DELETE a', 'HEAD a', 'HEAD b'])
})

describe.each([
  { mode: 'published', writeBack: false },
  { mode: 'closed with write-back', writeBack: true },
])('after a kill at any step ($mode)', ({ writeBack }) => {
  let rig: CrashRig

  /** Kills a rename after each number of steps, lets another host act, and looks at what the next daemon makes of it. */
  async function atEachStep(
    prepare: (guest: Guest) => Promise<void>,
    [from, to]: [string, string],
    afterKill: () => void,
    check: () => Promise<void>,
  ): Promise<void> {
    for (let steps = 0; ; steps++) {
      s3.objects.clear()
      rig = new CrashRig('s3', new Operator('s3', s3.options), { writeBack })
      await rig.start()
      await prepare(rig.guest)
      const frozen = rig.freezeAfter(steps).then(() => 'killed' as const)
      const renaming = rig.guest.rename(from, to).then(() => 'done' as const)
      renaming.catch(() => undefined)
      const outcome = await Promise.race([frozen, renaming])
      if (outcome === 'killed') {
        await rig.kill()
        await rig.faults.idle()
        afterKill()
        await rig.start()
        await check()
      } else rig.faults.before = () => undefined
      await rig.close()
      rig.remove()
      if (outcome === 'done') break
    }
  }

  it('a file whose copies are answered 200 with an error is in exactly one place', async () => {
    s3.intercept = request => (isCopy(request) ? s3Error('InternalError', 200) : undefined)
    const prepare = (guest: Guest) => guest.put('a', 'payload')
    await atEachStep(
      prepare,
      ['a', 'b'],
      () => undefined,
      async () => {
        expect([{ a: 'payload' }, { b: 'payload' }]).toContainEqual(await files(rig.guest))
      },
    )
  })

  it('a directory whose copies are answered 200 with an error is in exactly one place', async () => {
    s3.intercept = request => (isCopy(request) ? s3Error('InternalError', 200) : undefined)
    const prepare = async (guest: Guest) => {
      await guest.mkdir('d')
      for (const name of ['1', '2', '3']) await guest.put(`d/${name}`, name)
    }
    await atEachStep(
      prepare,
      ['d', 'm'],
      () => undefined,
      async () => {
        const all = { 'd/1': '1', 'd/2': '2', 'd/3': '3' }
        const moved = { 'm/1': '1', 'm/2': '2', 'm/3': '3' }
        expect([all, moved]).toContainEqual(await files(rig.guest))
      },
    )
  })

  it('an object that another host has stored at the source since is there', async () => {
    await atEachStep(
      async guest => {
        await guest.put('a', 'older')
        await guest.fs.syncfs()
      },
      ['a', 'b'],
      () => s3.put('a', 'newer'),
      async () => {
        expect([{ a: 'newer' }, { a: 'newer', b: 'older' }]).toContainEqual(await files(rig.guest))
        // Nothing of it is a reason to keep bytes back.
        expect(rig.report?.conflicts).toEqual([])
      },
    )
  })

  it('a file that another host has stored in the old directory since is there, and the others are moved', async () => {
    await atEachStep(
      async guest => {
        await guest.mkdir('d')
        for (const name of ['1', '2', '3']) await guest.put(`d/${name}`, name)
        await guest.fs.syncfs()
        for (const [key, object] of s3.objects) s3.objects.set(key, { ...object, modified: new Date(0) })
      },
      ['d', 'm'],
      () => s3.put('d/1', 'newer'),
      async () => {
        const found = await files(rig.guest)
        const newer = Object.values(found).filter(text => text === 'newer')
        expect(newer).toHaveLength(1)
        expect(
          Object.values(found)
            .filter(text => text === '2' || text === '3')
            .sort(),
        ).toEqual(['2', '3'])
      },
    )
  })
})

describe('a service without a copy', () => {
  const MIB = 1 << 20

  it.each([
    ['501 NotImplemented', s3Error('NotImplemented', 501), 1],
    ['400 NotImplemented', s3Error('NotImplemented', 400), 1],
    ['405 MethodNotAllowed', s3Error('MethodNotAllowed', 405), 1],
    ['400 InvalidRequest, as for an object that is too large', s3Error('InvalidRequest', 400), 2],
    ['400 EntityTooLarge', s3Error('EntityTooLarge', 400), 2],
  ])('a rename meets %s: the bytes go through the host, with all headers', async (_, refusal, copies) => {
    const headers = {
      'content-type': 'text/x-a',
      'cache-control': 'no-store',
      'x-amz-meta-mtime': '12',
      'x-amz-meta-of': 'a',
    }
    s3.put('a', 'payload', headers)
    s3.put('c', 'other')
    s3.intercept = request => (isCopy(request) ? refusal : undefined)
    await start()
    await guest.rename('a', 'b')
    await guest.rename('c', 'd')
    expect(s3.texts()).toEqual({ b: 'payload', d: 'other' })
    expect(s3.objects.get('b')?.headers).toMatchObject(headers)
    // Asked for once if the service has none at all.
    expect(s3.count('COPY')).toBe(copies)
  })

  it('a refusal of access is no reason to read the bytes', async () => {
    s3.put('a', 'payload')
    s3.intercept = request => (isCopy(request) ? s3Error('AccessDenied', 403) : undefined)
    await start()
    await expect(guest.rename('a', 'b')).rejects.toMatchObject({ code: 'EACCES' })
    expect(s3.texts()).toEqual({ a: 'payload' })
    expect(s3.count('GET')).toBe(0)
  })

  it('a large object goes through the host in parts, all of one version', async () => {
    const older = Buffer.alloc(20 * MIB, 'older ')
    const newer = Buffer.alloc(20 * MIB, 'newer ')
    s3.put('a', older)
    let reads = 0
    s3.intercept = request => {
      if (request.method === 'GET' && request.key === 'a' && ++reads === 2) s3.put('a', newer)
      return isCopy(request) ? s3Error('NotImplemented', 501) : undefined
    }
    await start()
    await guest.rename('a', 'b')
    expect(Object.keys(s3.texts())).toEqual(['b'])
    expect(s3.objects.get('b')!.bytes.equals(newer)).toBe(true)
    expect(s3.objects.get('b')!.etag).toMatch(/-3"$/)
  })

  it('what another host stores at the source while the bytes go through the host stays there', async () => {
    s3.put('a', 'older')
    s3.intercept = request => (isCopy(request) ? s3Error('NotImplemented', 501) : undefined)
    s3.before = ({ method, key, copyOf }) => {
      if (method === 'PUT' && key === 'b' && copyOf === undefined) s3.put('a', 'newer')
    }
    await start()
    await guest.rename('a', 'b')
    expect(s3.texts()).toEqual({ a: 'newer', b: 'older' })
  })

  it('a directory moves through the host', async () => {
    for (let n = 0; n < 10; n++) s3.put(`d/s/${n}`, `content ${n}`)
    s3.intercept = request => (isCopy(request) ? s3Error('NotImplemented', 501) : undefined)
    await start()
    await guest.rename('d', 'e')
    expect(Object.keys(s3.texts()).filter(key => !key.endsWith('/'))).toEqual(
      Array.from({ length: 10 }, (_, n) => `e/s/${n}`),
    )
  })

  it.each([
    [5 * 2 ** 30, true],
    [5 * 2 ** 30 + 1, false],
  ])('S3 is asked to copy an object of %d bytes: %s', (size, expected) => {
    expect(storage().canCopy(size)).toBe(expected)
  })
})

it('a service that tells neither etag nor time: what another host stores at the source stays there', async () => {
  const outside = new Operator('memory', {})
  const faults = new Faults()
  const fs = new OpendalFs(faulty(outside, faults), {
    scheme: 'memory',
    attrs: 'none',
    onError: error => errors.push(error),
  })
  close = () => fs.close()
  guest = new Guest(fs)
  await guest.put('a', 'older')
  faults.after = async (operation, key) => {
    if (operation === 'write' && key === 'b') await outside.write('a', 'newer')
  }
  await guest.rename('a', 'b')
  expect([String(await outside.read('a')), String(await outside.read('b'))]).toEqual(['newer', 'older'])
  expect(await guest.names('/')).toEqual(['a', 'b'])
})

it('a server that moves only a part of a directory: the rest is moved file by file', async () => {
  const outside = new Operator('fs', { root: folder })
  const faults = new Faults()
  const fs = new OpendalFs(faulty(outside, faults), {
    scheme: 'webdav',
    attrs: 'none',
    onError: error => errors.push(error),
  })
  close = () => fs.close()
  guest = new Guest(fs)
  await guest.mkdir('d')
  for (const name of ['1', '2', '3']) await guest.put(`d/${name}`, name)
  faults.before = async operation => {
    if (operation !== 'rename') return
    await outside.createDir('e/')
    await outside.rename('d/2', 'e/2')
    throw new Error(
      'Unexpected (permanent) at rename, context: { response: Parts { status: 207, } } => multi-status',
    )
  }
  await guest.rename('d', 'e')
  faults.before = () => undefined
  expect(await guest.names('/')).toEqual(['e'])
  expect(await files(guest, 'e')).toEqual({ 'e/1': '1', 'e/2': '2', 'e/3': '3' })
  expect(await outside.exists('d/')).toBe(false)
})

describe('keys that OpenDAL would take for others', () => {
  it('a directory that holds `..` is refused, and nothing is moved, inside and outside of the root', async () => {
    const objects = {
      'other/f': 'outside',
      'team/d/../../other/f': 'raw outside',
      'team/d/../x': 'raw x',
      'team/d/ok': 'ok',
      'team/x': 'x',
    }
    for (const [key, content] of Object.entries(objects)) s3.put(key, content)
    await start({ root: '/team/' })
    s3.requests = []
    await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EIO' })
    expect(s3.texts()).toEqual(objects)
    expect(s3.requests.filter(request => !/^(HEAD|LIST) team\//.test(request))).toEqual([])
    expect(texts()).toMatch(/cannot move "d\/": .*"d\/\.\.\/"/)
  })

  it.each(['g//f', 'g/./f', 'g/sub/../f', 'g/f ', 'g/sub/ /..'])(
    'a directory that holds %j stays whole',
    async key => {
      const objects = { 'g/f': 'f', 'g/sub/f': 'sub', [key]: 'raw' }
      for (const [key, content] of Object.entries(objects)) s3.put(key, content)
      await start()
      await expect(guest.rename('g', 'h')).rejects.toMatchObject({ code: 'EIO' })
      expect(s3.texts()).toEqual(objects)
      await expect(guest.rmdir('g')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
      expect(await guest.text('g/f')).toBe('f')
      await guest.unlink('g/f')
      await expect(guest.unlink('g/f')).rejects.toMatchObject({ code: 'ENOENT' })
      expect(s3.texts()[key]).toBe('raw')
    },
  )

  it('an empty directory at the target stays when the rename is refused', async () => {
    s3.put('g//f', 'raw')
    s3.put('g/f', 'f')
    await start()
    await guest.mkdir('h')
    await expect(guest.rename('g', 'h')).rejects.toMatchObject({ code: 'EIO' })
    expect(await guest.names('/')).toEqual(['g', 'h'])
    expect(s3.objects.has('h/')).toBe(true)
  })

  it('removing a tree leaves them alone', async () => {
    const objects = { 'd/../x': 'raw x', 'd/./y': 'raw y', 'd//z': 'raw z', x: 'x' }
    for (const [key, content] of Object.entries(objects)) s3.put(key, content)
    s3.put('d/ok', 'ok')
    await start()
    for (const { name } of await guest.readdir('d', { plus: true }))
      await guest
        .unlink(`d/${name}`)
        .catch(() => guest.rmdir(`d/${name}`))
        .catch(() => undefined)
    await expect(guest.rmdir('d')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    expect(s3.texts()).toMatchObject(objects)
    expect(s3.objects.has('d/ok')).toBe(false)
  })
})

it('a directory move that fails deletes no object that another client has put in place of a copy', async () => {
  s3.put('d/a', 'ours')
  s3.put('d/b', 'other')
  await start()
  const isOfB = ({ key, method }: S3Request) => key === 'e/b' && method === 'PUT'
  s3.intercept = request => (isOfB(request) ? s3Error('InvalidRequest', 400) : undefined)
  s3.before = request => {
    if (isOfB(request)) s3.put('e/a', 'THEM')
  }
  await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EIO' })
  expect(s3.texts()).toMatchObject({ 'd/a': 'ours', 'd/b': 'other', 'e/a': 'THEM' })
})

it('a directory move that fails deletes the copies that it has made', async () => {
  s3.put('d/a', 'ours')
  s3.put('d/b', 'other')
  await start()
  s3.intercept = ({ key, method }) =>
    key === 'e/b' && method === 'PUT' ? s3Error('InvalidRequest', 400) : undefined
  await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EIO' })
  expect(Object.keys(s3.texts())).toEqual(['d/a', 'd/b'])
})
