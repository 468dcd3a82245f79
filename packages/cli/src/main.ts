#!/usr/bin/env node
// The program `ovfs`. OpenDAL's binding is native and may not load on this machine, so it is loaded before the rest.

import { closeDebugger } from './debugger.ts'
import { ExitCode } from './exit-code.ts'

try {
  await import('@ovfs/opendal-fs')
} catch (error) {
  // Not instanceof: the class is exported by the module that failed to load.
  if (!(error instanceof Error) || error.name !== 'BindingError') throw error
  process.stderr.write(`ovfs: ${error.message}\n`)
  process.exit(ExitCode.FAILED)
}
// A SIGUSR1 that arrived before the first line ran has taken effect by now. No secret has been read yet.
const warning = closeDebugger()
if (warning !== undefined) process.stderr.write(`ovfs: warning: ${warning}\n`)
await import('./ovfs.ts')
