// The kinds of computers that a guest can be. Any of them boots on any host: nothing here needs the host's own processor.

export interface Machine {
  readonly name: string
  readonly qemu: string
  /** The folder in .cache with its kernel and user space, and what of scripts/prepare.mjs fills it. */
  readonly folder: string
  readonly preparedBy: string
  readonly computer: readonly string[]
  /** Puts the character devices `console` and `script` on serial lines that `kernelArgs` name. */
  readonly serialLines: readonly string[]
  /** SCRIPT_LINE is not the kernel's, so it becomes a variable of /init. */
  readonly kernelArgs: string
}

export const x64: Machine = {
  name: 'x86-64',
  qemu: 'qemu-system-x86_64',
  folder: 'guest',
  preparedBy: '--guest',
  computer: ['-machine', 'q35', '-cpu', 'max'],
  serialLines: ['-serial', 'chardev:console', '-serial', 'chardev:script'],
  kernelArgs: 'console=ttyS0 SCRIPT_LINE=ttyS1 tsc=reliable no_timer_check',
}

/** A PC with the kernel of Debian 13, which has virtio-fs built in. */
export const x64Trixie: Machine = { ...x64, folder: 'guest-trixie', preparedBy: '--tests' }

export const arm64: Machine = {
  name: 'arm64',
  qemu: 'qemu-system-aarch64',
  folder: 'guest-arm64',
  preparedBy: '--tests',
  // A processor without pointer authentication, which TCG is slow at.
  computer: ['-machine', 'virt', '-cpu', 'cortex-a57'],
  serialLines: ['-serial', 'chardev:console', '-device', 'pci-serial,chardev=script'],
  kernelArgs: 'console=ttyAMA0 SCRIPT_LINE=ttyS0',
}
