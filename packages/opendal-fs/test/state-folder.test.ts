// The state folder: one daemon at a time, and clear words when it cannot be used.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { StateFolder } from '../src/journal/state-folder.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-state-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('the state folder', () => {
  test('is made where it is not there, and keeps its journal from one time to the next', async () => {
    const path = join(folder, 'new', 'state')
    const first = await StateFolder.open(path)
    await first.journal.commit([{ key: 'a', value: 1 }])
    await first.close()
    const second = await StateFolder.open(path)
    expect(second.journal.entries.get('a')).toBe(1)
    await second.close()
  })

  test('is refused to a second user, and free again when the first has closed it', async () => {
    const first = await StateFolder.open(folder)
    await expect(StateFolder.open(folder)).rejects.toMatchObject({
      reason: 'LOCKED',
      message: `state folder ${folder}: another daemon uses it`,
    })
    await first.close()
    await (await StateFolder.open(folder)).close()
  })

  test('is free again when the process that used it has been killed', async () => {
    const holder = spawn(
      'flock',
      ['--nonblock', join(folder, 'lock'), 'sh', '-c', 'echo locked; exec sleep 60'],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
      },
    )
    await once(holder.stdout, 'data')
    await expect(StateFolder.open(folder)).rejects.toMatchObject({ reason: 'LOCKED' })
    process.kill(-holder.pid!, 'SIGKILL')
    await once(holder, 'close')
    await (await StateFolder.open(folder)).close()
  })

  test('is refused for another place as long as it holds what belongs into the first', async () => {
    const first = await StateFolder.open(folder, { place: 'bucket a' })
    await first.journal.commit([
      { key: 'file:/x', value: 1 },
      { key: 'other', value: 1 },
    ])
    await first.close()
    const message = `state folder ${folder}: it holds what belongs into bucket a, and not into bucket b`
    await expect(StateFolder.open(folder, { place: 'bucket b' })).rejects.toMatchObject({
      reason: 'ELSEWHERE',
      message,
    })
    const again = await StateFolder.open(folder, { place: 'bucket a' })
    await again.journal.commit([{ key: 'file:/x' }])
    await again.close()
    const second = await StateFolder.open(folder, { place: 'bucket b' })
    await second.journal.commit([{ key: 'move:y', value: 1 }])
    await second.close()
    await expect(StateFolder.open(folder, { place: 'bucket a' })).rejects.toMatchObject({
      reason: 'ELSEWHERE',
    })
  })

  test('of a time when places were not written down belongs to who opens it first', async () => {
    const first = await StateFolder.open(folder)
    await first.journal.commit([{ key: 'file:/x', value: 1 }])
    await first.close()
    await (await StateFolder.open(folder, { place: 'bucket a' })).close()
    await expect(StateFolder.open(folder, { place: 'bucket b' })).rejects.toMatchObject({
      reason: 'ELSEWHERE',
    })
  })

  test('that cannot be made is told with its path', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    await expect(StateFolder.open(join(file, 'state'))).rejects.toMatchObject({
      reason: 'UNUSABLE',
      message: expect.stringContaining(`state folder ${file}/state: `),
    })
  })

  test('is refused where no folder can be made, however deep, instead of trying for ever', async () => {
    for (const path of ['/proc/ovfs', '/proc/ovfs/below/it']) {
      await expect(StateFolder.open(path)).rejects.toMatchObject({
        reason: 'UNUSABLE',
        message: expect.stringContaining(`state folder ${path}: ENOENT`),
      })
    }
  })
})
