// The two sides of the service manager's protocol, against each other.

import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createEventFd } from '../src/sys/eventfd.ts'
import { closeFd, duplicateFd } from '../src/sys/libc.ts'
import { createMemFd } from '../src/sys/memfd.ts'
import { NotifySocket } from '../src/takeover/notify-socket.ts'
import { ServiceManager } from '../src/takeover/service-manager.ts'
import { openDescriptors, temporaryFolder } from './peers.ts'

function sides({ address = join(temporaryFolder(), 'notify'), limit = 8 } = {}) {
  const states: string[] = []
  const errors: unknown[] = []
  const socket = new NotifySocket({
    address,
    limit,
    onState: state => states.push(state),
    onError: error => errors.push(error),
  })
  onTestFinished(() => socket.close())
  const manager = ServiceManager.fromEnvironment({ NOTIFY_SOCKET: address })!
  const names = async () => {
    await manager.remove([])
    return socket.stored.map(({ name }) => name)
  }
  return { socket, manager, states, errors, names }
}

function memory(): number {
  const fd = createMemFd('test', 4096)
  onTestFinished(() => closeFd(fd))
  return fd
}

test.each([
  ['a path', undefined],
  ['an abstract name', `@ovfs-test-${process.pid}`],
])('descriptors are stored when put says so, and gone when remove says so: %s', async (_, address) => {
  const { manager, errors, names } = sides(address === undefined ? {} : { address })
  await manager.put(
    new Map([
      ['a', memory()],
      ['b', memory()],
    ]),
  )
  expect(await names()).toEqual(['a', 'b'])
  await manager.remove(['a'])
  expect(await names()).toEqual(['b'])
  expect(errors).toEqual([])
})

test('a store without enough room says so, and keeps nothing of what did not fit', async () => {
  const { manager, names } = sides({ limit: 2 })
  await manager.put(new Map([['a', memory()]]))
  const more = new Map([
    ['b', memory()],
    ['c', memory()],
  ])
  await expect(manager.put(more)).rejects.toMatchObject({ code: 'FD_STORE' })
  expect(await names()).toEqual(['a'])
})

test('a manager that stores nothing is found out', async () => {
  const { manager } = sides({ limit: 0 })
  await expect(manager.put(new Map([['a', memory()]]))).rejects.toMatchObject({ code: 'FD_STORE' })
})

test('a file is stored once, under its first name; eventfds are told apart', async () => {
  const { manager, names } = sides()
  const fds = [createEventFd(), createEventFd(), memory()]
  fds.push(duplicateFd(fds[0]!), duplicateFd(fds[2]!))
  await manager.put(new Map(fds.map((fd, i) => [`fd-${i}`, fd])))
  expect(await names()).toEqual(['fd-0', 'fd-1', 'fd-2'])
})

test('what is put while another put is under way comes after it', async () => {
  const { manager, names } = sides()
  await Promise.all([
    manager.put(new Map([['a', memory()]])),
    manager.remove(['a']),
    manager.put(new Map([['a', memory()]])),
    manager.ready(),
  ])
  expect(await names()).toEqual(['a'])
})

test('the manager hears of states', async () => {
  const { manager, states } = sides()
  await manager.ready()
  await manager.stopping()
  await manager.remove([])
  expect(states).toEqual(['READY=1', 'STOPPING=1'])
})

test('the manager hears what the service does, that it is alive, and how long its end may take', async () => {
  const { manager, states } = sides()
  await manager.status('serving\nREADY=1')
  await manager.alive()
  await manager.stopping(1500)
  await manager.remove([])
  expect(states).toEqual([
    'STATUS=serving READY=1',
    'WATCHDOG=1',
    'STOPPING=1',
    'EXTEND_TIMEOUT_USEC=1500000',
  ])
})

test.each([
  [{}, undefined],
  [{ WATCHDOG_USEC: '3000000' }, 3000],
  [{ WATCHDOG_USEC: '3000000', WATCHDOG_PID: `${process.pid}` }, 3000],
  [{ WATCHDOG_USEC: '3000000', WATCHDOG_PID: '1' }, undefined],
  [{ WATCHDOG_USEC: '0' }, undefined],
  [{ WATCHDOG_USEC: 'often' }, undefined],
])('how often the manager wants to hear that the service is alive: %j', (variables, expected) => {
  const address = join(temporaryFolder(), 'notify')
  const socket = new NotifySocket({ address, limit: 1, onError: () => undefined })
  onTestFinished(() => socket.close())
  const environment = { NOTIFY_SOCKET: address, ...variables }
  expect(ServiceManager.fromEnvironment(environment)!.watchdogMs).toBe(expected)
  expect(environment).toEqual({})
})

test('whether a session waits for this process is known before anything is claimed', () => {
  const variables = {
    LISTEN_PID: `${process.pid}`,
    LISTEN_FDS: '2',
    LISTEN_FDNAMES: 'a.socket:vhost-user-0-record',
  }
  expect(ServiceManager.hasSession(variables)).toBe(true)
  expect(ServiceManager.hasSession({ ...variables, LISTEN_PID: '1' })).toBe(false)
  expect(ServiceManager.hasSession({ ...variables, LISTEN_FDS: '1' })).toBe(false)
  expect(ServiceManager.hasSession({})).toBe(false)
})

test('no descriptor is left behind', async () => {
  const { manager, socket } = sides()
  const fd = memory()
  await manager.remove([])
  const before = await openDescriptors()
  for (let i = 0; i < 20; i++) {
    await manager.put(new Map([[`${i}`, fd]]))
    await manager.remove([`${i}`])
  }
  socket.drop()
  expect(await openDescriptors()).toBe(before)
})

test('a process that no manager has started has none', () => {
  expect(ServiceManager.fromEnvironment({})).toBeUndefined()
})

test('descriptors that are meant for another process are left alone; the variables do not reach children', () => {
  const { manager } = sides()
  expect(manager.inherited.size).toBe(0)
  const address = join(temporaryFolder(), 'notify')
  const socket = new NotifySocket({ address, limit: 1, onError: () => undefined })
  onTestFinished(() => socket.close())
  const environment = {
    NOTIFY_SOCKET: address,
    LISTEN_PID: '1',
    LISTEN_FDS: '2',
    LISTEN_FDNAMES: 'a:b',
    PATH: '/bin',
  }
  expect(ServiceManager.fromEnvironment(environment)!.inherited.size).toBe(0)
  expect(environment).toEqual({ PATH: '/bin' })
})

test.each(['relative', '@', `/${'x'.repeat(200)}`])('an address that is none is refused: %s', address => {
  expect(() => ServiceManager.fromEnvironment({ NOTIFY_SOCKET: address })).toThrow()
})
