// The file system under test as a kernel uses it, without a kernel: requests are encoded, dispatched and decoded in this
// process, paths are walked name by name, and every lookup is given back when it is not needed any more.

import {
  type Attr,
  type DirectoryEntry,
  FsError,
  FuseClient,
  type FuseErrorReport,
  FuseServer,
  ROOT_NODE,
  spansOf,
} from '@ovfs/fuse-proto'
import { OpendalFs, type OpendalFsOptions, type Operator } from '@ovfs/opendal-fs'

export const S_IFMT = 0o170000
export const S_IFDIR = 0o040000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000
/** Small, so that a listing takes several requests. */
const LISTING_BYTES = 400

export interface Seen {
  readonly path: string
  readonly attr: Attr
  readonly content: string
  readonly xattrs: Readonly<Record<string, string>>
}

export class Mounted {
  readonly client: FuseClient
  /** What the server could not answer with an errno: always a bug. */
  readonly reports: FuseErrorReport[] = []
  readonly #fs: OpendalFs

  private constructor(operator: Operator, options: OpendalFsOptions) {
    this.#fs = new OpendalFs(operator, options)
    const server = new FuseServer(this.#fs, { onError: report => this.reports.push(report) })
    this.client = new FuseClient({
      submit: (request, capacity) => {
        const reply = new Uint8Array(capacity)
        return new Promise(resolve => {
          server.handle({
            readable: spansOf([Buffer.concat(request)]),
            writable: spansOf([reply]),
            complete: written => resolve(reply.subarray(0, written)),
          })
        })
      },
    })
  }

  static async mount(operator: Operator, options: OpendalFsOptions): Promise<Mounted> {
    const mounted = new Mounted(operator, options)
    await mounted.client.init()
    return mounted
  }

  async unmount(): Promise<void> {
    await this.client.destroy()
    await this.#fs.close()
  }

  /** Walks to a path and works on the node; what was looked up on the way is forgotten afterwards. */
  async at<T>(path: string, work: (node: number, attr: Attr | undefined) => Promise<T>): Promise<T> {
    const known: number[] = []
    try {
      let node: number = ROOT_NODE
      let attr: Attr | undefined
      for (const name of path.split('/').filter(part => part !== '')) {
        if (attr !== undefined && (attr.mode & S_IFMT) !== S_IFDIR) throw new FsError('ENOTDIR', path)
        const entry = await this.client.lookup(node, name)
        if (entry.nodeid === 0) throw new FsError('ENOENT', path)
        node = entry.nodeid
        attr = entry.attr
        known.push(node)
      }
      return await work(node, attr)
    } finally {
      for (const node of known) await this.client.forget(node)
    }
  }

  /** Works on the directory that holds a path's last name. */
  in<T>(path: string, work: (parent: number, name: string) => Promise<T>): Promise<T> {
    const at = path.lastIndexOf('/')
    return this.at(path.slice(0, Math.max(0, at)), (parent, attr) => {
      if (attr !== undefined && (attr.mode & S_IFMT) !== S_IFDIR) throw new FsError('ENOTDIR', path)
      return work(parent, path.slice(at + 1))
    })
  }

  /** open(2) with O_CREAT; what is there is opened, as Linux does after its own lookup. */
  create(path: string, mode: number): Promise<OpenFile> {
    return this.in(path, async (parent, name) => {
      const { nodeid, attr } = await this.#lookup(parent, name)
      if (nodeid !== 0) {
        if ((attr.mode & S_IFMT) === S_IFDIR) return this.#refuse(nodeid, 'EISDIR')
        if ((attr.mode & S_IFMT) === S_IFLNK) return this.#refuse(nodeid, 'ELOOP')
        // The kernel opens pipes and devices itself; a socket, and a pipe that nobody reads, is ENXIO.
        if ((attr.mode & S_IFMT) !== S_IFREG) return this.#refuse(nodeid, 'ENXIO')
        const { fh } = await this.client.open(nodeid, 2)
        return new OpenFile(this.client, nodeid, fh)
      }
      const { entry, open } = await this.client.create(parent, name, mode)
      return new OpenFile(this.client, entry.nodeid, open.fh)
    })
  }

  async #lookup(parent: number, name: string): Promise<{ nodeid: number; attr: Attr }> {
    try {
      return await this.client.lookup(parent, name)
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENOENT') return { nodeid: 0, attr: undefined! }
      throw error
    }
  }

  async #refuse(node: number, code: 'EISDIR' | 'ELOOP' | 'ENXIO'): Promise<never> {
    await this.client.forget(node)
    throw new FsError(code)
  }

  /** Every node below the root, read whole. */
  async everything(withXattrs: boolean): Promise<Seen[]> {
    const seen: Seen[] = []
    const visit = async (node: number, prefix: string): Promise<void> => {
      for (const { name, entry } of await this.#list(node)) {
        // Node id 0 leaves the attributes to a lookup.
        const known = entry !== undefined && entry.nodeid !== 0
        const { nodeid, attr } = known ? entry : await this.client.lookup(node, name)
        const path = `${prefix}${name}`
        const kind = attr.mode & S_IFMT
        const content = await this.#contentOf(nodeid, attr)
        const xattrs = withXattrs ? await this.#xattrs(nodeid) : {}
        seen.push({ path, attr, content, xattrs })
        if (kind === S_IFDIR) await visit(nodeid, `${path}/`)
        await this.client.forget(nodeid)
      }
    }
    await visit(ROOT_NODE, '')
    return seen
  }

  async #list(node: number): Promise<DirectoryEntry[]> {
    const { fh } = await this.client.opendir(node)
    const all: DirectoryEntry[] = []
    for (let cookie = 0n; ; ) {
      const part = await this.client.readdirplus(node, fh, cookie, LISTING_BYTES)
      if (part.length === 0) break
      all.push(...part)
      cookie = part.at(-1)!.off
    }
    await this.client.releasedir(node, fh)
    return all.filter(({ name }) => name !== '.' && name !== '..')
  }

  async #contentOf(node: number, { mode, size }: Attr): Promise<string> {
    if ((mode & S_IFMT) === S_IFLNK) return this.client.readlink(node)
    return (mode & S_IFMT) === S_IFREG ? this.#content(node, size) : ''
  }

  async #content(node: number, listed: number): Promise<string> {
    const { fh } = await this.client.open(node)
    const { attr } = await this.client.getattr(node, fh)
    const file = new OpenFile(this.client, node, fh)
    const bytes = await file.readAll()
    if (bytes.byteLength !== attr.size || listed !== attr.size)
      throw new Error(`sizes: ${listed} listed, ${attr.size} asked, ${bytes.byteLength} read`)
    await file.release()
    return Buffer.from(bytes).toString('latin1')
  }

  async #xattrs(node: number): Promise<Record<string, string>> {
    const shown: Record<string, string> = {}
    for (const name of await this.client.listxattr(node)) {
      if (name.startsWith('user.ovfs.')) continue
      shown[name] = Buffer.from(await this.client.getxattr(node, name)).toString('latin1')
    }
    return shown
  }
}

/** Holds the node as long as it is open. */
export class OpenFile {
  readonly client: FuseClient
  readonly node: number
  readonly fh: number

  constructor(client: FuseClient, node: number, fh: number) {
    this.client = client
    this.node = node
    this.fh = fh
  }

  async readAll(): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    for (let at = 0; ; ) {
      const part = await this.client.read(this.node, this.fh, at, 4096)
      if (part.byteLength === 0) return Buffer.concat(parts)
      parts.push(part)
      at += part.byteLength
    }
  }

  async release(): Promise<void> {
    await this.client.flush(this.node, this.fh)
    await this.client.release(this.node, this.fh)
  }

  /** close(2), and the kernel forgets what opening looked up. */
  async close(): Promise<void> {
    await this.release()
    await this.client.forget(this.node)
  }
}
