import { copyFromSpans, copyToSpans, DeviceQueue, DriverQueue, GuestMemory } from '@ovfs/virtqueue'

const onError = (error: Error) => console.error(error.message)
const ram = new ArrayBuffer(0x10000)
const memory = new GuestMemory()
memory.addRegion({
  guestAddress: 0x4000_0000,
  userAddress: 0x7f00_0000_0000,
  size: ram.byteLength,
  pieces: [ram],
})

const driver = new DriverQueue(memory, { size: 8, address: 0x4000_0000, eventIdx: true, onError })
const device = new DeviceQueue(memory, {
  ...driver.ring,
  base: 0,
  eventIdx: true,
  indirect: false,
  notify: () =>
    driver.collect((_head, written) => {
      console.log(new TextDecoder().decode(new Uint8Array(ram, 0x9000, written)))
    }),
  onError,
})

new Uint8Array(ram, 0x8000).set(new TextEncoder().encode('hello'))
driver.add([{ address: 0x4000_8000, length: 5 }], [{ address: 0x4000_9000, length: 64 }])
driver.publish()

device.drain(chain => {
  const request = new Uint8Array(chain.readable.byteLength)
  copyFromSpans(chain.readable, 0, request)
  const reply = new TextEncoder().encode(new TextDecoder().decode(request).toUpperCase())
  chain.complete(copyToSpans(chain.writable, 0, reply))
})
