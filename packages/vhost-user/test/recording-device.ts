// A device that writes down what the session asks of it, and answers as the test wishes.

import type { MappedRegion, RingConfig, VhostUserDevice } from '../src/device.ts'

export interface RunningRing {
  readonly config: RingConfig
  readonly notify: () => void
  readonly fail: (error: unknown) => void
}

export class RecordingDevice implements VhostUserDevice {
  readonly features = 0x1_3000_0000n
  readonly queueCount: number
  /** What happened, in order. */
  readonly log: string[] = []
  readonly regions: MappedRegion[] = []
  readonly rings = new Map<number, RunningRing>()
  kicks: number[]
  /** Replace to make the device behave otherwise. */
  onKick: (index: number) => boolean = () => false
  onStart: (ring: RingConfig) => void = () => {}
  onStop: (index: number) => number | Promise<number> = () => 0
  onAddRegion: () => void = () => {}
  onRemoveRegion: () => void | Promise<void> = () => {}
  onReset: () => void | Promise<void> = () => {}

  constructor(queueCount = 2) {
    this.queueCount = queueCount
    this.kicks = new Array(queueCount).fill(0)
  }

  setFeatures(features: bigint): void {
    this.log.push(`features 0x${features.toString(16)}`)
  }

  addRegion(region: MappedRegion): void {
    this.onAddRegion()
    this.log.push(`add 0x${region.guestAddress.toString(16)}`)
    this.regions.push(region)
  }

  removeRegion(region: MappedRegion): void | Promise<void> {
    this.log.push(`remove 0x${region.guestAddress.toString(16)}`)
    this.regions.splice(this.regions.indexOf(region), 1)
    return this.onRemoveRegion()
  }

  startRing(config: RingConfig, notify: () => void, fail: (error: unknown) => void): void {
    this.onStart(config)
    this.log.push(`start ${config.index} base ${config.base}`)
    this.rings.set(config.index, { config, notify, fail })
  }

  kickRing(index: number): boolean {
    this.kicks[index] = (this.kicks[index] as number) + 1
    return this.onKick(index)
  }

  stopRing(index: number): number | Promise<number> {
    this.log.push(`stop ${index}`)
    this.rings.delete(index)
    return this.onStop(index)
  }

  reset(): void | Promise<void> {
    this.log.push('reset')
    this.regions.length = 0
    this.rings.clear()
    return this.onReset()
  }

  /** One byte of guest memory, as the device sees it. */
  byteAt(guestAddress: number): number {
    for (const region of this.regions) {
      const offset = guestAddress - region.guestAddress
      if (offset >= 0 && offset < region.size) {
        const piece = region.pieces[Math.floor(offset / 2 ** 30)] as ArrayBuffer
        return new Uint8Array(piece)[offset % 2 ** 30] as number
      }
    }
    throw new RangeError(`no memory at 0x${guestAddress.toString(16)}`)
  }
}
