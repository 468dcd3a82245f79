// The order in which `npm start` looks for a guest, on machines that lack one thing or another.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { GuestFiles } from '../harness/initramfs.ts'
import { chooseGuest, type Host, type Provisions } from './choose-guest.ts'

const archived: GuestFiles = { kernel: '/cache/kernel', modules: '/cache/modules', busybox: '/cache/busybox' }
const own = { kernel: '/boot/vmlinuz-7', modules: '/lib/modules/7' }

interface Machine {
  /** What each step says when it fails. */
  readonly fails?: Partial<Record<keyof Provisions, string>>
  readonly kernel?: ReturnType<Host['kernel']>
  readonly busybox?: string
}

/** The steps that were taken, and what they lead to. */
function choose(machine: Machine, options: Parameters<typeof chooseGuest>[0] = {}) {
  const steps: string[] = []
  let unpacked: GuestFiles | undefined
  let installed: string | undefined = machine.busybox
  const step = (name: keyof Provisions, done: () => void) => () => {
    steps.push(name)
    const message = machine.fails?.[name]
    if (message !== undefined) throw new Error(message)
    done()
  }
  const provisions: Provisions = {
    qemu: step('qemu', () => {}),
    archive: step('archive', () => {
      unpacked = archived
    }),
    busybox: step('busybox', () => {
      installed = '/usr/bin/busybox'
    }),
  }
  const host: Host = {
    unpacked: () => unpacked,
    kernel: () => machine.kernel ?? 'no kernel is here',
    busybox: () => installed,
  }
  try {
    return { steps, guest: chooseGuest(options, provisions, host) }
  } catch (error) {
    return { steps, reason: (error as Error).message }
  }
}

test("the kernel of the archive comes before the machine's own", () => {
  expect(choose({ kernel: own })).toEqual({ steps: ['qemu', 'archive'], guest: archived })
})

test("without an archive the machine's own kernel is booted, with an installed busybox", () => {
  const fails = { archive: 'this machine has no apt-get' }
  expect(choose({ fails, kernel: own, busybox: '/bin/busybox' })).toEqual({
    steps: ['qemu', 'archive'],
    guest: { ...own, busybox: '/bin/busybox' },
  })
  const { steps, guest } = choose({ fails, kernel: own })
  expect(steps.at(-1)).toBe('busybox')
  expect(guest).toEqual({ ...own, busybox: '/usr/bin/busybox' })
})

test('without QEMU there is no guest, and nothing is fetched for it', () => {
  expect(choose({ fails: { qemu: 'install with: sudo dnf install qemu' } })).toEqual({
    steps: ['qemu'],
    reason: 'install with: sudo dnf install qemu',
  })
})

test('without any kernel the reason names every place that was looked at, and the option', () => {
  const { reason } = choose({ fails: { archive: 'this machine has no apt-get\nmore of it' } })
  expect(reason).toBe(
    'this machine has no apt-get; no kernel is here; name one with: npm start -- --kernel FILE',
  )
})

test('a kernel that the user names comes first, with a busybox of the machine if it has one', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ovfs-kernel-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const kernel = join(folder, 'bzImage')
  writeFileSync(kernel, '')
  expect(choose({ busybox: '/bin/busybox' }, { kernel, modules: '/lib/modules/8' })).toEqual({
    steps: ['qemu'],
    guest: { kernel, modules: '/lib/modules/8', busybox: '/bin/busybox' },
  })
  expect(choose({}, { kernel })).toEqual({
    steps: ['qemu', 'archive'],
    guest: { kernel, modules: undefined, busybox: archived.busybox },
  })
})
