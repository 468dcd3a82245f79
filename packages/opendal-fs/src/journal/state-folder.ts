// The folder on the host that holds what must survive the daemon: the journal, saved bytes of files that the storage does not
// have yet, and what was kept of changes that lost. One daemon at a time uses it: the kernel holds the lock (flock) and
// gives it back when the process ends, however it ends.

import { spawn } from 'node:child_process'
import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Journal, type JournalOptions, syncFolder } from './journal.ts'
import { isUnfinished } from './journal-entries.ts'
import { StateError, toStateError } from './state-error.ts'

export interface StateFolderOptions extends JournalOptions {
  /** Names the storage that is served: what the journal has for another one is not put into this one. */
  readonly place?: string
}

export class StateFolder {
  readonly path: string
  readonly journal: Journal
  /** Bytes of files, under the names that the journal gives them. */
  readonly savedPath: string
  /** What nobody may lose and nothing may overwrite: for a person to look at. */
  readonly recoveryPath: string
  /** Files that hold the session of a guest, for whoever maps them. They need not survive the host. */
  readonly sessionPath: string
  readonly #lock: FileHandle

  private constructor(path: string, journal: Journal, lock: FileHandle) {
    this.path = path
    this.journal = journal
    this.savedPath = join(path, 'saved')
    this.recoveryPath = join(path, 'recovery')
    this.sessionPath = join(path, 'session')
    this.#lock = lock
  }

  /**
   * Makes the folder if it is not there, locks it and reads its journal.
   * @throws StateError
   */
  static async open(path: string, { place, ...options }: StateFolderOptions = {}): Promise<StateFolder> {
    let lock: FileHandle | undefined
    let journal: Journal | undefined
    try {
      await makeFolder(resolve(path))
      await makeFolder(join(path, 'saved'))
      await makeFolder(join(path, 'recovery'))
      lock = await open(join(path, 'lock'), 'a', 0o600)
      await takeLock(lock, path)
      await syncFolder(path)
      journal = await Journal.open(path, options)
      if (place !== undefined) await claim(path, place, journal)
      return new StateFolder(path, journal, lock)
    } catch (error) {
      await journal?.close()
      await lock?.close()
      throw toStateError(error, path)
    }
  }

  /**
   * Puts a session that nobody can go on with where a person will look for it; returns where.
   * @throws StateError
   */
  async keepSession(): Promise<string> {
    const kept = join(this.recoveryPath, `session-${new Date().toISOString().replace(/[:.]/g, '-')}`)
    try {
      await rename(this.sessionPath, kept)
    } catch (error) {
      throw toStateError(error, this.path)
    }
    return kept
  }

  async close(): Promise<void> {
    await this.journal.close()
    await this.#lock.close()
  }
}

/** Writes down which storage the journal is about from now on. */
async function claim(path: string, place: string, journal: Journal): Promise<void> {
  const file = join(path, 'place')
  const before = (await readFile(file, 'utf8').catch(absent))?.trim()
  if (before === place) return
  if (before !== undefined && [...journal.entries.keys()].some(isUnfinished)) {
    const message = `state folder ${path}: it holds what belongs into ${before}, and not into ${place}`
    throw new StateError('ELSEWHERE', message)
  }
  const next = await open(`${file}.new`, 'w', 0o600)
  try {
    await next.writeFile(`${place}\n`)
    await next.sync()
  } finally {
    await next.close()
  }
  await rename(`${file}.new`, file)
  await syncFolder(path)
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

/** Node's own recursive mkdir would not tell why it failed, and where nothing can be made, as in /proc, it would not end. */
async function makeFolder(path: string, withParents = true): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || !withParents || dirname(path) === path) throw error
    await makeFolder(dirname(path))
    await makeFolder(path, false)
  }
}

/**
 * Node has no call for flock(2), but the lock belongs to the open file and not to who asked for it: the program flock asks
 * for it on a descriptor that it inherits, and leaves it to us.
 */
function takeLock(file: FileHandle, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['--exclusive', '--nonblock', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', file.fd],
    })
    child.once('error', cause => {
      const message = `state folder ${path}: locking it needs the program flock (of util-linux): ${cause.message}`
      reject(new StateError('UNUSABLE', message, 'EIO', { cause }))
    })
    child.once('exit', code => {
      if (code === 0) resolve()
      else if (code === 1) reject(new StateError('LOCKED', `state folder ${path}: another daemon uses it`))
      else reject(new StateError('UNUSABLE', `state folder ${path}: it cannot be locked (flock: ${code})`))
    })
  })
}
