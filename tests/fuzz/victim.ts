// The daemon that is attacked over its socket: the compiled `ovfs`, in a process of its own, on a folder. After each case a
// well-behaved front-end must find it unharmed, and nothing beside the folder may have changed.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { FrontendSession } from '@ovfs/vhost-user'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { startOvfs } from '../harness/daemon.ts'
import { repository } from '../harness/initramfs.ts'
import { type Holdings, holdingsOf } from './flatness.ts'
import { startKept } from './kept-victim.ts'

/** Compiled, since the daemon is. */
const COLLECTOR = join(repository, 'tests', 'dist', 'fuzz', 'collector.js')
const CONTENT = 'what a well-behaved guest reads\n'

/** A process, and whoever comes after it. */
interface Target {
  /** Throws if it has died by itself. */
  requireAlive?(): void
  readonly socketPath: string
  readonly pid: number
  stderr(): string
  stop(): Promise<void>
}

export class Victim {
  readonly #folder: string
  readonly #target: Target
  /** Kills the daemon; resolves when the next one has taken over. Undefined if there is no next one. */
  readonly strike: (() => Promise<void>) | undefined

  /** @param isKept a service manager keeps its connection, a state folder its session, and it is started again when it dies */
  static async start(isKept: boolean): Promise<Victim> {
    const folder = await mkdtemp(join(tmpdir(), 'ovfs-fuzz-'))
    await mkdir(join(folder, 'share'))
    await writeFile(join(folder, 'share', 'file'), CONTENT)
    await writeFile(join(folder, 'beside'), CONTENT)
    const env = { NODE_OPTIONS: `--import=${pathToFileURL(COLLECTOR)}` }
    const uri = `fs://${folder}/share`
    if (!isKept) return new Victim(folder, await startOvfs(uri, { args: ['--read-only'], env }), undefined)
    const { target, strike } = await startKept(uri, env)
    return new Victim(folder, target, strike)
  }

  private constructor(folder: string, target: Target, strike: (() => Promise<void>) | undefined) {
    this.#folder = folder
    this.#target = target
    this.strike = strike
  }

  get socketPath(): string {
    return this.#target.socketPath
  }

  get folder(): string {
    return this.#folder
  }

  async holdings(): Promise<Holdings> {
    const heard = this.#target.stderr().length
    process.kill(this.#target.pid, 'SIGUSR2')
    for (;;) {
      const heap = /holds (\d+) bytes\n/.exec(this.#target.stderr().slice(heard))?.[1]
      if (heap !== undefined) return { heap: Number(heap), ...holdingsOf(this.#target.pid) }
      await delay(5)
    }
  }

  /** Rejects unless the next front-end gets an answer. */
  async requireServing(): Promise<void> {
    this.#target.requireAlive?.()
    const session = FrontendSession.connect(this.socketPath)
    try {
      await session.request('GET_FEATURES')
    } catch (cause) {
      throw this.#notServed(cause)
    } finally {
      session.close()
    }
  }

  /** Rejects unless a front-end that keeps the rules is served, and sees what it should. */
  async requireHealthy(): Promise<void> {
    this.#target.requireAlive?.()
    try {
      const driver = await VirtioFsDriver.connect(this.socketPath, { queueSize: 16, slots: 1 })
      try {
        await driver.client.init()
        const { nodeid, attr } = await driver.client.lookup(ROOT_NODE, 'file')
        const { fh } = await driver.client.open(nodeid)
        const text = Buffer.from(await driver.client.read(nodeid, fh, 0, 4096)).toString()
        if (text !== CONTENT || attr.size !== CONTENT.length)
          throw new Error(`it reads ${JSON.stringify(text)}`)
      } finally {
        await driver.close()
      }
    } catch (cause) {
      throw this.#notServed(cause)
    }
  }

  #notServed(cause: unknown): Error {
    const said = this.#target.stderr().split('\n').slice(-12).join('\n')
    return new Error(`a good front-end is not served: ${(cause as Error).message}\n${said}`, { cause })
  }

  async stop(): Promise<void> {
    const beside = await readFile(join(this.#folder, 'beside'), 'utf8')
    const names = [...(await readdir(this.#folder)), ...(await readdir(join(this.#folder, 'share')))].sort()
    await this.#target.stop()
    await rm(this.#folder, { recursive: true, force: true })
    if (beside !== CONTENT || names.join() !== 'beside,file,share') throw new Error(`it wrote: ${names}`)
  }
}
