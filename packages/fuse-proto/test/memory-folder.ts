// Memory with names in this process: what a mapped folder is to a real one. A copy is what a killed process leaves.

import type { KeptFolder, KeptMemory } from '../src/index.ts'

export class MemoryFolder implements KeptFolder {
  readonly buffers: Map<string, ArrayBuffer>
  readonly #lost = new Set<ArrayBuffer>()
  /** Bytes that a new memory may have at most. */
  room = Number.POSITIVE_INFINITY

  constructor(buffers: Iterable<readonly [string, ArrayBuffer]> = []) {
    this.buffers = new Map(buffers)
  }

  copy(): MemoryFolder {
    return new MemoryFolder(Array.from(this.buffers, ([name, buffer]) => [name, buffer.slice(0)]))
  }

  open(name: string): KeptMemory | undefined {
    const buffer = this.buffers.get(name)
    return buffer && this.#memory(buffer)
  }

  create(name: string, bytes: number): KeptMemory {
    if (bytes > this.room) throw new Error('no room')
    const buffer = new ArrayBuffer(bytes)
    this.buffers.set(name, buffer)
    return this.#memory(buffer)
  }

  /** Somebody takes the bytes of a memory away, which is zeros from now on. */
  shorten(name: string): void {
    const buffer = this.buffers.get(name)!
    new Uint8Array(buffer).fill(0)
    this.#lost.add(buffer)
  }

  #memory(buffer: ArrayBuffer): KeptMemory {
    const lost = this.#lost
    return {
      buffer,
      get isLost() {
        return lost.has(buffer)
      },
      release: () => undefined,
    }
  }

  rename(from: string, to: string): void {
    this.buffers.set(to, this.buffers.get(from)!)
    this.buffers.delete(from)
  }

  remove(name: string): void {
    this.buffers.delete(name)
  }
}
