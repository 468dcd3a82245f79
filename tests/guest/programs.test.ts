// Everything in PROGRAMS on a folder and on S3, in two boots: the programs run on both side by side, then each daemon is
// replaced and a second guest looks at what they left.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForOvfs } from '../harness/daemon.ts'
import { inDebian, missingForDebian } from '../harness/debian-guest.ts'
import { Guest, type GuestResult } from '../harness/guest.ts'
import { PROGRAM_PRELUDE, PROGRAMS } from './programs.ts'
import { fsStorage, type Restartable, s3Storage } from './storage.ts'

const storages = { fs: fsStorage, s3: s3Storage }
const names = Object.keys(storages) as (keyof typeof storages)[]
const lacks = missingForDebian() ?? missingForOvfs()
const BOOT_MS = 600_000

interface Boot {
  readonly output: string
  readonly end: GuestResult | Error
}

describe.skipIf(lacks !== undefined)(
  `programs in a guest${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    const served = new Map<string, Restartable>()
    let first: Boot
    let second: Boot

    beforeAll(
      async () => {
        for (const name of names) served.set(name, await storages[name].serve())
        first = await boot(served, 'script')
        for (const each of served.values()) await each.restart()
        second = await boot(served, 'again')
      },
      2 * BOOT_MS + 60_000,
    )

    afterAll(async () => {
      for (const each of served.values()) await each.stop()
    })

    describe.each(names)('%s', name => {
      const found = (boot: Boot, program: string) => {
        const report = section(boot.output, name, program)
        if (report === undefined) throw boot.end
        expect(report.status, `${report.trace}--- the daemon\n${served.get(name)!.log()}`).toBe(0)
      }

      for (const [program, { title }] of Object.entries(PROGRAMS)) {
        test(title, () => found(first, program))
        test(`${program}: a second guest on a fresh daemon finds the same`, () => found(second, program))
      }
    })
  },
)

async function boot(served: ReadonlyMap<string, Restartable>, part: 'script' | 'again'): Promise<Boot> {
  const guest = await Guest.start(
    inDebian({
      shares: [...served].map(([tag, { socketPath }]) => ({ tag, socketPath })),
      script: script(part),
      cpus: 2,
      timeoutMs: BOOT_MS,
    }),
  )
  const end = await guest.end().catch((error: Error) => error)
  return { output: guest.output, end }
}

/** Each line of a share's programs begins with its tag: the shares are worked on side by side. */
function script(part: 'script' | 'again'): string {
  const programs = Object.entries(PROGRAMS).map(
    ([name, program]) => `
program_${name}() {
  set -ex
  cd /mnt/$1
  mkdir -p ${name}
  cd ${name}
  ${program[part]}
}
`,
  )
  return `
${PROGRAM_PRELUDE}
${programs.join('')}
on() {
  for program in ${Object.keys(PROGRAMS).join(' ')}; do
    echo "=== begin $program"
    (program_$program $1)
    echo "=== end $program $? at $SECONDS s"
  done
}
for tag in ${names.join(' ')}; do
  on $tag 2>&1 | sed -u "s/^/$tag /" &
done
wait
`
}

/** One that began and did not end is not there. */
function section(
  output: string,
  tag: string,
  program: string,
): { status: number; trace: string } | undefined {
  const lines = output
    .split('\n')
    .filter(line => line.startsWith(`${tag} `))
    .map(line => line.slice(tag.length + 1))
  const begin = lines.indexOf(`=== begin ${program}`)
  const end = lines.findIndex(line => line.startsWith(`=== end ${program} `))
  if (begin < 0 || end < 0) return undefined
  return { status: Number(lines[end]!.split(' ')[3]), trace: `${lines.slice(begin, end).join('\n')}\n` }
}
