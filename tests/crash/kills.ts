// Runs programs against the real daemon, kills it with SIGKILL at a random moment, starts it again and compares what is there with
// what was promised. Over and over, on one storage and one state folder.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { Actor, difference } from './actor.ts'
import { Random } from './random.ts'

export interface KillRun {
  readonly uri: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly kills: number
  readonly seed: number
}

const ACTORS = 4
/** A daemon lives until it has acknowledged so many operations, at most, and then a moment that ends in the midst of others. */
const MOST_OPERATIONS = 12
const LONGEST_MOMENT_MS = 40

/** Counts of what happened; rejects with the whole story if something was not as promised. */
export async function runKills({
  uri,
  args,
  env = {},
  kills,
  seed,
}: KillRun): Promise<{ operations: number }> {
  const state = await mkdtemp(join(tmpdir(), 'ovfs-crash-'))
  const random = new Random(seed)
  const actors = Array.from({ length: ACTORS }, (_, i) => new Actor(`actor${i}`, new Random(seed + i + 1)))
  const start = () => startOvfs(uri, { args: ['--state-dir', state, ...args], env })
  let operations = 0
  let daemon = await start()
  try {
    for (let kill = 0; kill < kills; kill++) {
      operations += await liveAndDie(daemon, actors, random)
      daemon = await start()
      await inspect(daemon, actors, `kill ${kill} of seed ${seed}`)
    }
    // At its end it has everything in the storage, and the next one has nothing to do.
    await daemon.stop()
    daemon = await start()
    await inspect(daemon, actors, `the end of seed ${seed}`)
    if (daemon.stderr().includes('replayed')) throw new Error(`something was left:\n${daemon.stderr()}`)
    await daemon.stop()
  } finally {
    await daemon.kill()
    await rm(state, { recursive: true, force: true })
  }
  return { operations }
}

/** @returns the count of operations that were acknowledged */
async function liveAndDie(daemon: Daemon, actors: readonly Actor[], random: Random): Promise<number> {
  const driver = await VirtioFsDriver.connect(daemon.socketPath)
  const { client } = driver
  await client.init()
  let dead = false
  let done = 0
  const enough = random.below(MOST_OPERATIONS)
  let wake = () => {}
  const busy = new Promise<void>(resolve => {
    wake = resolve
  })
  if (enough === 0) wake()
  for (const actor of actors) await actor.arrive(client)
  const living = actors.map(async actor => {
    while (!dead) {
      try {
        await actor.act(client)
        if (++done >= enough) wake()
      } catch (error) {
        if (dead) return
        throw new Error(`${actor.name} ${actor.history.at(-1)}: ${error}\n${daemon.stderr()}`)
      }
    }
  })
  const failed = Promise.race(living.map(life => life.then(() => new Promise<never>(() => undefined))))
  failed.catch(() => undefined)
  await Promise.race([busy.then(() => sleep(random.below(LONGEST_MOMENT_MS))), failed])
  dead = true
  await daemon.kill()
  await driver.close()
  await Promise.allSettled(living)
  return done
}

async function inspect(daemon: Daemon, actors: readonly Actor[], when: string): Promise<void> {
  const driver = await VirtioFsDriver.connect(daemon.socketPath)
  try {
    await driver.client.init()
    for (const actor of actors) {
      const seen = await actor.see(driver.client)
      const isn = difference(seen, actor.promised)
      const { possible } = actor
      const others = possible.map(tree => difference(seen, tree))
      if (isn !== undefined && !others.includes(undefined)) {
        const other = others.map(words => `, nor: ${words}`).join('')
        const story = actor.history.slice(-12).join('\n  ')
        throw new Error(`${when}: ${actor.name}: ${isn}${other}\n  ${story}\n${daemon.stderr()}`)
      }
      actor.found(seen)
      actor.history.push('--- killed')
    }
    if (/not overwritten/.test(daemon.stderr()))
      throw new Error(`${when}: a conflict with nobody:\n${daemon.stderr()}`)
  } finally {
    await driver.close()
  }
}
