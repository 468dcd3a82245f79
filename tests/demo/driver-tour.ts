// The same tour without a virtual machine: our own front-end and driver put FUSE requests on the ring, one line for each.
// This is what a kernel does for `ls`, `cat`, `cp` and `mv`.

import { createHash, randomBytes } from 'node:crypto'
import { type DirectoryEntry, type FuseClient, ROOT_NODE } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { agree, type DemoStorage } from './storage.ts'

const MEBIBYTE = 1 << 20
const MEBIBYTES = 8

export async function driverTour(
  socketPath: string,
  storage: DemoStorage,
  print: (text: string) => void,
): Promise<void> {
  const driver = await VirtioFsDriver.connect(socketPath)
  try {
    await requests(driver.client, storage, print)
  } finally {
    await driver.close()
  }
}

async function requests(
  client: FuseClient,
  storage: DemoStorage,
  print: (text: string) => void,
): Promise<void> {
  const say = (operation: string, text: string) => print(`  ${operation.padEnd(12)}${text}\n`)
  const { major, minor, maxWrite } = await client.init()
  say('INIT', `version ${major}.${minor}, at most ${maxWrite} bytes a write`)

  const entries = await list(client, ROOT_NODE)
  say('READDIRPLUS', `/: ${entries.length} entries`)
  for (const { name } of entries.slice(0, 20)) {
    const { attr } = await client.lookup(ROOT_NODE, name)
    say('LOOKUP', `${name}: mode ${attr.mode.toString(8)}, ${attr.size} bytes`)
  }

  const folder = `ovfs-tour-${process.pid}`
  const { nodeid: node } = await client.mkdir(ROOT_NODE, folder)
  say('MKDIR', `${folder}: node ${node}`)
  const { entry: file, open } = await client.create(node, 'draft')
  say('CREATE', `${folder}/draft: node ${file.nodeid}, handle ${open.fh}`)
  const data = randomBytes(MEBIBYTES * MEBIBYTE)
  const step = Math.min(maxWrite, MEBIBYTE)
  for (let offset = 0; offset < data.length; ) {
    offset += await client.write(file.nodeid, open.fh, offset, data.subarray(offset, offset + step))
  }
  say('WRITE', `${data.length} bytes, ${step} at a time`)
  await client.flush(file.nodeid, open.fh)
  await client.release(file.nodeid, open.fh)
  say('RELEASE', 'closed: what was written is in the storage')
  await client.rename(node, 'draft', node, 'final')
  say('RENAME', `${folder}/draft to ${folder}/final`)

  const { nodeid: renamed } = await client.lookup(node, 'final')
  const { fh } = await client.open(renamed)
  const digest = createHash('md5')
  for (let offset = 0; offset < data.length; ) {
    const part = await client.read(renamed, fh, offset, step)
    if (part.length === 0) throw new Error(`the file ends at ${offset}`)
    digest.update(part)
    offset += part.length
  }
  await client.release(renamed, fh)
  const md5 = digest.digest('hex')
  say('READ', `${data.length} bytes, md5 ${md5}`)
  if (md5 !== createHash('md5').update(data).digest('hex'))
    throw new Error('what was read is not what was written')
  await agree(storage, `${folder}/final`, md5, print)

  await client.unlink(node, 'final')
  await client.rmdir(ROOT_NODE, folder)
  say('UNLINK', `${folder}/final, then RMDIR ${folder}`)
  const { blocks, bfree, frsize } = await client.statfs(ROOT_NODE)
  say('STATFS', `${bfree} of ${blocks} blocks of ${frsize} bytes are free`)
  await client.destroy()
  say('DESTROY', 'unmounted')
}

async function list(client: FuseClient, node: number): Promise<DirectoryEntry[]> {
  const { fh } = await client.opendir(node)
  const all: DirectoryEntry[] = []
  for (let cookie = 0n; ; ) {
    const some = await client.readdirplus(node, fh, cookie, 65_536)
    if (some.length === 0) break
    all.push(...some)
    cookie = some.at(-1)!.off
  }
  await client.releasedir(node, fh)
  return all.filter(({ name }) => name !== '.' && name !== '..')
}
