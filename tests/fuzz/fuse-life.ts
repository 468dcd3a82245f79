// A file system and its server in this process, and the next ones, which find what the last one has kept of its session: as a
// kill leaves it, or damaged.

import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FuseServer } from '@ovfs/fuse-proto'
import { OpendalFs, type Operator, StateError } from '@ovfs/opendal-fs'
import { openKeptSession } from '@ovfs/virtio-fs'
import type { Random } from './random.ts'

export class FuseLife {
  readonly server: FuseServer
  readonly #operator: Operator
  readonly #handler: OpendalFs
  readonly #folder: string | undefined

  /** @param isKept the session is, for a successor */
  static begin(operator: Operator, isKept: boolean): Promise<FuseLife> {
    return FuseLife.#open(operator, isKept ? newFolder() : undefined)
  }

  /** Rejects with a StateError or TypeError if what is in the folder makes no sense. */
  static async #open(operator: Operator, folder: string | undefined): Promise<FuseLife> {
    const session = folder === undefined ? undefined : openKeptSession(folder, 'share', () => undefined)
    const handler = new OpendalFs(operator, {
      scheme: 'memory',
      timeoutMs: 2000,
      cacheBytes: 8 << 20,
      ...(session && { session }),
    })
    const server = new FuseServer(handler, { log: session?.log })
    if (session) {
      await handler.replay()
      await server.resume()
    }
    return new FuseLife(operator, handler, server, folder)
  }

  private constructor(
    operator: Operator,
    handler: OpendalFs,
    server: FuseServer,
    folder: string | undefined,
  ) {
    this.#operator = operator
    this.#handler = handler
    this.server = server
    this.#folder = folder
  }

  /** The next one. No request is in flight. */
  async succeed(random: Random): Promise<FuseLife> {
    const copy = newFolder()
    cpSync(this.#folder!, copy, { recursive: true })
    this.server.leave()
    // What it publishes at its end, its successor finds as somebody else's.
    await this.#close()
    const isDamaged = random.oneIn(2)
    if (isDamaged) damage(random, copy)
    try {
      return await FuseLife.#open(this.#operator, copy)
    } catch (error) {
      rmSync(copy, { recursive: true })
      if (!isDamaged || !(error instanceof TypeError || isDamage(error))) throw error
      return FuseLife.begin(this.#operator, true)
    }
  }

  async end(): Promise<void> {
    await this.server.end()
    await this.#close()
  }

  async #close(): Promise<void> {
    await this.#handler.close()
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true })
  }
}

/** In memory, where that is a folder: all blocks of its files are written when they are made. */
function newFolder(): string {
  const place = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  return mkdtempSync(join(place, 'ovfs-fuzz-session-'))
}

function isDamage(error: unknown): boolean {
  return error instanceof StateError && error.reason === 'DAMAGED'
}

/** Takes a file away, cuts it, or changes bytes of it. */
function damage(random: Random, folder: string): void {
  const names = readdirSync(folder)
  if (names.length === 0) return
  const path = join(folder, random.pick(names))
  const bytes = readFileSync(path)
  if (random.oneIn(6)) {
    rmSync(path)
  } else if (random.oneIn(4)) {
    truncateSync(path, random.below(bytes.length + 1))
  } else {
    const within = random.pick([64, 4096, bytes.length])
    for (let count = 1 + random.below(4); count > 0; count--)
      bytes[random.below(within)]! ^= 1 << random.below(8)
    writeFileSync(path, bytes)
  }
}
