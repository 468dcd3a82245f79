// The daemon as a service: when it is killed, the next process has its connections, from the service manager, and its session, from
// the state folder. A process that ends without having been killed has died of what it got.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { PROGRAM } from '../harness/daemon.ts'
import { Service } from '../harness/service-manager.ts'

export async function startKept(uri: string, env: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-fuzz-kept-'))
  const socketPath = join(folder, 'socket')
  const where = ['--socket', socketPath, '--state-dir', join(folder, 'state')]
  const service = new Service([process.execPath, PROGRAM, 'serve', uri, '--read-only', ...where], { env })
  await service.ready()
  let strikes = 0
  const requireAlive = () => {
    const deaths = service.starts - 1 - strikes
    if (deaths > 0) throw new Error(`it has died ${deaths} times:\n${service.said.slice(-4000)}`)
  }
  const target = {
    socketPath,
    requireAlive,
    get pid() {
      requireAlive()
      return service.pid
    },
    stderr: () => service.said,
    stop: async () => {
      requireAlive()
      await service.stop()
      await rm(folder, { recursive: true, force: true })
      if (service.complaints.length > 0) throw service.complaints[0]
    },
  }
  const strike = async () => {
    requireAlive()
    // At one of the moments between which it accepts, stores, reads and answers.
    await delay((strikes * 7) % 20)
    strikes++
    await service.restart('SIGKILL')
    await service.ready()
  }
  return { target, strike }
}
