// Keeps Node's debugger closed. A process that connects to the debugger can read all memory: the storage's credentials and the
// guest's data. By default SIGUSR1 opens it on 127.0.0.1, where every user of the host can connect. main.ts imports this module first.

import inspector from 'node:inspector'

// Node opens no debugger while SIGUSR1 has a listener. SIGUSR2 requests the status; without a listener it would end a daemon that is
// still starting.
for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => undefined)

const ASKED_FOR = /^--inspect(-brk|-wait)?(=|$)/

/**
 * Closes a debugger that a SIGUSR1 opened before the listener was there.
 * @returns a warning if one stays open, because an option of Node asks for it
 */
export function closeDebugger(): string | undefined {
  if (inspector.url() === undefined) return undefined
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  const option = options.find(argument => ASKED_FOR.test(argument))
  if (option !== undefined)
    return `${option} has opened the debugger: whoever connects to it can read the storage's credentials`
  inspector.close()
  return undefined
}
