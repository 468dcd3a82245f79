// The daemon that is attacked over its socket: the compiled `ovfs`, in a process of its own, on a folder. After each case a
// well-behaved front-end must find it unharmed, and nothing beside the folder may have changed.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { repository } from '../harness/initramfs.ts'
import { type Holdings, holdingsOf } from './flatness.ts'

/** Compiled, since the daemon is. */
const COLLECTOR = join(repository, 'tests', 'dist', 'fuzz', 'collector.js')
const CONTENT = 'what a well-behaved guest reads\n'

export class Victim {
  readonly #folder: string
  readonly #daemon: Daemon

  static async start(): Promise<Victim> {
    const folder = await mkdtemp(join(tmpdir(), 'ovfs-fuzz-'))
    await mkdir(join(folder, 'share'))
    await writeFile(join(folder, 'share', 'file'), CONTENT)
    await writeFile(join(folder, 'beside'), CONTENT)
    const env = { NODE_OPTIONS: `--import=${pathToFileURL(COLLECTOR)}` }
    return new Victim(folder, await startOvfs(`fs://${folder}/share`, { args: ['--read-only'], env }))
  }

  private constructor(folder: string, daemon: Daemon) {
    this.#folder = folder
    this.#daemon = daemon
  }

  get socketPath(): string {
    return this.#daemon.socketPath
  }

  get folder(): string {
    return this.#folder
  }

  async holdings(): Promise<Holdings> {
    const heard = this.#daemon.stderr().length
    process.kill(this.#daemon.pid, 'SIGUSR2')
    for (;;) {
      const heap = /holds (\d+) bytes\n/.exec(this.#daemon.stderr().slice(heard))?.[1]
      if (heap !== undefined) return { heap: Number(heap), ...holdingsOf(this.#daemon.pid) }
      await delay(5)
    }
  }

  /** Rejects unless a front-end that keeps the rules is served, and sees what it should. */
  async requireHealthy(): Promise<void> {
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
      const said = this.#daemon.stderr().split('\n').slice(-12).join('\n')
      throw new Error(`a good front-end is not served: ${(cause as Error).message}\n${said}`, { cause })
    }
  }

  async stop(): Promise<void> {
    const beside = await readFile(join(this.#folder, 'beside'), 'utf8')
    const names = [...(await readdir(this.#folder)), ...(await readdir(join(this.#folder, 'share')))].sort()
    await this.#daemon.stop()
    await rm(this.#folder, { recursive: true, force: true })
    if (beside !== CONTENT || names.join() !== 'beside,file,share') throw new Error(`it wrote: ${names}`)
  }
}
