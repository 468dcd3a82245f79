#!/usr/bin/env node
// The program `ovfs`. OpenDAL's binding is native and may not load on this machine, so it is loaded before anything else.

import { ExitCode } from './exit-code.ts'

try {
  await import('@ovfs/opendal-fs')
} catch (error) {
  // The class of the error is in the module that did not load.
  if (!(error instanceof Error) || error.name !== 'BindingError') throw error
  process.stderr.write(`ovfs: ${error.message}\n`)
  process.exit(ExitCode.FAILED)
}
await import('./ovfs.ts')
