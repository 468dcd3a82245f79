import { expect, it } from 'vitest'
import { forEachConcurrently, Mutex, SharedLock, Slots } from '../src/names/locks.ts'

const turn = () => new Promise(resolve => setImmediate(resolve))

function gate() {
  let open: () => void = () => undefined
  const closed = new Promise<void>(resolve => {
    open = resolve
  })
  return { open, closed }
}

it('runs one after the other, in order, whether they fail or not', async () => {
  const mutex = new Mutex()
  const order: number[] = []
  const first = mutex.run(async () => {
    await turn()
    order.push(1)
    throw new Error('first')
  })
  const second = mutex.run(async () => order.push(2))
  await expect(first).rejects.toThrow('first')
  await second
  expect(order).toEqual([1, 2])
})

it('lets many share, one be alone, and nobody overtake who wants to be alone', async () => {
  const lock = new SharedLock()
  const order: string[] = []
  const { open, closed } = gate()
  const shared = [1, 2].map(i => lock.shared(() => closed.then(() => order.push(`shared ${i}`))))
  const alone = lock.exclusive(async () => {
    order.push('alone')
    await turn()
    order.push('still alone')
  })
  const late = lock.shared(async () => order.push('late'))
  await turn()
  expect(order).toEqual([])
  open()
  await Promise.all([...shared, alone, late])
  expect(order).toEqual(['shared 1', 'shared 2', 'alone', 'still alone', 'late'])
})

it('runs no more at once than there are slots', async () => {
  const slots = new Slots(2)
  let running = 0
  let most = 0
  const task = async () => {
    most = Math.max(most, ++running)
    await turn()
    running--
  }
  await Promise.all(Array.from({ length: 7 }, () => slots.run(task)))
  expect(most).toBe(2)
})

it('stops starting at the first failure and throws it', async () => {
  const started: number[] = []
  const failing = forEachConcurrently([1, 2, 3, 4, 5, 6], 2, async item => {
    started.push(item)
    await turn()
    if (item === 1) throw new Error('one')
  })
  await expect(failing).rejects.toThrow('one')
  expect(started.length).toBeLessThan(6)
})
