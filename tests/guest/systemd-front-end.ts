// Runs in a guest: the place of a virtual machine whose monitor connects once, as QEMU's does. Works with its share without a
// pause until it gets SIGTERM, and knows what every answer must be. Appends a byte to a file for each operation that is done.

import { appendFileSync, closeSync, openSync } from 'node:fs'
import { FuseClient } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { Random } from '../crash/random.ts'
import { SessionActor } from '../crash/session-actor.ts'

const ACTORS = 4

const [socketPath, progressPath] = process.argv.slice(2) as [string, string]
const progress = openSync(progressPath, 'a')
const driver = await VirtioFsDriver.connect(socketPath, { slots: 2 * ACTORS })
let requests = 0
let answers = 0
const client = new FuseClient({
  submit: async (request, capacity) => {
    requests++
    const reply = await driver.submit(request, capacity)
    answers++
    return reply
  },
})
await client.init()

let over = false
process.once('SIGTERM', () => {
  over = true
})
const seed = Date.now()
const actors = Array.from(
  { length: ACTORS },
  (_, i) => new SessionActor(`actor${seed}-${i}`, client, new Random(seed + i)),
)
const tell = (actor: SessionActor) => (error: unknown) => {
  console.log(`${actor.name}: ${error}\n  ${actor.history.slice(-100).join('\n  ')}`)
  process.exit(1)
}
await Promise.all(
  actors.map(async actor => {
    await actor.arrive().catch(tell(actor))
    while (!over) {
      await actor.act().catch(tell(actor))
      appendFileSync(progress, '.')
    }
    await actor.inspect().catch(tell(actor))
  }),
)
await client.destroy()
const { broken } = driver.requests.queue
if (broken !== undefined) throw broken
console.log(JSON.stringify({ requests, answers }))
await driver.close()
closeSync(progress)
process.exit(0)
