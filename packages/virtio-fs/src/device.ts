// The virtio-fs device (virtio 1.2, 5.11): the only place where virtio and FUSE meet. All queues, hiprio included, feed one FUSE
// server: any opcode is taken on any queue.

import type { FuseErrorReport, FuseHandler } from '@ovfs/fuse-proto'
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
  /** A request failed for a reason that is not an errno. The guest was told EIO. */
  readonly onRequestError: (report: FuseErrorReport) => void
  /** Given a line for each request and its answer. */
  readonly onTrace?: (line: string) => void
}

export class VirtioFsDevice extends VirtioDevice {
  readonly saveState?: () => Promise<Uint8Array>
  readonly loadState?: (state: Uint8Array) => Promise<void>
  readonly #fuse: FuseServer

  constructor({ handler, queueCount, tag, onRequestError, onTrace }: VirtioFsDeviceOptions) {
    const fuse = new FuseServer(handler, {
      onError: onRequestError,
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
    // Never rejects. A next session's FUSE_INIT waits for it, this connection need not.
    void this.#fuse.end()
  }

  /** Ends the FUSE session; resolves when the handler has. Never rejects. */
  end(): Promise<void> {
    return this.#fuse.end()
  }
}
