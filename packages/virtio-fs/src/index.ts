// What an embedder needs: the device, and the error that `listen` throws.

export { VhostUserError, type VhostUserErrorCode } from '@ovfs/vhost-user'
export { VirtioFsDevice, type VirtioFsDeviceOptions } from './device.ts'
export { VirtioFs, type VirtioFsOptions } from './virtio-fs.ts'
