// The checks in guest/ in a real guest: first on its own ext4, where each must pass or it would be wrong itself, then on three
// storages. OVFS_POSIX_SUBJECTS and OVFS_POSIX_STORAGES choose some of them.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fsStorage, memoryStorage, type Served, type Storage, s3Storage } from '../guest/storage.ts'
import { missingForOvfs } from '../harness/daemon.ts'
import { inDebian, missingForDebian } from '../harness/debian-guest.ts'
import { Guest, type GuestResult } from '../harness/guest.ts'
import { DIFFERENCES } from './differences.ts'

const SUBJECTS = process.env.OVFS_POSIX_SUBJECTS ?? ''
const PATIENCE_MS = 900_000

const storages: Record<string, Storage> = { memory: memoryStorage, fs: fsStorage, s3: s3Storage }
const chosen = (process.env.OVFS_POSIX_STORAGES ?? Object.keys(storages).join(' ')).split(' ')
const lacks = missingForDebian() ?? missingForOvfs()

describe.skipIf(lacks !== undefined)(
  `what POSIX and Linux promise, in a guest${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    const served = new Map<string, Served>()
    let guest: Guest
    let end: GuestResult | Error

    beforeAll(async () => {
      for (const name of chosen) served.set(name, await storages[name]!.serve())
      guest = await Guest.start(
        inDebian({
          shares: [...served].map(([tag, { socketPath }]) => ({ tag, socketPath })),
          script: script(),
          files: programs(),
          modules: ['loop'],
          cpus: 2,
          timeoutMs: PATIENCE_MS,
        }),
      )
      end = await guest.end().catch((error: Error) => error)
    }, PATIENCE_MS + 30_000)

    afterAll(async () => {
      await guest?.kill()
      for (const each of served.values()) await each.stop()
    })

    /** What each check said: nothing if it passed. */
    const found = (place: string): [name: string, failure: string | undefined][] => {
      const report = new RegExp(`^=== ${place}\n(.*?)^=== ${place} (\\d+)$`, 'ms').exec(guest.output)
      if (report === null) throw end
      expect(report[2], report[1]!.slice(-2000)).toBe('0')
      return Array.from(report[1]!.matchAll(/^(?:ok|not ok) (.*?)(?: # (.*))?$/gm), ([, name, why]) => [
        name!,
        why,
      ])
    }
    const failures = (checks: ReturnType<typeof found>) =>
      Object.fromEntries(checks.filter(([, failure]) => failure !== undefined))

    test('every check passes on the ext4 of the same guest, so that none asks for what Linux does not do', () => {
      expect(failures(found('ext4'))).toEqual({})
    })

    test.each(chosen)('%s: every check passes but those of the known differences', place => {
      const different = DIFFERENCES.filter(({ on }) => on?.includes(place) ?? true)
      const isKnown = (name: string) => different.some(({ checks }) => checks.test(name))
      expect(failures(found(place).filter(([name]) => !isKnown(name))), served.get(place)!.log()).toEqual({})
    })

    test.each(chosen)('%s: every known difference is one still', place => {
      const different = DIFFERENCES.filter(({ on }) => on?.includes(place) ?? true)
      const passed = found(place).filter(([, failure]) => failure === undefined)
      expect(passed.filter(([name]) => different.some(({ checks }) => checks.test(name)))).toEqual([])
    })
  },
)

function programs(): Record<string, Buffer> {
  const folder = new URL('guest/', import.meta.url)
  const names = readdirSync(folder).filter(name => name.endsWith('.py'))
  const files = names.map(name => [name, readFileSync(new URL(name, folder))] as const)
  return Object.fromEntries(
    [...files, ['disk', emptyDisk()] as const].map(([name, data]) => [`guest/posix/${name}`, data]),
  )
}

/** An ext2 for a loop device; the guest's Debian has no mke2fs. */
function emptyDisk(): Buffer {
  const dir = mkdtempSync(join(tmpdir(), 'ovfs-disk-'))
  try {
    const file = join(dir, 'disk')
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
    const { status, stderr } = spawnSync('mke2fs', ['-q', '-t', 'ext2', file, '1M'], {
      env,
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`mke2fs: ${stderr}`)
    return readFileSync(file)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** The reference alone, then the storages side by side. */
function script(): string {
  const run = (directory: string, longestName = 255) =>
    `LONGEST_NAME=${longestName} PYTHONDONTWRITEBYTECODE=1 python3 /guest/posix/run.py ${directory} ${SUBJECTS}`
  return `
    report() { echo "=== $1"; cat /tmp/$1.output; echo "=== $1 $(cat /tmp/$1.status)"; }
    mkdir -p /reference
    mount --bind / /reference
    mount -o remount,bind,strictatime /reference
    mkdir /reference/checks
    ${run('/reference/checks')} >/tmp/ext4.output 2>&1; echo $? >/tmp/ext4.status
    report ext4
    ${chosen.map(name => `(${run(`/mnt/${name}`, storages[name]!.longestName)}; echo $? >/tmp/${name}.status) >/tmp/${name}.output 2>&1 &`).join('\n')}
    wait
    for name in ${chosen.join(' ')}; do report $name; done
  `
}
