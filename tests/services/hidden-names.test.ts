// nginx as a WebDAV server, which leaves names that begin with a dot out of its listings and deletes a collection with
// everything in it: nothing that is not seen is destroyed, and what a share stores is found again.

import { readdirSync } from 'node:fs'
import { openStorage, parseStorage, processSources } from '@ovfs/cli'
import { findTraits, Operator } from '@ovfs/opendal-fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForNginx, startNginx } from '../harness/nginx.ts'
import { missingForWebdav, startWebdav } from '../harness/webdav.ts'
import { Mounted } from '../model/mounted.ts'

const missing = missingForNginx() ?? missingForWebdav()

describe.skipIf(missing !== undefined)(missing === undefined ? 'on nginx' : `needs ${missing}`, () => {
  let server: Awaited<ReturnType<typeof startNginx>>
  let shares = 0

  beforeAll(async () => {
    server = await startNginx()
  })
  afterAll(() => server.stop())

  const place = () => {
    const root = `/share${++shares}/`
    const operator = () => new Operator('webdav', { ...server.options, root })
    const mount = async () => {
      const found = await findTraits(operator(), 'webdav')
      expect(found).toEqual({ hidesDots: true })
      return Mounted.mount(operator(), { scheme: 'webdav', found })
    }
    return { outside: operator(), mount }
  }

  async function put(share: Mounted, path: string, content: string, mode = 0o640): Promise<void> {
    const file = await share.create(path, mode)
    await share.client.write(file.node, file.fh, 0, Buffer.from(content))
    await file.close()
  }

  const mkdir = (share: Mounted, path: string) =>
    share.in(path, async (parent, name) => {
      await share.client.forget((await share.client.mkdir(parent, name, 0o700)).nodeid)
    })

  test('the start finds it out, says so in one line and leaves nothing behind', async () => {
    const storage = parseStorage(`webdav://?endpoint=${server.options.endpoint}`, [], processSources)
    const { found, warnings } = await openStorage(storage, false, 10_000)
    expect(found).toEqual({ hidesDots: true })
    expect(warnings).toEqual([expect.stringMatching(/lists no names that begin with a dot.*rmdir fails/)])
    expect(readdirSync(server.folder).filter(name => name.startsWith('.ovfs-'))).toEqual([])
    expect((await openStorage(storage, true, 10_000)).found).toEqual({})
  })

  test('names that begin with a dot, modes and times are there after a restart', async () => {
    const { outside, mount } = place()
    let share = await mount()
    const names = ['.env', '.hidden dir', '..twice', 'ovfs-notes', 'ovfs-attributes', 'plain', 'end ']
    await mkdir(share, '/.d')
    for (const name of names) {
      await put(share, `/${name}`, name, 0o604)
      await put(share, `/.d/${name}`, `in ${name}`, 0o604)
    }
    await share.unmount()
    share = await mount()
    const seen = new Map((await share.everything(false)).map(file => [file.path, file]))
    expect([...seen.keys()].sort()).toEqual(['.d', ...names, ...names.map(name => `.d/${name}`)].sort())
    for (const name of names) {
      expect(seen.get(name)?.content).toBe(name)
      expect((seen.get(name)!.attr.mode & 0o777).toString(8)).toBe('604')
      expect((seen.get(`.d/${name}`)!.attr.mode & 0o777).toString(8)).toBe('604')
    }
    expect((seen.get('.d')!.attr.mode & 0o777).toString(8)).toBe('700')
    for (const name of names) await share.client.unlink(1, name)
    await share.unmount()
    const left = (await outside.list('/')).map(entry => entry.path()).filter(key => key !== '/')
    expect(left.filter(key => !key.startsWith('ovfs-attributes'))).toEqual([
      expect.stringMatching(/^ovfs-y-_2Ed\/$/),
    ])
  })

  test('what other programs store with a dot is reached by name, and changed and removed there', async () => {
    const { outside, mount } = place()
    await outside.write('d/.env', 'secret')
    const share = await mount()
    const file = await share.create('/d/.env', 0o600)
    expect(String(await file.readAll())).toBe('secret')
    await share.client.write(file.node, file.fh, 0, Buffer.from('SECRET'))
    await file.close()
    expect(String(await outside.read('d/.env'))).toBe('SECRET')
    await share.in('/d/.env', (parent, name) => share.client.unlink(parent, name))
    expect(await outside.exists('d/.env')).toBe(false)
    await share.unmount()
  })

  test('no directory is deleted or moved, nor replaced by a rename, since it may hold what is not listed', async () => {
    const { outside, mount } = place()
    await outside.write('d/.env', 'secret')
    await outside.write('e/sub/.env', 'deep')
    const share = await mount()
    await mkdir(share, '/own')
    await expect(share.client.rmdir(1, 'd')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(share.client.rename(1, 'd', 1, 'moved')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(share.client.rename(1, 'own', 1, 'd')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(share.client.rename(1, 'e', 1, 'f')).rejects.toMatchObject({ code: 'EPERM' })
    await put(share, '/own/f', 'stays')
    await share.unmount()
    expect(String(await outside.read('d/.env'))).toBe('secret')
    expect(String(await outside.read('e/sub/.env'))).toBe('deep')
    const again = await mount()
    expect((await again.everything(false)).map(({ path }) => path).sort()).toEqual([
      'd',
      'e',
      'e/sub',
      'own',
      'own/f',
    ])
    await again.unmount()
  })

  test('Apache hides nothing, and its directories are removed as ever', async () => {
    const apache = await startWebdav()
    const operator = () => new Operator('webdav', { ...apache.options })
    const found = await findTraits(operator(), 'webdav')
    expect(found).toEqual({ hidesDots: false })
    const share = await Mounted.mount(operator(), { scheme: 'webdav', found })
    await put(share, '/.env', 'x')
    await mkdir(share, '/d')
    await share.client.rmdir(1, 'd')
    expect(String(await operator().read('.env'))).toBe('x')
    await share.unmount()
    await apache.stop()
  })
})
