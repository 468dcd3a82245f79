// Closing with write-back, and what the next daemon makes of a kill.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CrashRig, empty, files } from './crash-rig.ts'
import { ctx, type Guest, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

const refused = async (operation: string) => {
  if (operation === 'write') throw new Error('PermissionDenied (permanent) at write => no')
}
/** The error code of a close, or nothing if it succeeds. */
const outcome = (closing: Promise<void>) =>
  closing.then(
    () => undefined,
    (error: { code?: string }) => error.code,
  )

describe.each(SCHEMES)('with write-back on %s', scheme => {
  let storage: Service
  let rig: CrashRig
  let guest: Guest

  beforeAll(async () => {
    storage = await service(scheme)
  })
  afterAll(() => storage.close())
  beforeEach(async () => {
    await empty(storage.outside)
    rig = new CrashRig(scheme, storage.operator, { writeBack: true })
    guest = await rig.start()
  })
  afterEach(async () => {
    await rig.close()
    rig.remove()
  })

  const stored = async (key: string) =>
    (await storage.outside.exists(key)) ? (await storage.outside.read(key)).toString() : undefined

  it('closes without the storage, and publishes a moment later', async () => {
    rig.freeze()
    const node = guest.put('a', 'closed').catch(String)
    // A lookup has to ask; everything after it must not.
    rig.faults.before = operation => (operation === 'stat' ? undefined : new Promise(() => undefined))
    await node
    expect(await stored('a')).toBeUndefined()
    rig.faults.before = () => undefined
    await expect.poll(() => stored('a'), { timeout: 10_000 }).toBe('closed')
    await expect.poll(() => readdirSync(join(rig.folder, 'saved')), { timeout: 10_000 }).toEqual([])
  })

  it('publishes before fsync returns', async () => {
    const file = await guest.create('a')
    await file.write(0, 'synced')
    await file.fsync()
    expect(await stored('a')).toBe('synced')
    await file.close()
  })

  it('does not publish what has been removed or overwritten meanwhile', async () => {
    await guest.put('gone', 'x')
    await guest.unlink('gone')
    for (let i = 0; i < 5; i++) await guest.put('kept', `version ${i}`)
    await expect.poll(() => stored('kept'), { timeout: 10_000 }).toBe('version 4')
    const writes = rig.faults.calls.filter(call => /^(write|rename) /.test(call))
    expect(writes.length).toBeLessThanOrEqual(2)
    expect(await stored('gone')).toBeUndefined()
  })

  it('tells the next close of a publication that failed, and tries again', async () => {
    let end = (): void => undefined
    const gate = new Promise<void>(resolve => {
      end = resolve
    })
    rig.faults.before = async operation => {
      if (operation === 'write') await gate.then(() => refused(operation))
    }
    const file = await guest.create('a')
    await file.write(0, 'first')
    await file.flush()
    await expect.poll(() => rig.faults.count('write'), { timeout: 10_000 }).toBe(1)
    // The attempt has not ended: it may still succeed.
    expect(await outcome(file.flush())).toBeUndefined()
    end()
    await expect.poll(() => outcome(file.flush()), { timeout: 10_000 }).toBe('EACCES')
    rig.faults.before = () => undefined
    // Another attempt in the background may have begun before that.
    await expect.poll(() => outcome(file.flush()), { timeout: 20_000 }).toBeUndefined()
    await file.close()
    await expect.poll(() => stored('a'), { timeout: 20_000 }).toBe('first')
  })

  it('returns the error of a failed publication from a close, although a release came first', async () => {
    let end = (): void => undefined
    const gate = new Promise<void>(resolve => {
      end = resolve
    })
    rig.faults.before = async operation => {
      if (operation === 'write') await (rig.faults.count('write') === 1 ? refused(operation) : gate)
    }
    const file = await guest.create('a')
    await file.write(0, 'first')
    await file.flush()
    // The second attempt begins after the first has failed.
    await expect.poll(() => rig.faults.count('write'), { timeout: 10_000 }).toBe(2)
    // What a mapping wrote comes after the last close. Linux ignores what RELEASE answers.
    await file.write(5, ', mapped')
    await outcome(Promise.resolve(guest.fs.release(ctx, file.node, file.fh)))
    const next = await guest.open('a', O_RDWR)
    expect(await outcome(next.flush())).toBe('EACCES')
    end()
    await next.close()
    await expect.poll(() => stored('a'), { timeout: 20_000 }).toBe('first, mapped')
  })

  it('has what was closed after a kill, and nothing that was only written', async () => {
    await guest.put('a', 'closed')
    const file = await guest.create('b')
    await file.write(0, 'written')
    guest = await rig.restart()
    expect(await files(guest)).toEqual({ a: 'closed' })
    expect(rig.report).toMatchObject({ published: 1, conflicts: [] })
    expect(await stored('a')).toBe('closed')
  })

  it('has small files in the journal and large ones beside it, both after a kill', async () => {
    const contents = [0, 1, 16 << 10, (16 << 10) + 1, 2_000_000].map(size => 'x'.repeat(size))
    for (const [i, content] of contents.entries()) await guest.put(`f${i}`, content)
    const parts = await guest.create('parts')
    for (const at of [0, 100, 50_000]) await parts.write(at, `at ${at}`)
    await parts.flush()
    expect(readdirSync(join(rig.folder, 'saved')).length).toBeLessThanOrEqual(2)
    guest = await rig.restart()
    for (const [i, content] of contents.entries()) expect((await guest.text(`f${i}`)) === content).toBe(true)
    const wanted = Buffer.alloc(50_008)
    for (const at of [0, 100, 50_000]) wanted.write(`at ${at}`, at)
    expect(Buffer.compare(await guest.get('parts'), wanted)).toBe(0)
    expect(rig.report?.conflicts).toEqual([])
  })

  it('has the last closed version after a kill, over the one that was in the storage', async () => {
    await storage.outside.write('a', '0123456789')
    const file = await guest.open('a', O_RDWR)
    await file.write(3, 'abc')
    await file.flush()
    await file.write(8, 'xyz')
    await file.flush()
    await file.write(0, '!!!!!')
    guest = await rig.restart()
    expect(await guest.text('a')).toBe('012abc67xyz')
  })

  it('finds renames and removals of what was not yet published after a kill', async () => {
    await guest.mkdir('d')
    await storage.outside.write('old', 'old')
    for (const name of ['a', 'd/b', 'c', 'over']) await guest.put(name, name)
    await guest.rename('a', 'a2')
    await guest.rename('d', 'e')
    await guest.unlink('c')
    await guest.rename('over', 'old')
    guest = await rig.restart()
    expect(await files(guest)).toEqual({ a2: 'a', 'e/b': 'd/b', old: 'over' })
    expect(rig.report?.conflicts).toEqual([])
  })

  it('keeps the bytes of a file that somebody else has changed before the replay, and leaves theirs', async () => {
    await storage.outside.write('a', 'theirs')
    await guest.put('a', 'ours, closed')
    await rig.kill()
    await storage.outside.write('a', 'theirs, later')
    guest = await rig.restart()
    expect(await guest.text('a')).toBe('theirs, later')
    const [conflict] = rig.report!.conflicts
    expect(conflict).toMatchObject({ key: 'a' })
    expect(readFileSync(conflict!.keptAs!, 'utf8')).toBe('ours, closed')
  })

  it('knows its own publication again that a kill has cut off from the journal', async () => {
    await guest.put('a', 'closed')
    await rig.kill()
    await storage.outside.write('a', 'closed')
    guest = await rig.restart()
    expect(await guest.text('a')).toBe('closed')
    expect(rig.report).toMatchObject({ published: 0, conflicts: [] })
  })

  it('replays a replay that was killed', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await guest.put(name, name)
    for (const changes of [1, 2]) {
      await rig.kill()
      rig.start(changes).catch(() => undefined)
      await expect.poll(() => rig.isFrozen).toBe(true)
    }
    guest = await rig.restart()
    expect(await files(guest)).toEqual({ a: 'a', b: 'b', c: 'c', d: 'd' })
  })

  it('closes all the same when the state folder takes nothing: then the storage has it', async () => {
    await rig.close()
    rig.remove()
    mkdirSync(rig.folder)
    guest = await rig.start()
    rmSync(join(rig.folder, 'saved'), { recursive: true })
    writeFileSync(join(rig.folder, 'saved'), 'a file where a folder should be')
    const large = 'closed'.repeat(10_000)
    await guest.put('a', large)
    expect(await stored('a')).toBe(large)
  })
})

describe('without write-back', () => {
  it('leaves to the journal what could not be published by the end', async () => {
    const storage = await service('memory')
    const rig = new CrashRig('memory', storage.operator)
    let guest = await rig.start()
    rig.faults.before = refused
    await expect(guest.put('a', 'refused')).rejects.toMatchObject({ code: 'EACCES' })
    await expect(rig.close()).rejects.toMatchObject({ code: 'EACCES' })
    guest = await rig.start()
    expect(await files(guest)).toEqual({ a: 'refused' })
    await rig.close()
    rig.remove()
    await storage.close()
  })
})
