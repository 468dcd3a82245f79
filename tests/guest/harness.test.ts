// The harness itself: what it promises to every other guest test, and that it fails when a guest fails. Needs no share.

import { expect, onTestFinished, test } from 'vitest'
import { bootGuest, Guest, GuestError, missingForGuest } from '../harness/guest.ts'

const lacks = missingForGuest()
const guestTest = test.skipIf(lacks !== undefined)
const needs = lacks === undefined ? '' : ` (needs ${lacks})`

guestTest(
  `output comes back byte for byte, with the exit status, extra files and calls to the host${needs}`,
  async () => {
    const calls: string[] = []
    const { output, exitCode } = await bootGuest({
      shares: [],
      script: `
      printf 'a\\r\\n\\001\\033[1m\\303\\274'
      cat /extra/file
      echo wrong >&2
      host be told
      host refuse && echo lost
      echo 'ovfs-guest: exit 1'
      exit 42
    `,
      files: { 'extra/file': 'extra\n' },
      onCall: async call => {
        calls.push(call)
        if (call === 'refuse') throw new Error('not today')
      },
      timeoutMs: 60_000,
    })
    expect(output).toBe('a\r\n\x01\x1b[1müextra\nwrong\nhost refuse: not today\novfs-guest: exit 1\n')
    expect(exitCode).toBe(42)
    expect(calls).toEqual(['be told', 'refuse'])
  },
)

guestTest(`a guest that hangs is killed when its time is up${needs}`, async () => {
  const guest = await Guest.start({
    shares: [],
    script: 'sleep 1000',
    timeoutMs: 5_000,
  })
  await expect(guest.end()).rejects.toThrow(/time is up/)
  expect(() => process.kill(guest.pid, 0)).toThrow('ESRCH')
})

guestTest(
  `a kernel panic is an error that holds the script's output and the kernel's words${needs}`,
  async () => {
    const boot = bootGuest({
      shares: [],
      script: 'echo so far; sleep 1; echo c >/proc/sysrq-trigger; sleep 100',
      reboots: true,
      timeoutMs: 60_000,
    })
    await expect(boot).rejects.toThrow(GuestError)
    await expect(boot).rejects.toThrow(/panicked.*so far.*sysrq triggered crash/s)
  },
)

guestTest(`the monitor stops a guest and lets it go on${needs}`, async () => {
  const guest = await Guest.start({
    shares: [],
    script: 'host wait; echo went on',
    onCall,
    timeoutMs: 60_000,
  })
  onTestFinished(() => guest.kill())
  async function onCall(): Promise<void> {
    await guest.qmp.execute('stop')
    expect(await guest.qmp.execute('query-status')).toMatchObject({ running: false })
    await guest.qmp.execute('cont')
  }
  expect((await guest.end()).output).toBe('went on\n')
  await expect(guest.qmp.execute('cont')).rejects.toThrow('QEMU has gone')
})
