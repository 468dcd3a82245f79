// npm start: prepares this machine, then runs the main job (tests/demo/main.ts). Arguments go through.
//   npm start                       a folder with a few files, in a Linux guest at /mnt/ovfs
//   npm start -- s3://bucket?...    that storage instead; further arguments as for `ovfs serve`
//   npm start -- --no-vm            no guest: our own front-end and driver

import { prepare } from './prepare.mjs'
import { end } from './step.mjs'
import { build } from './workspace.mjs'

const args = process.argv.slice(2)
try {
  prepare({ guest: !args.includes('--no-vm') })
  build()
} catch (error) {
  end(error)
}
const { main } = await import('../tests/dist/demo/main.js')
process.exitCode = await main(args)
