// A share mounted on this machine without a guest.

import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startOvfs } from './daemon.ts'
import { missingForNativeMount, mountShare } from './native-mount.ts'

const missing = missingForNativeMount()
const title = `a share mounted on this machine${missing === undefined ? '' : `: needs ${missing}`}`

describe.skipIf(missing !== undefined)(title, () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ovfs-native-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const isMounted = (path: string) => readFileSync('/proc/mounts', 'utf8').includes(` ${path} fuse `)

  test('real programs and synchronous calls use it, and nothing is left after unmount', async () => {
    const daemon = await startOvfs(`fs://${folder}`)
    const mount = await mountShare(daemon.socketPath)
    writeFileSync(join(mount.path, 'file'), 'one')
    appendFileSync(join(mount.path, 'file'), 'two')
    mkdirSync(join(mount.path, 'a/b'), { recursive: true })
    const large = Buffer.alloc(3 * 1024 * 1024 + 7, 'content')
    writeFileSync(join(mount.path, 'a/b/large'), large)
    expect(spawnSync('tar', ['cf', join(folder, 'all.tar'), '-C', mount.path, 'a', 'file']).status).toBe(0)
    expect(readdirSync(mount.path).sort()).toContain('file')
    await mount.unmount()
    expect(existsSync(mount.path)).toBe(false)
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('onetwo')
    expect(readFileSync(join(folder, 'a/b/large')).equals(large)).toBe(true)
    await daemon.stop()
  })

  test('when the daemon is killed, calls fail at once and the mount goes away', async () => {
    const daemon = await startOvfs(`fs://${folder}`)
    const mount = await mountShare(daemon.socketPath)
    writeFileSync(join(mount.path, 'before'), 'x')
    await daemon.kill()
    expect(() => writeFileSync(join(mount.path, 'after'), 'x')).toThrow()
    await mount.unmount()
    expect(isMounted(mount.path)).toBe(false)
  })

  test('a socket without a daemon is refused, and no mount is left', async () => {
    await expect(mountShare(join(folder, 'no-socket'))).rejects.toThrow('could not mount')
  })
})
