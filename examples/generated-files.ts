// A file system that nobody stored, served over virtio-fs: `numbers/N`, for any N, holds the prime factors of N, and `now`
// holds the host's time as of the moment it was opened. The smallest FuseHandler that is of some use.
//   node examples/dist/generated-files.js SOCKET
//   qemu-system-x86_64 ... -chardev socket,id=fs,path=SOCKET -device vhost-user-fs-pci,chardev=fs,tag=generated
//   mount -t virtiofs generated /mnt

import {
  type Attr,
  attrOf,
  attrReplyOf,
  type DirentSink,
  entryOf,
  type FileHandle,
  FOPEN_DIRECT_IO,
  FsError,
  type FuseHandler,
  type NodeId,
  type ReplyData,
  ROOT_NODE,
} from '@ovfs/fuse-proto'
import { VirtioFs } from '@ovfs/virtio-fs'
import { stopped } from './serve.ts'

const NOW = 2 as NodeId
const NUMBERS = 3 as NodeId
/** The file `numbers/N` is node FIRST_NUMBER + N. */
const FIRST_NUMBER = 16
const LARGEST = 2 ** 32 - 1
/** What a listing of `numbers` shows; the others are there when they are named. */
const LISTED = 100
/** Nothing here ever changes, so the guest need not ask twice. */
const SECONDS = 3600

const encoder = new TextEncoder()
const nodeOf = (number: number) => (FIRST_NUMBER + number) as NodeId

function factors(number: number): Uint8Array {
  const primes: number[] = []
  let rest = number
  for (let prime = 2; prime * prime <= rest; prime++) {
    for (; rest % prime === 0; rest /= prime) primes.push(prime)
  }
  if (rest > 1 || primes.length === 0) primes.push(rest)
  return encoder.encode(`${number} = ${primes.join(' x ')}\n`)
}

function numberAt(node: NodeId): number {
  const number = node - FIRST_NUMBER
  // A guest can send any node id.
  if (number < 1 || number > LARGEST) throw new FsError('ESTALE')
  return number
}

function attributes(node: NodeId): Attr {
  if (node === ROOT_NODE || node === NUMBERS) return attrOf({ ino: node, mode: 0o040555 })
  // Its length is not known before it is opened; direct I/O reads to the end regardless.
  if (node === NOW) return attrOf({ ino: node, mode: 0o100444 })
  return attrOf({ ino: node, mode: 0o100444, size: factors(numberAt(node)).byteLength })
}

function find(parent: NodeId, name: string): NodeId {
  if (parent === ROOT_NODE && name === 'now') return NOW
  if (parent === ROOT_NODE && name === 'numbers') return NUMBERS
  const isNumber = parent === NUMBERS && /^[1-9]\d{0,9}$/.test(name) && Number(name) <= LARGEST
  if (!isNumber) throw new FsError('ENOENT')
  return nodeOf(Number(name))
}

function listing(node: NodeId): [name: string, node: NodeId][] {
  if (node === ROOT_NODE)
    return [
      ['now', NOW],
      ['numbers', NUMBERS],
    ]
  if (node !== NUMBERS) throw new FsError('ENOTDIR')
  return Array.from({ length: LISTED }, (_, index) => [String(index + 1), nodeOf(index + 1)])
}

class GeneratedFiles implements FuseHandler {
  /** What an open `now` says. */
  readonly #opened = new Map<FileHandle, Uint8Array>()
  #nextHandle = 1

  init() {
    this.#opened.clear()
    return { flags: 0 }
  }

  lookup(_: unknown, parent: NodeId, name: string) {
    return entryOf(attributes(find(parent, name)), SECONDS)
  }

  getattr(_: unknown, node: NodeId) {
    return attrReplyOf(attributes(node), SECONDS)
  }

  open(_: unknown, node: NodeId) {
    if (node !== NOW) return { fh: 0 as FileHandle, openFlags: 0 }
    if (this.#opened.size >= 1000) throw new FsError('ENFILE')
    const fh = this.#nextHandle++ as FileHandle
    this.#opened.set(fh, encoder.encode(`${new Date().toISOString()}\n`))
    return { fh, openFlags: FOPEN_DIRECT_IO }
  }

  read(_: unknown, node: NodeId, fh: FileHandle, offset: number, size: number, out: ReplyData) {
    const content = node === NOW ? this.#opened.get(fh) : factors(numberAt(node))
    if (!content) throw new FsError('EBADF')
    if (offset < content.byteLength) out.write(content, offset, Math.min(size, content.byteLength - offset))
  }

  release(_: unknown, _node: NodeId, fh: FileHandle) {
    this.#opened.delete(fh)
  }

  readdir(_: unknown, node: NodeId, _fh: FileHandle, cookie: number, out: DirentSink) {
    for (const [index, [name, child]] of listing(node).entries()) {
      if (index < cookie) continue
      if (!out.add(name, child, attributes(child).mode >> 12, index + 1)) return
    }
  }
}

const [socketPath] = process.argv.slice(2)
if (socketPath === undefined) throw new Error('usage: generated-files SOCKET')
const onError = (error: unknown) => console.error(error)
const device = new VirtioFs({
  socketPath,
  handler: new GeneratedFiles(),
  onError,
  onRequestError: report => console.error(report),
})
device.listen()
console.log(`listening on ${socketPath}`)
await stopped(() => device.close())
