// A server of the tests in a process of its own: told its port, ready when it accepts connections there, killed with the test.

import { type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { EndedEarly, ended, ownProcess } from './process.ts'

export interface ListeningServer {
  stop(): Promise<void>
}

/** Starts a program that listens on a port of the loopback address; resolves when it accepts connections. */
export async function startListening(
  port: number,
  program: string,
  args: readonly string[],
  options: Omit<SpawnOptions, 'stdio'> = {},
): Promise<ListeningServer> {
  const child = ownProcess(spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] }))
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-10_000)
    })
  const end = ended(child)
  let failure: unknown
  end.catch(error => {
    failure = error
  })
  while (!(await accepts(port))) {
    if (failure !== undefined) throw failure
    if (child.exitCode !== null || child.signalCode !== null) throw new EndedEarly(program, said)
    await setTimeout(20)
  }
  return {
    stop: async () => {
      child.kill('SIGKILL')
      await end
    },
  }
}

/** Whether something listens on this port of the loopback address. */
export function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** Uid and gid for servers that refuse to run as root, or that give root up. */
export function nobody(): { uid: number; gid: number } {
  const id = (which: string) => Number(spawnSync('id', [which, 'nobody'], { encoding: 'utf8' }).stdout)
  return { uid: id('-u'), gid: id('-g') }
}
