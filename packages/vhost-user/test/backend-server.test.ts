import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { closeFd } from '../src/sys/libc.ts'
import { bindSocket, listenSocket } from '../src/sys/unix-socket.ts'
import { guestMemory, openDescriptors, RING, serve, temporaryFolder, until } from './peers.ts'

test('the socket file comes with the server, with its mode, and goes with it', async () => {
  const { path, server } = serve({ mode: 0o660 })
  expect(statSync(path).mode & 0o777).toBe(0o660)
  await server.close()
  expect(existsSync(path)).toBe(false)
})

test('a socket that nobody listens on any more is replaced', async () => {
  const path = join(temporaryFolder(), 'socket')
  closeFd(bindSocket(path))
  expect(existsSync(path)).toBe(true)
  const { connect } = serve({ path })
  expect(await connect().request('GET_FEATURES')).toBe(0x1_7000_0000n)
})

test('a socket that somebody listens on is refused and left alone', async () => {
  const { path, connect } = serve()
  const before = await openDescriptors()
  expect(() => serve({ path })).toThrow(
    expect.objectContaining({ name: 'VhostUserError', code: 'SOCKET_IN_USE' }),
  )
  expect(await openDescriptors()).toBe(before)
  expect(await connect().request('GET_FEATURES')).toBe(0x1_7000_0000n)
})

test('a file that is no socket is refused and left alone', () => {
  const path = join(temporaryFolder(), 'file')
  writeFileSync(path, 'precious')
  expect(() => serve({ path })).toThrow(expect.objectContaining({ code: 'NOT_A_SOCKET' }))
  expect(existsSync(path)).toBe(true)
})

test('a path that is too long or in no folder is refused with what is wrong', () => {
  expect(() => serve({ path: `/tmp/${'x'.repeat(108)}` })).toThrow(
    expect.objectContaining({ code: 'PATH_TOO_LONG' }),
  )
  expect(() => serve({ path: join(temporaryFolder(), 'missing', 'socket') })).toThrow(
    expect.objectContaining({ code: 'SYSTEM_CALL', syscall: 'bind', errno: 'ENOENT' }),
  )
})

test('a socket file that another has put in its place is not removed', async () => {
  const { path, server } = serve()
  const other = join(temporaryFolder(), 'other')
  const listener = bindSocket(other)
  onTestFinished(() => closeFd(listener))
  renameSync(other, path)
  await server.close()
  expect(existsSync(path)).toBe(true)
})

test('an inherited listening socket is served; another descriptor is refused', async () => {
  const path = join(temporaryFolder(), 'socket')
  const fd = bindSocket(path)
  expect(() => serve({ path: undefined as never, fd })).toThrow(
    expect.objectContaining({ code: 'NOT_A_SOCKET' }),
  )
  listenSocket(fd, 1)
  const { server } = serve({ path: undefined as never, fd })
  const { FrontendSession } = await import('../src/frontend-session.ts')
  const session = FrontendSession.connect(path)
  expect(await session.request('GET_FEATURES')).toBe(0x1_7000_0000n)
  session.close()
  await server.close()
  expect(existsSync(path), 'the file is not the server’s').toBe(true)
})

test('a second front-end is refused while one is served', async () => {
  const { connect, errors } = serve()
  const first = connect()
  await first.handshake()
  const second = connect()
  await expect(second.request('GET_FEATURES')).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  expect(errors).toMatchObject([{ code: 'BUSY' }])
  expect(await first.request('GET_QUEUE_NUM')).toBe(2n)
})

test('a front-end that comes right after another has left is served, even while the device still resets', async () => {
  const { device, connect, errors, disconnects } = serve()
  const first = connect()
  await first.handshake()
  let finish = () => {}
  device.onReset = () =>
    new Promise<void>(resolve => {
      finish = resolve
    })
  first.close()
  const second = connect()
  const features = second.request('GET_FEATURES')
  await until(() => device.log.includes('reset'))
  await new Promise(resolve => setTimeout(resolve, 2))
  expect(disconnects).toEqual([])
  device.onReset = () => {}
  finish()
  expect(await features).toBe(0x1_7000_0000n)
  expect(errors).toEqual([])
})

test('closing lets the device finish what it has taken', async () => {
  const { device, server, connect, disconnects } = serve()
  const session = connect()
  await session.handshake()
  await session.addMemory(guestMemory())
  const ring = await session.startRing(RING)
  let finish: (base: number) => void = () => {}
  device.onStop = () =>
    new Promise(resolve => {
      finish = resolve
    })
  const { notify } = device.rings.get(1) as { notify: () => void }
  const closed = server.close()
  await until(() => device.log.includes('stop 1'))
  expect(device.log).not.toContain('reset')
  notify()
  await ring.called(0)
  finish(1)
  await closed
  expect(device.log.slice(-2)).toEqual(['stop 1', 'reset'])
  expect(disconnects).toEqual([undefined])
})

test('closing during a request waits for it and leaves nothing open', async () => {
  const before = await openDescriptors()
  const { device, server, connect } = serve()
  const session = connect()
  await session.handshake()
  await session.addMemory(guestMemory())
  await session.startRing(RING)
  let finish: (base: number) => void = () => {}
  device.onStop = () =>
    new Promise(resolve => {
      finish = resolve
    })
  session.sendMessage(11, 1, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
  await until(() => device.log.includes('stop 1'))
  const closed = server.close()
  finish(1)
  await closed
  expect(device.log.filter(line => line.startsWith('stop'))).toEqual(['stop 1'])
  session.close()
  // The memory file of the test is the one descriptor left.
  expect(await openDescriptors()).toBe(before + 1)
})

test('closing during a reset does not reset the device a second time before the first is done', async () => {
  const { device, server, connect } = serve()
  const session = connect()
  await session.handshake()
  let finish = () => {}
  device.onReset = () =>
    new Promise<void>(resolve => {
      finish = resolve
    })
  const reset = expect(session.request('RESET_DEVICE')).resolves.toBeUndefined()
  await until(() => device.log.includes('reset'))
  const closed = server.close()
  await new Promise(resolve => setTimeout(resolve, 2))
  expect(device.log.filter(line => line === 'reset')).toHaveLength(1)
  device.onReset = () => {}
  finish()
  await Promise.all([reset, closed])
  expect(device.log.filter(line => line === 'reset')).toHaveLength(2)
})
