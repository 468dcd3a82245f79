export { VirtioFsDevice, type VirtioFsDeviceOptions } from './device.ts'
export { VirtioFs, type VirtioFsOptions } from './virtio-fs.ts'
