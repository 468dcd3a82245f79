// The virtio-fs device (virtio 1.2, 5.11): the only place where virtio and FUSE meet. All queues, hiprio included, feed one FUSE
// server: any opcode is taken on any queue.

import type { FuseErrorReport, FuseHandler, SessionLog } from '@ovfs/fuse-proto'
import { FuseServer } from '@ovfs/fuse-proto'
import { VirtioDevice } from '@ovfs/virtio-device'
import { fsConfigSpace } from './config-space.ts'

export interface VirtioFsDeviceOptions {
  readonly handler: FuseHandler
  /** Rings, the hiprio queue included; at least 2. */
  readonly queueCount: number
  /**
   * The name that the guest mounts, for monitors that ask the device for it; up to 36 bytes. QEMU has a tag of its own, and
   * warns of a device that has one too.
   */
  readonly tag?: string
  /** Where the session survives this process. The handler writes into the same. */
  readonly log?: SessionLog | undefined
  /** A request failed for a reason that is not an errno. The guest was told EIO. */
  readonly onRequestError: (report: FuseErrorReport) => void
  /** Given a line for each request and its answer. */
  readonly onTrace?: (line: string) => void
}

export class VirtioFsDevice extends VirtioDevice {
  readonly saveState?: () => Promise<Uint8Array>
  readonly loadState?: (state: Uint8Array) => Promise<void>
  readonly #fuse: FuseServer
  /** The session is left to the next process. */
  #leaving = false

  constructor({ handler, queueCount, tag, log, onRequestError, onTrace }: VirtioFsDeviceOptions) {
    const fuse = new FuseServer(handler, {
      onError: onRequestError,
      log,
      ...(onTrace && { trace: { now: () => performance.now(), line: onTrace } }),
    })
    const space = tag === undefined ? undefined : fsConfigSpace(tag, queueCount - 1)
    super({
      queueCount,
      config: space && { read: () => space },
      handlerOf: () => chain => fuse.handle(chain),
    })
    this.#fuse = fuse
    if (handler.save && handler.restore) {
      this.saveState = () => fuse.save()
      this.loadState = state => fuse.restore(state)
    }
  }

  override reset(): void {
    super.reset()
    if (this.#leaving) this.#fuse.leave()
    // Never rejects. A next session's FUSE_INIT waits for it, this connection need not.
    else void this.#fuse.end()
  }

  /** Goes on with the session in the log, to be called before the first connection. See `FuseServer.resume`. */
  resume(): Promise<boolean> {
    return this.#fuse.resume()
  }

  /** What ends the connection from now on does not end the session, if there is one that survives. */
  leaveSession(): void {
    this.#leaving = this.#fuse.isKept
    this.keepsRecords = this.#leaving
  }

  /** Ends the FUSE session, unless it was left; resolves when the handler has. Never rejects. */
  async end(): Promise<void> {
    if (!this.#leaving) await this.#fuse.end()
  }
}
