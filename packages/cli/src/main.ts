#!/usr/bin/env node
// The program `ovfs`, if OpenDAL can be loaded: that is found out before anything imports it.

import { bindingFailure } from './binding.ts'
import { ExitCode } from './exit-code.ts'

try {
  await import('opendal')
} catch (error) {
  process.stderr.write(`ovfs: ${bindingFailure(error)}\n`)
  process.exit(ExitCode.FAILED)
}
await import('./ovfs.ts')
