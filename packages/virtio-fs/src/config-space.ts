// The configuration space of a virtio-fs device (virtio 1.2, 5.11.4): its tag and how many request queues it has. Monitors that
// keep the space themselves, as QEMU does, never ask for it.

const TAG_SIZE = 36
/** struct virtio_fs_config without the field that only VIRTIO_FS_F_NOTIFICATION brings. */
const CONFIG_SIZE = TAG_SIZE + 4

/** Throws RangeError if the tag is not 1 to 36 bytes of UTF-8 without a NUL. */
export function fsConfigSpace(tag: string, requestQueues: number): Uint8Array {
  const name = new TextEncoder().encode(tag)
  if (name.byteLength === 0 || name.byteLength > TAG_SIZE || name.includes(0)) {
    throw new RangeError(`a tag has 1 to ${TAG_SIZE} bytes, ${JSON.stringify(tag)} has ${name.byteLength}`)
  }
  const space = new Uint8Array(CONFIG_SIZE)
  // 5.11.4: padded with NUL, and not terminated if it fills the field.
  space.set(name)
  new DataView(space.buffer).setUint32(TAG_SIZE, requestQueues, true)
  return space
}
