// A virtio block device (virtio 1.2, 5.2) over a file or an object of any OpenDAL service.
//   node examples/dist/vhost-user-blk.js SOCKET file disk.img
//   node examples/dist/vhost-user-blk.js SOCKET s3 disks/1.img bucket=b region=us-east-1
//   qemu-system-x86_64 ... -chardev socket,id=disk,path=SOCKET -device vhost-user-blk-pci,chardev=disk

import { type Chain, copyFromSpans, copyToSpans, VirtioDevice } from '@ovfs/virtio-device'
import { type BlockStore, openStore } from './block-store.ts'
import { serve } from './serve.ts'

const SECTOR = 512
/** Segments of one request; with the header and the status they must fit the queue. */
const MAX_SEGMENTS = 126
/** Longest request that is served; a guest that respects the limits above never comes near. */
const MAX_BYTES = 8 << 20
const QUEUES = 1

const F_SEG_MAX = 1n << 2n
const F_BLK_SIZE = 1n << 6n
const F_FLUSH = 1n << 9n
const FEATURES = F_SEG_MAX | F_BLK_SIZE | F_FLUSH

const T_IN = 0
const T_OUT = 1
const T_FLUSH = 4
const T_GET_ID = 8
const S_OK = 0
const S_IOERR = 1
const S_UNSUPP = 2

/** struct virtio_blk_req: le32 type, le32 reserved, le64 sector, then data; the last writable byte is the status. */
const HEADER_SIZE = 16
const ID = Buffer.from('ovfs-example-disk\0\0\0')

/** struct virtio_blk_config: le64 capacity, le32 size_max, le32 seg_max, geometry, le32 blk_size, ..., le16 num_queues. */
function configOf(size: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(60))
  view.setBigUint64(0, BigInt(size / SECTOR), true)
  view.setUint32(12, MAX_SEGMENTS, true)
  view.setUint32(20, SECTOR, true)
  view.setUint16(34, QUEUES, true)
  return new Uint8Array(view.buffer)
}

class Disk {
  readonly #store: BlockStore
  readonly #header = Buffer.alloc(HEADER_SIZE)

  constructor(store: BlockStore) {
    this.#store = store
  }

  /** Serves one request; others may overtake it. */
  readonly handle = (chain: Chain): void => {
    const room = chain.writable.byteLength
    // 5.2.6: without a byte for the status nothing can be answered.
    if (room === 0) {
      chain.complete(0)
      return
    }
    const finish = (status: number, written = 0) => {
      copyToSpans(chain.writable, room - 1, Uint8Array.of(status))
      // What lies between the data and the status was not written, so the device may only claim all or nothing of it.
      chain.complete(written === room - 1 ? room : 0)
    }
    this.#serve(chain, room - 1).then(
      ([status, written]) => finish(status, written),
      error => {
        console.error(error)
        finish(S_IOERR)
      },
    )
  }

  async #serve(chain: Chain, room: number): Promise<[status: number, written: number]> {
    if (copyFromSpans(chain.readable, 0, this.#header) < HEADER_SIZE) return [S_IOERR, 0]
    const type = this.#header.readUInt32LE(0)
    const offset = Number(this.#header.readBigUInt64LE(8)) * SECTOR
    const sent = chain.readable.byteLength - HEADER_SIZE
    switch (type) {
      case T_IN: {
        if (!this.#holds(offset, room)) return [S_IOERR, 0]
        const data = Buffer.allocUnsafeSlow(room)
        await this.#store.read(data, offset)
        return [S_OK, copyToSpans(chain.writable, 0, data)]
      }
      case T_OUT: {
        if (!this.#holds(offset, sent)) return [S_IOERR, 0]
        const data = Buffer.allocUnsafeSlow(sent)
        copyFromSpans(chain.readable, HEADER_SIZE, data)
        await this.#store.write(data, offset)
        return [S_OK, 0]
      }
      case T_FLUSH:
        await this.#store.flush()
        return [S_OK, 0]
      case T_GET_ID:
        return [S_OK, copyToSpans(chain.writable, 0, ID, 0, Math.min(ID.length, room))]
      default:
        return [S_UNSUPP, 0]
    }
  }

  /** 5.2.6: whole sectors, within the disk. */
  #holds(offset: number, length: number): boolean {
    return length % SECTOR === 0 && length <= MAX_BYTES && offset + length <= this.#store.size
  }
}

const [socketPath, scheme, path, ...options] = process.argv.slice(2)
if (socketPath === undefined || scheme === undefined || path === undefined) {
  throw new Error('usage: vhost-user-blk SOCKET file PATH | SOCKET SERVICE PATH [KEY=VALUE ...]')
}
const store = await openStore(scheme, path, options)
const disk = new Disk(store)
const config = configOf(store.size)
await serve(
  socketPath,
  new VirtioDevice({
    queueCount: QUEUES,
    features: FEATURES,
    config: { read: () => config },
    handlerOf: () => disk.handle,
  }),
)
