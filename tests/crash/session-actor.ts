// One program in a guest that outlives its daemon: it keeps files and directories open, and knows what each must hold. Every
// answer is compared with that at once, and no operation may fail: the guest must not notice that a daemon was killed.

import type { FuseClient } from '@ovfs/fuse-proto'
import type { Random } from './random.ts'

const ROOT = 1
const O_RDWR = 2
const O_EXCL = 0o200
const O_CREAT = 0o100
const FATTR_SIZE = 1 << 3
const FATTR_FH = 1 << 6
const LARGEST_FILE = 400_000
const LARGEST_WRITE = 90_000
const MOST_FILES = 6
/** Room for a few names only, so that a directory is read in many pieces. */
const LISTING_ROOM = 200

interface File {
  /** Undefined once it was removed. */
  name: string | undefined
  node: number
  /** How often the daemon has told of the node. */
  lookups: number
  /** Undefined while nobody has it open. */
  fh: number | undefined
  content: Buffer
}

/** A directory that is being read. */
interface Reader {
  readonly fh: number
  cookie: bigint
  /** The names that were there when the reading began and have not been touched since. */
  readonly untouched: Set<string>
  readonly seen: Map<string, number>
}

export class SessionActor {
  readonly name: string
  /** What it has done, for a person who has to understand a failure. */
  readonly history: string[] = []
  readonly #client: FuseClient
  readonly #random: Random
  #directory = 0
  readonly #files: File[] = []
  readonly #directories = new Map<string, number>()
  #reader: Reader | undefined
  #lastName = 0

  constructor(name: string, client: FuseClient, random: Random) {
    this.name = name
    this.#client = client
    this.#random = random
  }

  async arrive(): Promise<void> {
    this.#directory = (await this.#client.mkdir(ROOT, this.name)).nodeid
  }

  /** Does one thing. Rejects if the daemon refused it, or answered anything else than what must be. */
  async act(): Promise<void> {
    const random = this.#random
    const open = this.#files.filter(({ fh }) => fh !== undefined)
    const file = open.length === 0 ? undefined : random.pick(open)
    const choice = random.below(20)
    if (file === undefined || (choice === 0 && open.length < MOST_FILES)) return this.#create()
    if (choice < 6) return this.#write(file)
    if (choice < 10) return this.#read(file)
    if (choice === 10) return this.#truncate(file)
    if (choice === 11) return this.#sync(file)
    if (choice === 12) return this.#close(file)
    if (choice === 13) return this.#reopen()
    if (choice === 14) return this.#rename()
    if (choice === 15) return this.#unlink()
    if (choice === 16) return this.#makeOrRemoveDirectory()
    if (choice === 17) return this.#status(file)
    return this.#list()
  }

  /** Reads every file to its end, and all names. */
  async inspect(): Promise<void> {
    for (const file of [...this.#files]) {
      if (file.fh === undefined) await this.#open(file)
      await this.#readWhole(file)
      await this.#close(file)
    }
    this.#reader = undefined
    const names = new Set<string>()
    const { fh } = await this.#client.opendir(this.#directory)
    for (let cookie = 0n; ; ) {
      const entries = await this.#client.readdir(this.#directory, fh, cookie)
      if (entries.length === 0) break
      for (const { name, off } of entries) {
        if (names.has(name)) throw new Error(`${name} is listed twice`)
        names.add(name)
        cookie = off
      }
    }
    await this.#client.releasedir(this.#directory, fh)
    const wanted = ['.', '..', ...this.#names()].sort()
    if ([...names].sort().join() !== wanted.join())
      throw new Error(`listed ${[...names].sort()}, not ${wanted}`)
  }

  /** What must be in the directory at the end, by name; undefined for a directory. */
  get tree(): Map<string, Buffer | undefined> {
    const tree = new Map<string, Buffer | undefined>()
    for (const { name, content } of this.#files) if (name !== undefined) tree.set(name, content)
    for (const name of this.#directories.keys()) tree.set(name, undefined)
    return tree
  }

  #names(): string[] {
    return [...this.tree.keys()]
  }

  #freshName(): string {
    return `${this.name}-${this.#random.below(2) === 0 ? 'file' : 'a much longer name of a file'}-${++this.#lastName}`
  }

  #say(words: string): void {
    this.history.push(words)
  }

  #touch(...names: (string | undefined)[]): void {
    for (const name of names) if (name !== undefined) this.#reader?.untouched.delete(name)
  }

  async #create(): Promise<void> {
    const name = this.#freshName()
    this.#say(`create ${name}`)
    this.#touch(name)
    const { entry, open } = await this.#client.create(this.#directory, name, 0o644, O_RDWR | O_CREAT | O_EXCL)
    this.#files.push({ name, node: entry.nodeid, lookups: 1, fh: open.fh, content: Buffer.alloc(0) })
  }

  async #write(file: File): Promise<void> {
    const random = this.#random
    const data = random.bytes(1 + random.below(random.below(4) === 0 ? LARGEST_WRITE : 5000))
    const end = file.content.length
    const offset = random.below(2) === 0 ? end : random.below(Math.min(LARGEST_FILE, end + 10_000) + 1)
    if (offset + data.length > LARGEST_FILE) return this.#truncate(file)
    this.#say(`write ${file.name} ${data.length} at ${offset}`)
    const written = await this.#client.write(file.node, file.fh!, offset, data)
    if (written !== data.length) throw new Error(`${written} bytes were written`)
    if (offset + data.length > end)
      file.content = Buffer.concat([file.content, Buffer.alloc(offset + data.length - end)])
    file.content.set(data, offset)
  }

  async #read(file: File): Promise<void> {
    const offset = this.#random.below(file.content.length + 1)
    const size = 1 + this.#random.below(100_000)
    this.#say(`read ${file.name} ${size} at ${offset}`)
    this.#compare(file, offset, await this.#client.read(file.node, file.fh!, offset, size), size)
  }

  async #readWhole(file: File): Promise<void> {
    this.#say(`read ${file.name}, ${file.content.length}`)
    this.#compare(file, 0, await this.#client.read(file.node, file.fh!, 0, LARGEST_FILE), LARGEST_FILE)
  }

  #compare({ name, content }: File, offset: number, bytes: Uint8Array, size: number): void {
    const wanted = content.subarray(offset, offset + size)
    if (wanted.equals(bytes)) return
    const at = wanted.findIndex((byte, i) => byte !== bytes[i])
    throw new Error(
      `${name} has ${bytes.length} bytes at ${offset}, not ${wanted.length}; they differ at ${offset + at}`,
    )
  }

  async #truncate(file: File): Promise<void> {
    const size = this.#random.below(Math.min(LARGEST_FILE, file.content.length + 5000) + 1)
    this.#say(`truncate ${file.name} to ${size}`)
    const change = { valid: FATTR_SIZE | FATTR_FH, fh: file.fh!, size }
    const { attr } = await this.#client.setattr(file.node, change)
    if (attr.size !== size) throw new Error(`the size is ${attr.size}`)
    const content = Buffer.alloc(size)
    file.content.copy(content)
    file.content = content
  }

  async #sync(file: File): Promise<void> {
    this.#say(`fsync ${file.name}`)
    await this.#client.fsync(file.node, file.fh!)
  }

  async #close(file: File): Promise<void> {
    this.#say(`close ${file.name}`)
    const { node, fh, lookups } = file
    await this.#client.flush(node, fh!)
    await this.#client.release(node, fh!)
    file.fh = undefined
    file.lookups = 0
    await this.#client.forget(node, lookups)
    if (file.name === undefined) this.#files.splice(this.#files.indexOf(file), 1)
  }

  async #reopen(): Promise<void> {
    const closed = this.#files.filter(({ fh }) => fh === undefined)
    if (closed.length > 0) await this.#open(this.#random.pick(closed))
  }

  async #open(file: File): Promise<void> {
    this.#say(`open ${file.name}`)
    const { nodeid } = await this.#client.lookup(this.#directory, file.name!)
    file.node = nodeid
    file.lookups++
    file.fh = (await this.#client.open(nodeid, O_RDWR)).fh
  }

  /** To a new name, or over another file. */
  async #rename(): Promise<void> {
    const named = this.#files.filter(({ name }) => name !== undefined)
    if (named.length === 0) return
    const file = this.#random.pick(named)
    const target = this.#random.below(3) === 0 ? this.#random.pick(named) : undefined
    if (target === file) return
    const from = file.name!
    const to = target?.name ?? this.#freshName()
    this.#say(`rename ${from} to ${to}`)
    this.#touch(from, to)
    await this.#holding([file, target], () => this.#client.rename(this.#directory, from, this.#directory, to))
    file.name = to
    if (target !== undefined) this.#lose(target)
  }

  /** A kernel knows what it renames and removes, and does not forget it before that is done. */
  async #holding(files: readonly (File | undefined)[], change: () => Promise<void>): Promise<void> {
    const held: number[] = []
    for (const file of files) {
      if (file === undefined || file.fh !== undefined) continue
      held.push((await this.#client.lookup(this.#directory, file.name!)).nodeid)
    }
    await change()
    for (const node of held) await this.#client.forget(node)
  }

  async #unlink(): Promise<void> {
    const named = this.#files.filter(({ name }) => name !== undefined)
    if (named.length === 0) return
    const file = this.#random.pick(named)
    this.#say(`unlink ${file.name}`)
    this.#touch(file.name)
    await this.#holding([file], () => this.#client.unlink(this.#directory, file.name!))
    this.#lose(file)
  }

  #lose(file: File): void {
    file.name = undefined
    if (file.fh === undefined) this.#files.splice(this.#files.indexOf(file), 1)
  }

  async #makeOrRemoveDirectory(): Promise<void> {
    const [name] = this.#directories.keys()
    if (name !== undefined && this.#random.below(2) === 0) {
      this.#say(`rmdir ${name}`)
      this.#touch(name)
      await this.#client.rmdir(this.#directory, name)
      this.#directories.delete(name)
      return
    }
    const fresh = this.#freshName()
    this.#say(`mkdir ${fresh}`)
    this.#touch(fresh)
    this.#directories.set(fresh, (await this.#client.mkdir(this.#directory, fresh)).nodeid)
  }

  async #status(file: File): Promise<void> {
    this.#say(`stat ${file.name}`)
    const { attr } = await this.#client.getattr(file.node, file.fh)
    if (attr.size !== file.content.length)
      throw new Error(`the size is ${attr.size}, not ${file.content.length}`)
  }

  /** The next piece of the directory; whoever was there all the time is seen once by its end. */
  async #list(): Promise<void> {
    if (this.#reader === undefined) {
      this.#say('opendir')
      const { fh } = await this.#client.opendir(this.#directory)
      this.#reader = { fh, cookie: 0n, untouched: new Set(this.#names()), seen: new Map() }
    }
    const reader = this.#reader
    this.#say(`readdir from ${reader.cookie}`)
    const entries = await this.#client.readdir(this.#directory, reader.fh, reader.cookie, LISTING_ROOM)
    for (const { name, off } of entries) {
      reader.seen.set(name, (reader.seen.get(name) ?? 0) + 1)
      reader.cookie = off
    }
    if (entries.length > 0) return
    this.#reader = undefined
    await this.#client.releasedir(this.#directory, reader.fh)
    for (const name of reader.untouched) {
      const times = reader.seen.get(name) ?? 0
      if (times !== 1) throw new Error(`${name} was listed ${times} times`)
    }
  }
}
