// GET_CONFIG and SET_CONFIG: part of the device's configuration space, read or written.

import type { VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import type { ConfigWindow } from './payloads.ts'

/** VHOST_SET_CONFIG_TYPE_MIGRATION */
const CONFIG_FLAG_MIGRATION = 1

/** The window with what is in it; undefined if it is not in the space. */
export function readConfig(
  { config }: VhostUserDevice,
  window: ConfigWindow | undefined,
): ConfigWindow | undefined {
  const space = config?.read()
  if (!space || !window) return undefined
  const end = window.offset + window.bytes.byteLength
  return end > space.byteLength ? undefined : { ...window, bytes: space.slice(window.offset, end) }
}

export function writeConfig(device: VhostUserDevice, window: ConfigWindow | undefined): void {
  const { config } = device
  if (!window || !config?.write || !readConfig(device, window)) {
    throw new VhostUserError('BAD_PAYLOAD', 'the configuration space cannot be written there')
  }
  try {
    config.write(window.offset, window.bytes, window.flags === CONFIG_FLAG_MIGRATION)
  } catch (cause) {
    throw new VhostUserError('DEVICE', 'the device did not take the configuration', { cause })
  }
}
