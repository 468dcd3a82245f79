// The archive as another program unpacks it: busybox's cpio.

import { execFileSync } from 'node:child_process'
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { cpioArchive } from './cpio.ts'
import { guestFiles } from './initramfs.ts'

const busybox = guestFiles()?.busybox

test.skipIf(busybox === undefined)(
  'busybox unpacks files of any length, modes, links and missing parents (needs busybox)',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'ovfs-cpio-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    const contents = ['', 'a', 'ab', 'abc', 'abcd', 'x'.repeat(70_001)]
    const archive = cpioArchive([
      ...contents.map(
        (text, n) => ({ path: `deep/down/${n}`, kind: 'file', data: Buffer.from(text) }) as const,
      ),
      { path: 'run', kind: 'file', mode: 0o755, data: Buffer.from('#!') },
      { path: 'link', kind: 'symlink', target: 'deep/down/1' },
      { path: 'empty', kind: 'directory' },
    ])
    execFileSync(busybox!, ['cpio', '-id', '--quiet'], {
      cwd: dir,
      input: archive,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    expect(contents.map((_, n) => readFileSync(join(dir, 'deep/down', String(n)), 'utf8'))).toEqual(contents)
    expect(lstatSync(join(dir, 'run')).mode & 0o777).toBe(0o755)
    expect(readlinkSync(join(dir, 'link'))).toBe('deep/down/1')
    expect(lstatSync(join(dir, 'empty')).isDirectory()).toBe(true)
  },
)
