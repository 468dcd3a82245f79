// A Linux guest in QEMU with virtio-fs shares: boots, runs a script, gives back what it printed and its exit status.
// Script output and kernel log arrive on separate serial lines (see init.ts), so output is exact, byte for byte.
// Runs without KVM and without root. Needs what scripts/prepare.mjs provides.

import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { cpioArchive } from './cpio.ts'
import { SAYS } from './init.ts'
import { baseInitramfs, type GuestFiles, guestFiles } from './initramfs.ts'
import { type Machine, x64 } from './machine.ts'
import { ended, ownProcess } from './process.ts'
import { Qmp } from './qmp.ts'

export interface Share {
  /** Where a vhost-user back-end listens. It must listen before the guest starts: QEMU connects once. */
  socketPath: string
  tag: string
  /** Where /init mounts it; `null` leaves the mount to the script. Default: `/mnt/` and the tag. */
  mountPoint?: string | null
  /** Default 1024: with QEMU's own 128 a request is limited to 124 pages. */
  queueSize?: number
}

export interface GuestOptions {
  shares: readonly Share[]
  /** Run by busybox sh. `host TEXT` in it calls `onCall` here and fails if that rejects. */
  script: string
  timeoutMs: number
  /** Ends the guest as if its time were up. */
  signal?: AbortSignal
  onCall?: (text: string) => Promise<void>
  /** The script's output as it comes. */
  onOutput?: (chunk: Buffer) => void
  /** More files for the guest's root, by path without the leading slash. */
  files?: Readonly<Record<string, string | Uint8Array>>
  /** Kernel modules to load besides those of a share, by name; what they depend on is found. */
  modules?: readonly string[]
  /** What kind of computer the guest is; default x86-64. */
  machine?: Machine
  /** Kernel and user space, instead of the machine's in .cache. */
  parts?: GuestFiles
  /** The program to run instead of the installed QEMU. */
  qemu?: string
  /** Appended to QEMU's command line: other devices, for example. */
  qemuArgs?: readonly string[]
  memoryMiB?: number
  cpus?: number
  kernelArgs?: string
  /** Let a guest that reboots boot again, which runs the script again. Without it a reboot is the end. */
  reboots?: boolean
}

export interface GuestResult {
  /** What the script wrote to stdout and stderr, in order. */
  output: string
  /** The exit status of the script; that of the last boot if there were several. */
  exitCode: number
  boots: number
}

/** The guest did not come to a regular end; the message holds what the guest said. */
export class GuestError extends Error {
  override name = 'GuestError'
}

/** Names what a guest needs and this machine lacks; undefined when a guest can be started. */
export function missingForGuest(machine: Machine = x64): string | undefined {
  if (process.arch !== 'x64') return 'an x86-64 machine'
  if (guestFiles(machine) === undefined)
    return `the guest kernel (node scripts/prepare.mjs ${machine.preparedBy})`
  const dirs = (process.env.PATH ?? '').split(':')
  return dirs.some(dir => usable(join(dir, machine.qemu), constants.X_OK)) ? undefined : machine.qemu
}

/** Boots, waits for the end. Rejects with GuestError on a panic, on a failing mount, and when the time is up. */
export async function bootGuest(options: GuestOptions): Promise<GuestResult> {
  return (await Guest.start(options)).end()
}

export class Guest {
  readonly qmp: Qmp
  #qemu: ChildProcess
  #options: GuestOptions
  #output: Buffer[] = []
  #log = ''
  #stderr = ''
  #scanned = 0
  #boots = 0
  #exitCode: number | undefined
  #failure: string | undefined
  #watchers = new Set<() => void>()
  #ended: Promise<void>

  static async start(options: GuestOptions): Promise<Guest> {
    const parts = bootParts(options)
    const program = options.qemu ?? (options.machine ?? x64).qemu
    const qemu = spawn(program, qemuArguments(options, parts), {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    })
    return new Guest(ownProcess(qemu), options, parts.remove)
  }

  private constructor(qemu: ChildProcess, options: GuestOptions, cleanUp: () => void) {
    this.#qemu = qemu
    this.#options = options
    const [, , , console, script, monitor] = qemu.stdio as unknown as Duplex[]
    this.qmp = new Qmp(monitor!)
    qemu.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    console!.setEncoding('latin1').on('data', (text: string) => {
      this.#log += text
      this.#readLog()
      this.#notify()
    })
    script!.on('data', (chunk: Buffer) => {
      this.#output.push(chunk)
      options.onOutput?.(chunk)
      this.#notify()
    })
    // A socket to a killed QEMU ends with an error; its exit is what counts.
    for (const socket of [console!, script!]) socket.on('error', () => {})
    const timer = setTimeout(() => this.#fail(`time is up after ${options.timeoutMs} ms`), options.timeoutMs)
    const interrupt = () => this.#fail('interrupted')
    options.signal?.addEventListener('abort', interrupt)
    this.#ended = ended(qemu)
      .catch((error: Error) => {
        this.#failure ??= error.message
      })
      .then(() => {
        clearTimeout(timer)
        options.signal?.removeEventListener('abort', interrupt)
        cleanUp()
        this.#notify()
      })
  }

  get pid(): number {
    return this.#qemu.pid!
  }

  get output(): string {
    return Buffer.concat(this.#output).toString('utf8')
  }

  get kernelLog(): string {
    return this.#log
  }

  /** Waits until the script's output matches; rejects if the guest ends before. */
  async outputs(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.output)
      if (found !== null) return found
      if (this.#qemu.exitCode !== null || this.#qemu.signalCode !== null) {
        throw this.#error(`ended before it printed ${pattern}`)
      }
      await new Promise<void>(resolve => this.#watchers.add(resolve))
    }
  }

  /** Waits for the guest to power off. */
  async end(): Promise<GuestResult> {
    await this.#ended
    if (this.#failure !== undefined) throw this.#error(this.#failure)
    if (this.#exitCode === undefined) throw this.#error('ended without an exit status')
    return { output: this.output, exitCode: this.#exitCode, boots: this.#boots }
  }

  /** SIGKILL: what a crash of the VMM looks like to a back-end. Nothing happens if the guest has ended. */
  async kill(): Promise<void> {
    this.#qemu.kill('SIGKILL')
    await this.#ended
  }

  #fail(reason: string): void {
    this.#failure ??= reason
    this.#qemu.kill('SIGKILL')
  }

  #error(reason: string): GuestError {
    const parts = [`guest: ${reason}`]
    const tail = (title: string, text: string) => {
      if (text.trim() !== '') parts.push(`--- ${title}`, text.trim().split('\n').slice(-40).join('\n'))
    }
    // QEMU waits for its back-ends before it starts the machine; /init speaks as soon as it runs.
    if (this.#log === '') parts.push('no word from the kernel: a back-end may not have answered QEMU')
    tail('output', this.output)
    tail('kernel log', this.#log)
    tail('qemu', this.#stderr)
    return new GuestError(parts.join('\n'))
  }

  #notify(): void {
    const watchers = [...this.#watchers]
    this.#watchers.clear()
    for (const resolve of watchers) resolve()
  }

  #readLog(): void {
    const end = this.#log.lastIndexOf('\n')
    if (end < this.#scanned) return
    const lines = this.#log.slice(this.#scanned, end).split('\n')
    this.#scanned = end + 1
    for (const line of lines) {
      if (line.includes('Kernel panic - not syncing')) this.#fail('the kernel panicked')
      const said = line.indexOf(SAYS)
      if (said >= 0) this.#hear(line.slice(said + SAYS.length).trim())
    }
  }

  #hear(line: string): void {
    const [verb, ...words] = line.split(' ')
    const text = words.join(' ')
    if (verb === 'boot') this.#boots++
    else if (verb === 'exit') this.#exitCode = Number(text)
    else if (verb === 'fail') this.#failure ??= text
    else if (verb === 'call') this.#answer(text)
  }

  #answer(call: string): void {
    const { onCall } = this.#options
    const script = this.#qemu.stdio[4] as Duplex
    const reply = (text: string) => script.write(`${text.replaceAll('\n', ' ')}\n`)
    if (onCall === undefined) {
      reply('nobody answers calls')
      return
    }
    onCall(call).then(
      () => reply('ok'),
      (error: unknown) => reply(`${error instanceof Error ? error.message : error}`),
    )
  }
}

/** The same guest with a shell on this process's terminal instead of a script. Resolves when it has powered off. */
export async function runShell(
  options: Pick<GuestOptions, 'shares' | 'memoryMiB' | 'cpus' | 'files' | 'parts'>,
): Promise<void> {
  const { rows = 24, columns = 80 } = process.stdout
  const files = { ...options.files, 'guest/shell': `rows ${rows} cols ${columns}` }
  const parts = bootParts({ ...options, script: '', files })
  try {
    const qemu = spawn(x64.qemu, qemuArguments(options, parts, true), { stdio: 'inherit' })
    await ended(ownProcess(qemu))
    if (qemu.exitCode !== 0)
      throw new GuestError(`QEMU ended with ${qemu.signalCode ?? `status ${qemu.exitCode}`}`)
  } finally {
    parts.remove()
  }
}

interface BootParts {
  kernel: string
  initrd: string
  remove(): void
}

/** The base initramfs and behind it what this boot adds, in one temporary file. */
function bootParts({
  shares,
  script,
  files = {},
  modules = [],
  machine = x64,
  parts: guest = guestFiles(machine),
}: Pick<GuestOptions, 'shares' | 'script' | 'files' | 'modules' | 'machine' | 'parts'>): BootParts {
  if (guest === undefined) throw new GuestError(`no guest without ${missingForGuest(machine)}`)
  const mounted = shares.filter(share => share.mountPoint !== null)
  const lines = mounted.map(({ tag, mountPoint = `/mnt/${tag}` }) => `${tag} ${mountPoint}\n`)
  const all: GuestOptions['files'] = { 'guest/shares': lines.join(''), 'guest/script': script, ...files }
  const entries = Object.entries(all).map(
    ([path, data]) => ({ path, kind: 'file', data: Buffer.from(data) }) as const,
  )
  const dir = mkdtempSync(join(tmpdir(), 'ovfs-guest-'))
  const initrd = join(dir, 'initramfs.cpio')
  writeFileSync(initrd, Buffer.concat([baseInitramfs(guest, modules), cpioArchive(entries)]))
  return { kernel: guest.kernel, initrd, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

/** The kernel's console, the script's line and the monitor are descriptors 3, 4 and 5, or all on the terminal. */
function qemuArguments(
  options: Pick<
    GuestOptions,
    'shares' | 'memoryMiB' | 'cpus' | 'kernelArgs' | 'reboots' | 'qemuArgs' | 'machine'
  >,
  { kernel, initrd }: BootParts,
  terminal = false,
): string[] {
  const { memoryMiB = 512, cpus = 1, kernelArgs = '', reboots = false, machine = x64 } = options
  const append = `${machine.kernelArgs} loglevel=4 panic=-1 printk.devkmsg=on cryptomgr.notests`
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', ...machine.computer],
    // Not KVM even where it exists: a nested one that half works fails differently on each machine.
    ...['-accel', 'tcg', '-smp', String(cpus)],
    ...['-m', `${memoryMiB}M`, '-object', `memory-backend-memfd,id=ram,size=${memoryMiB}M,share=on`],
    ...['-numa', 'node,memdev=ram'],
    ...['-kernel', kernel, '-initrd', initrd, '-append', `${append} ${kernelArgs}`],
    ...['-chardev', terminal ? 'null,id=console' : 'socket,id=console,fd=3'],
    ...['-chardev', terminal ? 'stdio,id=script,mux=on,signal=off' : 'socket,id=script,fd=4'],
    ...(terminal
      ? ['-mon', 'script']
      : ['-chardev', 'socket,id=monitor,fd=5', '-mon', 'monitor,mode=control']),
    ...machine.serialLines,
    ...(reboots ? [] : ['-no-reboot']),
    ...options.shares.flatMap(({ socketPath, tag, queueSize = 1024 }, index) => [
      ...['-chardev', `socket,id=share${index},path=${socketPath.replaceAll(',', ',,')}`],
      ...['-device', `vhost-user-fs-pci,chardev=share${index},tag=${tag},queue-size=${queueSize}`],
    ]),
    ...(options.qemuArgs ?? []),
  ]
}

function usable(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
