// A share of a running service as the battery uses it: the daemon, restarted and killed at will, and its mount at one place.

import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { mountShare, type NativeMount } from '../harness/native-mount.ts'
import { type RunningService, rootOf, type Share } from './services.ts'

export class ServedShare {
  /** Where the share is mounted. */
  readonly path: string
  readonly #start: () => Promise<Daemon>
  #daemon: Daemon
  #mount: NativeMount
  #earlier = ''

  private constructor(path: string, start: () => Promise<Daemon>, daemon: Daemon, mount: NativeMount) {
    this.path = path
    this.#start = start
    this.#daemon = daemon
    this.#mount = mount
  }

  static async open(
    service: RunningService,
    share: Share,
    args: readonly string[] = [],
  ): Promise<ServedShare> {
    const options = Object.entries({ ...service.options, root: rootOf(service, share) })
    // From the environment, since the daemon warns of secrets on its command line.
    const env = Object.fromEntries(options.map(([key, value]) => [`OVFS_TEST_${key}`, value]))
    const given = options.flatMap(([key]) => ['-o', `${key}=env:OVFS_TEST_${key}`])
    const start = () => startOvfs(service.uri, { args: [...given, ...args], env })
    const daemon = await start()
    const path = await mkdtemp(join(tmpdir(), 'ovfs-share-'))
    return new ServedShare(path, start, daemon, await mountShare(daemon.socketPath, path))
  }

  /** What the daemons have said. */
  log(): string {
    return this.#earlier + this.#daemon.stderr()
  }

  /** The end of it, without what is said in good health. */
  complaints(): string {
    const lines = this.log().split('\n')
    return lines
      .filter(line => !/^\S+ info |^Waiting /.test(line))
      .slice(-30)
      .join('\n')
  }

  remount(): Promise<void> {
    return this.#mount.remount()
  }

  /** Ends the daemon with SIGTERM, and starts another. */
  async restart(): Promise<void> {
    await this.#mount.unmount()
    try {
      await this.#daemon.stop()
    } finally {
      await this.#again()
    }
  }

  /** Ends the daemon with SIGKILL. */
  async kill(): Promise<void> {
    await this.#daemon.kill()
    await this.#mount.unmount()
  }

  /** Starts another daemon after `kill`. */
  async revive(): Promise<void> {
    await this.#again()
  }

  async close(): Promise<void> {
    await this.#mount.unmount()
    await rmdir(this.path)
    await this.#daemon.stop()
  }

  async #again(): Promise<void> {
    this.#earlier += this.#daemon.stderr()
    this.#daemon = await this.#start()
    this.#mount = await mountShare(this.#daemon.socketPath, this.path)
  }
}
