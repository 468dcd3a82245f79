// The driver's process: `node run.js SOCKET SECONDS`. Prepares two files on the share, runs every workload at every depth and
// prints the measurements as one JSON line.

import { Opcode, ROOT_NODE } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { type Measurement, measure } from './poller.ts'
import { type BenchFile, SLOT_BYTES, workloads } from './workload.ts'

const O_RDWR = 2
const FILE_BYTES = 64 << 20
const DEPTHS = [1, 32]
const MEBIBYTE = 1 << 20
const NAME = 'bench-data'

const [socketPath, seconds, only] = process.argv.slice(2) as [string, string, string | undefined]
const driver = await VirtioFsDriver.connect(socketPath, {
  queueSize: 1024,
  spareBytes: SLOT_BYTES * Math.max(...DEPTHS),
})
const { client } = driver
await client.init()
const file = await fill(NAME)
// Warm: every byte has been read once.
for (let offset = 0; offset < FILE_BYTES; offset += MEBIBYTE) {
  await client.read(file.node, file.fh, offset, MEBIBYTE)
}
const scratch = await fill('bench-scratch')
const results: Measurement[] = []
for (const workload of workloads(file, scratch, NAME)) {
  if (only !== undefined && !workload.name.startsWith(only)) continue
  for (const depth of DEPTHS) results.push(measure(driver, workload, depth, Number(seconds)))
}
process.stdout.write(`${JSON.stringify(results)}\n`)
await driver.close()
process.exit(0)

async function fill(name: string): Promise<BenchFile> {
  const { entry, open } = await client.create(ROOT_NODE, name, 0o644, O_RDWR)
  const block = new Uint8Array(MEBIBYTE).fill(Opcode.WRITE)
  for (let offset = 0; offset < FILE_BYTES; offset += MEBIBYTE) {
    await client.write(entry.nodeid, open.fh, offset, block)
  }
  await client.fsync(entry.nodeid, open.fh)
  await client.release(entry.nodeid, open.fh)
  const { fh } = await client.open(entry.nodeid, O_RDWR)
  return { node: entry.nodeid, fh, size: FILE_BYTES }
}
