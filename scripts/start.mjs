// npm start: builds the workspace, then runs the main job (tests/demo/main.ts). Arguments go through.
//   npm start                       a folder with a few files, in a Linux guest at /mnt/ovfs
//   npm start -- s3://bucket?...    that storage instead; further arguments as for `ovfs serve`
//   npm start -- --kernel FILE      that kernel in the guest; its modules from /lib/modules or --modules DIR
//   npm start -- --no-vm            no guest: our own front-end and driver

import { ensureGuestKernel, ensureInstalledBusybox, ensureQemu } from './debian.mjs'
import { prepare } from './prepare.mjs'
import { end } from './step.mjs'
import { build } from './workspace.mjs'

try {
  prepare({})
  build()
} catch (error) {
  end(error)
}
const { main } = await import('../tests/dist/demo/main.js')
process.exitCode = await main(process.argv.slice(2), {
  qemu: ensureQemu,
  archive: ensureGuestKernel,
  busybox: ensureInstalledBusybox,
})
