// Pipes whose other end is a peer that means no good.

import { writeSync } from 'node:fs'
import { expect, test } from 'vitest'
import { StateReceiver } from '../src/state-transfer.ts'
import { closeFd, libc } from '../src/sys/libc.ts'
import { createPipe } from '../src/sys/pipe.ts'
import { openDescriptors, until } from './peers.ts'

const F_SETFL = 4

/** A transfer that stands in its second read: nothing is in the pipe, and O_NONBLOCK is gone. */
async function stuckTransfer(): Promise<{ receiver: StateReceiver; writeEnd: number }> {
  const { readEnd, writeEnd } = createPipe()
  const receiver = new StateReceiver(readEnd)
  libc.fcntl(readEnd, F_SETFL, 0)
  writeSync(writeEnd, 'part')
  await until(() => receiver.size > 0)
  return { receiver, writeEnd }
}

test('a read that never comes back keeps nobody waiting, and only few are left behind', async () => {
  const before = await openDescriptors()
  const stuck = [await stuckTransfer(), await stuckTransfer()]
  for (const { receiver } of stuck) {
    receiver.cancel()
    await expect(receiver.done).rejects.toMatchObject({ code: 'CLOSED' })
  }
  const other = createPipe()
  expect(() => new StateReceiver(other.readEnd)).toThrow(expect.objectContaining({ code: 'BAD_DESCRIPTORS' }))
  closeFd(other.writeEnd)

  for (const { writeEnd } of stuck) closeFd(writeEnd)
  let third: StateReceiver | undefined
  await until(() => {
    const { readEnd, writeEnd } = createPipe()
    writeSync(writeEnd, 'whole')
    closeFd(writeEnd)
    try {
      third = new StateReceiver(readEnd)
    } catch {
      return false
    }
    return true
  })
  expect(String(Buffer.from(await third!.done))).toBe('whole')
  await expect.poll(openDescriptors).toBe(before)
})
