// What an embedder needs: the device, a session that survives, and the error that `listen` throws.

export {
  type FdStore,
  type ListeningSocket,
  ServiceManager,
  VhostUserError,
  type VhostUserErrorCode,
} from '@ovfs/vhost-user'
export { VirtioFsDevice, type VirtioFsDeviceOptions } from './device.ts'
export { type KeptSession, openKeptSession } from './kept-session.ts'
export { VirtioFs, type VirtioFsOptions } from './virtio-fs.ts'
