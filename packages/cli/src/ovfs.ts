// The process around program.ts. It ends when the command has ended, never because the event loop ran dry and never later:
// storage calls cannot be cancelled, so one without an answer must not hold the process.

import { writeSync } from 'node:fs'
import { ServiceManager } from '@ovfs/virtio-fs'
import { ExitCode } from './exit-code.ts'
import { openLogSink } from './log-sink.ts'
import { runProgram } from './program.ts'
import { Redactor } from './secret.ts'
import { openShare } from './share.ts'

const redactor = new Redactor()
const writeStderr = openLogSink(process.stderr)

function defect(what: string, error: unknown): never {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
  writeStderr(`ovfs: a defect of ovfs: ${what}: ${redactor.redact(detail)}\n`)
  process.exit(ExitCode.DEFECT)
}

process.on('uncaughtException', error => defect('an exception was not caught', error))
process.on('unhandledRejection', error => defect('a promise was rejected and nobody looked', error))
process.on('beforeExit', () => defect('nothing is left to wait for', new Error('the event loop is empty')))

try {
  const code = await runProgram(process.argv.slice(2), {
    openShare,
    signals: process,
    frontendWaits: ServiceManager.hasSession(),
    serviceManager: () => ServiceManager.fromEnvironment(),
    write: writeStderr,
    print: writeStdout,
    redactor,
    // libuv writes the title over the arguments and clears what is left of them.
    hideCommandLine: title => {
      process.title = title
    },
  })
  process.exit(code)
} catch (error) {
  defect('a command failed', error)
}

function writeStdout(text: string): void {
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'EAGAIN') continue
      if (code === 'EPIPE') return
      throw error
    }
  }
}
