// Names on services whose signatures, encodings or listings alter some, each on a real server: what is written is found under its
// name by the next daemon, and what other programs have stored is reached too and never taken for another object.

import { setTimeout as sleep } from 'node:timers/promises'
import { Operator } from '@ovfs/opendal-fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForAzurite, startAzurite } from '../harness/azurite.ts'
import { missingForGcs, startGcs } from '../harness/gcs.ts'
import { missingForRclone, startRclone } from '../harness/rclone.ts'
import { missingForWebdav, startWebdav } from '../harness/webdav.ts'
import { Mounted } from '../model/mounted.ts'

const NAMES = [
  'plain',
  'two words',
  '%41',
  '100%',
  'a+b',
  'a#b?c&d=e',
  'naïve',
  '日本語',
  ' both ends ',
  'back\\slash',
  'new\nline',
  'tab\t, bell\x07, delete\x7f',
  'pictures \u240a \u2421',
  '.ovfs-own',
  '.env',
  "it's (fine)!~*",
]

async function put(share: Mounted, path: string, content: string): Promise<void> {
  const file = await share.create(path, 0o640)
  await share.client.write(file.node, file.fh, 0, Buffer.from(content))
  await file.close()
}

async function text(share: Mounted, path: string): Promise<string> {
  const file = await share.create(path, 0o640)
  const bytes = await file.readAll()
  await file.close()
  return Buffer.from(bytes).toString()
}

const exists = (share: Mounted, path: string) => share.at(path, async () => true).catch(() => false)

/** All the keys of an operator, without what ovfs keeps for itself. */
async function keys(operator: Operator): Promise<string[]> {
  const entries = await operator.list('/', { recursive: true })
  return entries
    .map(entry => entry.path())
    .filter(key => !key.endsWith('/') && !key.includes('.ovfs-attributes'))
    .sort()
}

interface Row {
  readonly name: string
  readonly scheme: string
  readonly missing: string | undefined
  readonly start: () => Promise<{ options: Record<string, string>; stop: () => Promise<void> }>
  readonly beforeMount?: () => Promise<void>
}

const ROWS: readonly Row[] = [
  {
    name: 'GCS',
    scheme: 'gcs',
    missing: missingForGcs(),
    start: async () => {
      const { options, stop } = await startGcs()
      return { options: { ...options }, stop }
    },
  },
  {
    name: 'Azure Blob with an account key',
    scheme: 'azblob',
    missing: missingForAzurite(),
    start: async () => {
      const { options, key, stop } = await startAzurite()
      return { options: { ...options, ...key }, stop }
    },
  },
  {
    name: 'Azure Blob with a shared access signature',
    scheme: 'azblob',
    missing: missingForAzurite(),
    start: async () => {
      const { options, sas, stop } = await startAzurite()
      return { options: { ...options, ...sas }, stop }
    },
  },
  {
    name: 'WebDAV by Apache',
    scheme: 'webdav',
    missing: missingForWebdav(),
    start: async () => {
      const { options, stop } = await startWebdav()
      return { options: { ...options }, stop }
    },
  },
  {
    name: 'WebDAV by rclone',
    scheme: 'webdav',
    missing: missingForRclone(),
    start: async () => {
      const { options, stop } = await startRclone()
      return { options: { ...options }, stop }
    },
    // Until then it remembers names as they were given, and not as its folder spells them.
    beforeMount: () => sleep(1_100),
  },
]

describe.each(ROWS)('$name', ({ scheme, missing, start, beforeMount }) => {
  describe.skipIf(missing !== undefined)(missing === undefined ? 'started' : `needs ${missing}`, () => {
    let options: Record<string, string>
    let stop: () => Promise<void>
    let shares = 0
    const mounted: Mounted[] = []

    beforeAll(async () => {
      const server = await start()
      options = server.options
      stop = server.stop
    }, 60_000)

    afterAll(async () => {
      for (const share of mounted) await share.unmount()
      await stop()
    })

    /** A share of its own, and another one for each call on the same place. */
    const place = () => {
      const root = `/share${++shares}/`
      const operator = () => new Operator(scheme, { ...options, root })
      return {
        outside: operator(),
        mount: async () => {
          await beforeMount?.()
          const share = await Mounted.mount(operator(), { scheme })
          mounted.push(share)
          return share
        },
      }
    }

    test('every name is written, listed, changed, renamed and removed, and keeps its mode', async () => {
      const { outside, mount } = place()
      let share = await mount()
      for (const name of NAMES) {
        await put(share, `/${name}`, `of ${name}`)
        await share.in(`/dir ${name}`, (parent, last) =>
          share.client.mkdir(parent, last, 0o700).then(() => undefined),
        )
        await put(share, `/dir ${name}/${name}`, `in ${name}`)
      }
      share = await mount()
      const seen = new Map((await share.everything(false)).map(file => [file.path, file]))
      expect([...seen.keys()].sort()).toEqual(
        NAMES.flatMap(name => [name, `dir ${name}`, `dir ${name}/${name}`]).sort(),
      )
      for (const name of NAMES) {
        // Latin-1 is how the listing's contents are compared.
        const latin = (content: string) => Buffer.from(content).toString('latin1')
        expect(seen.get(name)?.content).toBe(latin(`of ${name}`))
        expect((seen.get(name)!.attr.mode & 0o777).toString(8)).toBe('640')
        expect(seen.get(`dir ${name}/${name}`)?.content).toBe(latin(`in ${name}`))
      }
      for (const name of NAMES) {
        await put(share, `/${name}`, `OF ${name}`)
        await share.client.rename(1, name, 1, `moved ${name}`)
        await share.client.rename(1, `dir ${name}`, 1, `moved dir ${name}`)
      }
      share = await mount()
      for (const name of NAMES) {
        expect(await exists(share, `/${name}`)).toBe(false)
        expect(await text(share, `/moved ${name}`)).toBe(`OF ${name}`)
        expect(await text(share, `/moved dir ${name}/${name}`)).toBe(`in ${name}`)
        await share.client.unlink(1, `moved ${name}`)
        await share.in(`/moved dir ${name}/x`, parent => share.client.unlink(parent, name))
        await share.client.rmdir(1, `moved dir ${name}`)
      }
      expect(await keys(outside)).toEqual([])
    })

    test('each name is an object of its own: %41 and A, %20 and a blank', async () => {
      const { mount } = place()
      let share = await mount()
      const names = ['A', '%41', '%2541', 'my file', 'my%20file', 'my+file', 'my%2520file']
      for (const name of names) await put(share, `/${name}`, name)
      share = await mount()
      for (const name of names) expect(await text(share, `/${name}`)).toBe(name)
      expect((await share.everything(false)).map(({ path }) => path).sort()).toEqual(names.sort())
    })
  })
})

describe.skipIf(missingForGcs() !== undefined)('objects of other programs on GCS', () => {
  test('are read, changed, renamed and removed under their names, and no other object is touched', async () => {
    const server = await startGcs()
    const upload = async (key: string, content: string) => {
      const query = `uploadType=media&name=${encodeURIComponent(key)}`
      const { bucket, endpoint } = server.options
      await fetch(`${endpoint}/upload/storage/v1/b/${bucket}/o?${query}`, { method: 'POST', body: content })
    }
    const operator = () => new Operator('gcs', { ...server.options })
    const names = ['my file', 'naïve', '100%', 'a+b', 'a#b']
    for (const name of names) {
      await upload(name, `foreign ${name}`)
      await upload(`their dir/${name}`, `deep ${name}`)
    }
    let share = await Mounted.mount(operator(), { scheme: 'gcs' })
    for (const name of names) expect(await text(share, `/${name}`)).toBe(`foreign ${name}`)
    const seen = (await share.everything(false)).map(({ path }) => path).sort()
    expect(seen).toEqual([...names, 'their dir', ...names.map(name => `their dir/${name}`)].sort())
    const before = await keys(operator())
    for (const name of names) {
      await put(share, `/${name}`, `CHANGED ${name}`)
      await put(share, `/their dir/${name}`, `CHANGED deep ${name}`)
    }
    await put(share, '/their dir/new', 'new')
    await share.in('/their dir/sub', (parent, name) =>
      share.client.mkdir(parent, name, 0o755).then(() => undefined),
    )
    await share.unmount()
    const after = (await keys(operator())).filter(key => !key.endsWith('.ovfs-dir'))
    expect(after).toEqual([...before, 'their dir/new'].sort())
    share = await Mounted.mount(operator(), { scheme: 'gcs' })
    for (const name of names) {
      expect(await text(share, `/${name}`)).toBe(`CHANGED ${name}`)
      expect(await text(share, `/their dir/${name}`)).toBe(`CHANGED deep ${name}`)
    }
    await share.in('/their dir/sub', (parent, name) => share.client.rmdir(parent, name))
    await share.client.rename(1, 'their dir', 1, 'our-dir')
    for (const name of names) {
      expect(await text(share, `/our-dir/${name}`)).toBe(`CHANGED deep ${name}`)
      await put(share, '/x', 'replaces')
      await share.client.rename(1, 'x', 1, name)
      expect(await text(share, `/${name}`)).toBe('replaces')
      await share.client.unlink(1, name)
      expect(await exists(share, `/${name}`)).toBe(false)
    }
    expect(await exists(share, '/their dir')).toBe(false)
    await share.unmount()
    expect((await keys(operator())).filter(key => !key.startsWith('our-dir/'))).toEqual([])
    await server.stop()
  })
})

describe.skipIf(missingForAzurite() !== undefined)('objects of other programs on Azure Blob', () => {
  test('with a percent sign are reached; with an account key only their directories cannot be listed', async () => {
    const { options, key, sas, stop } = await startAzurite()
    const outside = new Operator('azblob', { ...options, ...sas })
    for (const name of ['100%', '%41', 'A']) await outside.write(name, `foreign ${name}`)
    await outside.write('dir%41/f', 'below')
    const withSas = await Mounted.mount(new Operator('azblob', { ...options, ...sas }), { scheme: 'azblob' })
    for (const name of ['100%', '%41', 'A']) expect(await text(withSas, `/${name}`)).toBe(`foreign ${name}`)
    await put(withSas, '/100%', 'changed')
    await withSas.unmount()
    expect(String(await outside.read('100%'))).toBe('changed 100%')
    const withKey = await Mounted.mount(new Operator('azblob', { ...options, ...key }), { scheme: 'azblob' })
    expect(await text(withKey, '/%41')).toBe('foreign %41')
    expect(await text(withKey, '/dir%41/f')).toBe('below')
    await expect(withKey.everything(false)).rejects.toMatchObject({ code: 'EACCES' })
    await put(withKey, '/50%', 'new')
    expect(await text(withKey, '/50%')).toBe('new')
    expect(await text(withKey, '/A')).toBe('foreign A')
    await withKey.unmount()
    await stop()
  })
})
