// Which guest `npm start` boots: the kernel that the user names, else that of the archive, else this machine's own. The scripts that
// fetch and install are passed in: each throws an error whose first line says what is missing and which command helps.

import { accessSync, constants } from 'node:fs'
import { resolve } from 'node:path'
import { hostKernel, modulesOf, staticBusybox } from '../harness/host-guest.ts'
import { type GuestFiles, guestFiles } from '../harness/initramfs.ts'

export interface Provisions {
  /** Makes sure that QEMU is installed. */
  qemu(): void
  /** Makes sure that kernel and busybox of the archive are unpacked. */
  archive(): void
  /** Makes sure that a busybox is installed. */
  busybox(): void
}

/** What the machine has, replaced in tests. */
export interface Host {
  readonly unpacked: () => GuestFiles | undefined
  readonly kernel: typeof hostKernel
  readonly busybox: () => string | undefined
}

const thisMachine: Host = { unpacked: () => guestFiles(), kernel: hostKernel, busybox: () => staticBusybox() }

export interface KernelOptions {
  readonly kernel?: string | undefined
  readonly modules?: string | undefined
}

/** Throws an error with one line that says why there can be no guest, and what helps. */
export function chooseGuest(
  options: KernelOptions,
  provisions: Provisions,
  host: Host = thisMachine,
): GuestFiles {
  if (process.arch !== 'x64') throw new Error('the guest needs an x86-64 machine')
  provisions.qemu()
  if (options.kernel !== undefined) {
    const kernel = resolve(options.kernel)
    accessSync(kernel, constants.R_OK)
    const modules = options.modules ?? modulesOf(kernel)
    return { kernel, modules: modules && resolve(modules), busybox: anyBusybox(provisions, host) }
  }
  const unpacked = attempt(() => provisions.archive()) ?? host.unpacked()
  if (unpacked !== undefined && typeof unpacked !== 'string') return unpacked
  const own = host.kernel()
  if (typeof own === 'string')
    throw new Error(
      `${unpacked ?? 'the archive has no kernel'}; ${own}; name one with: npm start -- --kernel FILE`,
    )
  return { ...own, busybox: anyBusybox(provisions, host) }
}

/** One that is there already, else the archive's, else an installed one. */
function anyBusybox(provisions: Provisions, host: Host): string {
  const find = () => host.unpacked()?.busybox ?? host.busybox()
  const found = find()
  if (found !== undefined) return found
  if (attempt(() => provisions.archive()) !== undefined) provisions.busybox()
  const fetched = find()
  if (fetched === undefined) throw new Error('this machine lacks a busybox that is linked statically')
  return fetched
}

/** The first line of the error that the step throws, if it does. */
function attempt(step: () => void): string | undefined {
  try {
    step()
    return undefined
  } catch (error) {
    return (error as Error).message.split('\n')[0]
  }
}
