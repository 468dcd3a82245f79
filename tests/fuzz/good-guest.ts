// What a guest does that keeps the rules, before one that does not goes on in its session.

import { FuseClient } from '@ovfs/fuse-proto'
import type { FrontendMemory, FrontendSession } from '@ovfs/vhost-user'
import { DriverQueue, GuestMemory } from '@ovfs/virtqueue'

export interface GoodRing {
  readonly index: number
  /** Of the ring, and of its request and the room for the answer, 2 KiB each. */
  readonly address: number
  readonly requestAddress: number
  readonly eventIdx: boolean
}

/** Says INIT on a ring of its own, and waits for the answer. */
export async function sayInit(
  session: FrontendSession,
  memory: FrontendMemory,
  { index, address, requestAddress: at, eventIdx }: GoodRing,
): Promise<void> {
  const guest = new GuestMemory()
  for (const region of memory.regions) guest.addRegion(region)
  const queue = new DriverQueue(guest, { size: 4, address, eventIdx, onError: () => undefined })
  const place = (user: number) => address + (user - queue.ring.descAddress)
  const ring = await session.startRing({
    index,
    size: 4,
    descAddress: address,
    availAddress: place(queue.ring.availAddress),
    usedAddress: place(queue.ring.usedAddress),
  })
  const message = await initMessage()
  new Uint8Array(memory.regions[0]!.pieces[0] as ArrayBuffer).set(message, at)
  queue.add([{ address: at, length: message.byteLength }], [{ address: at + 0x800, length: 0x800 }], false)
  queue.publish()
  ring.kick()
  let isAnswered = false
  while (!isAnswered) {
    await new Promise(setImmediate)
    queue.collect(() => {
      isAnswered = true
    })
  }
}

/** INIT as our client sends it. */
export function initMessage(): Promise<Uint8Array> {
  return new Promise(resolve => {
    const client = new FuseClient({
      submit: request => {
        resolve(Buffer.concat(request))
        return new Promise(() => undefined)
      },
    })
    void client.init()
  })
}
