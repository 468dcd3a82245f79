// A guest that works without a pause while its daemon is killed and started again, over and over. Its monitor reconnects, as Cloud
// Hypervisor does: memory, rings and the record of requests in flight are those of before, and no FUSE_INIT is sent.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FuseClient } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { type Daemon, startAndKill, startOvfs } from '../harness/daemon.ts'
import type { KillRun } from './kills.ts'
import { Random } from './random.ts'
import { SessionActor } from './session-actor.ts'

const ACTORS = 8
const LONGEST_LIFE_MS = 150
/** What went wrong may have begun long before it shows. */
const STORY = 400
/** By then most daemons listen, on a machine that has nothing else to do. */
const LONGEST_START_MS = 800

export interface SessionRun extends KillRun {
  /** How a daemon ends: killed at once, or asked to end, as for an upgrade. */
  readonly end: 'kill' | 'stop'
}

export interface SessionOutcome {
  readonly operations: number
  readonly requests: number
  readonly answers: number
  readonly actors: readonly SessionActor[]
}

/** Rejects with the whole story if anything was not as it must be. */
export async function runSession({
  uri,
  args,
  env = {},
  kills,
  seed,
  end,
}: SessionRun): Promise<SessionOutcome> {
  const state = await mkdtemp(join(tmpdir(), 'ovfs-session-'))
  const random = new Random(seed)
  const options = { args: ['--state-dir', state, ...args], env }
  const start = () => startOvfs(uri, options)
  let daemon = await start()
  let driver: VirtioFsDriver | undefined
  try {
    const guest = await VirtioFsDriver.connect(daemon.socketPath, { reconnects: true, slots: 2 * ACTORS })
    driver = guest
    const counts = { requests: 0, answers: 0 }
    const client = new FuseClient({
      submit: async (request, capacity) => {
        counts.requests++
        const reply = await guest.submit(request, capacity)
        counts.answers++
        return reply
      },
    })
    await client.init()
    const actors = Array.from(
      { length: ACTORS },
      (_, i) => new SessionActor(`actor${i}`, client, new Random(seed + i + 1)),
    )
    for (const actor of actors) await actor.arrive()
    let done = false
    let operations = 0
    const living = actors.map(async actor => {
      while (!done) {
        await actor.act().catch(error => tell(actor, error, daemon))
        operations++
      }
    })
    const failed = Promise.all(living).then(() => new Promise<never>(() => undefined))
    failed.catch(() => undefined)
    const chaos = async () => {
      for (let kill = 0; kill < kills; kill++) {
        const before = operations
        await sleep(random.below(LONGEST_LIFE_MS))
        while (operations === before) await sleep(1)
        if (end === 'kill') await daemon.kill()
        else await daemon.stop()
        for (const actor of actors) actor.history.push(`--- ${end} ${kill}`)
        // Some die in the midst of taking over.
        while (end === 'kill' && random.below(3) === 0)
          await startAndKill(uri, options, random.below(LONGEST_START_MS))
        daemon = await start()
        if (!daemon.stderr().includes('the session of the guest goes on')) throw new Error(daemon.stderr())
        await guest.reconnect(daemon.socketPath)
      }
    }
    await Promise.race([chaos(), failed])
    done = true
    await Promise.all(living)
    for (const actor of actors) await actor.inspect().catch(error => tell(actor, error, daemon))
    if (/level=error|not overwritten/.test(daemon.stderr())) throw new Error(daemon.stderr())
    await client.destroy()
    await guest.close()
    await daemon.stop()
    return { operations, ...counts, actors }
  } finally {
    await driver?.close()
    await daemon.kill()
    await rm(state, { recursive: true, force: true })
  }
}

function tell(actor: SessionActor, error: unknown, daemon: Daemon): never {
  const story = actor.history.slice(-STORY).join('\n  ')
  throw new Error(`${actor.name}: ${error}\n  ${story}\n${daemon.stderr()}`, { cause: error })
}
