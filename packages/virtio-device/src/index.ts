// A device of any type, and what its author needs of the layers below.

export {
  BackendServer,
  type BackendServerOptions,
  type ConfigSpace,
  type FdStore,
  ServiceManager,
} from '@ovfs/vhost-user'
export { type Chain, copyFromSpans, copyToSpans, type Spans } from '@ovfs/virtqueue'
export { type ChainHandler, VirtioDevice, type VirtioDeviceOptions } from './virtio-device.ts'
