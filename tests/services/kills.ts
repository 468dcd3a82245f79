// The daemon is killed in the middle of writes. It had a state folder and acknowledged what was only there; the next daemon
// publishes it. What was acknowledged is there afterwards, under the share and for another client of the service.

import { mkdtempSync, readdirSync } from 'node:fs'
import { appendFile, mkdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ServedShare } from './served-share.ts'
import { type BatteryService, outside, type RunningService } from './services.ts'

const ROUNDS = 2
/** Acknowledged files after which the daemon is killed, while the writers go on. */
const FILES_PER_ROUND = 30
const WRITERS = 4

/** What a name holds for certain: its content, or that it is gone. Names with an operation in flight are not in it. */
type Acknowledged = Map<string, string | undefined>

export function killsOf(service: BatteryService, running: () => RunningService): void {
  test('after two kills in the middle of writes, everything acknowledged is there', async () => {
    const state = mkdtempSync(join(tmpdir(), 'ovfs-battery-state-'))
    const args = ['--state-dir', state, '--write-back']
    const share = await ServedShare.open(running(), 'kills', args)
    const acknowledged: Acknowledged = new Map()
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const stop = { now: false }
        const writers = Array.from({ length: WRITERS }, (_, writer) =>
          write(join(share.path, `${round}-${writer}`), acknowledged, stop),
        )
        while (acknowledged.size < (round + 1) * FILES_PER_ROUND) await sleep(5)
        await share.kill()
        stop.now = true
        await Promise.all(writers)
        await share.revive()
        await expectContents(share, acknowledged)
      }
      // After SIGTERM nothing waits in the state folder any more.
      await share.restart()
      await expectContents(share, acknowledged)
      const client = outside(service, running(), 'kills')
      for (const [path, content] of acknowledged) {
        const key = path.slice(share.path.length + 1)
        if (content === undefined) expect(await client.exists(key), key).toBe(false)
        else expect((await client.read(key)).toString(), key).toBe(content)
      }
      expect(recovered(state)).toEqual([])
      expect(share.log()).not.toMatch(/panicked/)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n--- the daemon\n${share.complaints()}`, { cause: error })
    } finally {
      await share.close()
      await rm(state, { recursive: true, force: true })
    }
  }, 120_000)
}

/** Makes, appends to, replaces, renames and deletes files until the daemon is gone. */
async function write(directory: string, acknowledged: Acknowledged, stop: { now: boolean }): Promise<void> {
  const name = (n: number) => join(directory, `file-${n}`)
  /** Runs one operation on some names; what they hold is unknown until it is acknowledged. */
  const step = async (
    operation: Promise<void>,
    result: readonly (readonly [string, string | undefined])[],
  ) => {
    for (const [path] of result) acknowledged.delete(path)
    await operation
    for (const [path, content] of result) acknowledged.set(path, content)
  }
  try {
    await mkdir(directory)
    for (let n = 0; !stop.now; n++) {
      const text = `${directory} ${n} `.repeat(1 + ((n * 37) % 300))
      await step(writeFile(name(n), text), [[name(n), text]])
      if (n % 3 === 1) await step(appendFile(name(n), 'more'), [[name(n), `${text}more`]])
      if (n % 4 === 2) await step(writeFile(name(n), 'short'), [[name(n), 'short']])
      if (n % 5 === 3) {
        const content = acknowledged.get(name(n))
        await step(rename(name(n), `${name(n)}-moved`), [
          [name(n), undefined],
          [`${name(n)}-moved`, content],
        ])
      }
      if (n % 7 === 5) await step(unlink(name(n)), [[name(n), undefined]])
    }
  } catch {
    // The daemon was killed.
  }
}

async function expectContents(share: ServedShare, acknowledged: Acknowledged): Promise<void> {
  for (const [path, content] of acknowledged) {
    const found = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => error.code)
    const expected = content ?? 'ENOENT'
    if (found !== expected)
      throw new Error(
        `${path.slice(share.path.length + 1)} holds ${found?.length} bytes (${found?.slice(0, 40)}), not ${expected.length}`,
      )
  }
}

/** Files that the daemon could not publish and put aside. */
function recovered(state: string): string[] {
  return readdirSync(state, { recursive: true, encoding: 'utf8' }).filter(path =>
    path.startsWith('recovery/'),
  )
}
