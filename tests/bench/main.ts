// `npm run bench [-- --seconds 1 --rounds 3 --only GETATTR --write]`: our daemon on a folder and on memory, and Debian's C
// virtiofsd on a folder, driven by the same polling driver in turns, so that what disturbs the machine disturbs all alike.
// Prints a table of medians and ratios; `--write` puts it into README.md.

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { startOvfs } from '../harness/daemon.ts'
import { repository } from '../harness/initramfs.ts'
import { missingForVirtiofsd, startVirtiofsd } from '../harness/virtiofsd.ts'
import type { Measurement } from './poller.ts'

interface Target {
  readonly name: string
  start(folder: string): Promise<{ readonly socketPath: string; stop(): Promise<void> }>
}

const targets: Target[] = [
  { name: 'ovfs, folder', start: folder => startOvfs(`fs://${folder}`) },
  { name: 'ovfs, memory', start: () => startOvfs('memory://') },
  { name: 'virtiofsd', start: folder => startVirtiofsd(folder) },
]
const REFERENCE = 'virtiofsd'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
})

const missing = missingForVirtiofsd()
if (missing !== undefined) {
  process.stderr.write(`bench: the comparison needs ${missing}\n`)
  process.exit(2)
}
const runs = new Map<string, Measurement[][]>(targets.map(({ name }) => [name, []]))
for (let round = 0; round < Number(values.rounds); round++) {
  for (const target of targets) {
    process.stderr.write(`round ${round + 1} of ${values.rounds}: ${target.name}\n`)
    runs.get(target.name)?.push(await run(target))
  }
}
const table = render()
process.stdout.write(`${table}\n`)
if (values.write) await intoReadme(table)

async function run(target: Target): Promise<Measurement[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-bench-'))
  const daemon = await target.start(folder)
  try {
    const program = fileURLToPath(new URL('./run.js', import.meta.url))
    const args = [program, daemon.socketPath, values.seconds, ...(values.only ? [values.only] : [])]
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 24 })
    return JSON.parse(stdout)
  } finally {
    await daemon.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function render(): string {
  const rows = runs.get(REFERENCE)?.[0] ?? []
  const lines = [
    `| operation | depth | ${targets.map(({ name }) => `${name}: op/s, p50, p99 µs`).join(' | ')} | ratio, folder | ratio, memory |`,
    `|---|--:|${targets.map(() => '--:').join('|')}|--:|--:|`,
  ]
  rows.forEach(({ workload, depth }, row) => {
    const rates = new Map<string, number[]>()
    const cells = targets.map(({ name }) => {
      const measured = (runs.get(name) ?? []).map(run => run[row] as Measurement)
      const rate = measured.map(({ operations, seconds }) => operations / seconds)
      rates.set(name, rate)
      const p50 = median(measured.map(m => m.p50))
      const p99 = median(measured.map(m => m.p99))
      return `${thousands(median(rate))}, ${p50.toFixed(0)}, ${p99.toFixed(0)}`
    })
    // Round by round: what slowed one target down in a round slowed the others too.
    const ratio = (name: string) => {
      const reference = rates.get(REFERENCE) ?? []
      return median(
        (rates.get(name) ?? []).map((rate, round) => rate / (reference[round] as number)),
      ).toFixed(2)
    }
    lines.push(
      `| ${workload} | ${depth} | ${cells.join(' | ')} | ${ratio('ovfs, folder')} | ${ratio('ovfs, memory')} |`,
    )
  })
  const day = new Date().toISOString().slice(0, 10)
  const { model } = cpus()[0] as { model: string }
  return [
    ...lines,
    '',
    `Median of ${values.rounds} rounds of ${values.seconds} s in turns, ${day}: ${cpus().length} × ${model.trim()}, Node ${process.versions.node}. ` +
      'A driver in a process of its own polls the used ring; the files are warm. virtiofsd is the C one of QEMU 7.2, its default options, ' +
      'on a folder. Ratios are operations per second over those of virtiofsd.',
  ].join('\n')
}

function thousands(rate: number): string {
  return rate >= 10_000 ? `${(rate / 1000).toFixed(0)} k` : rate.toFixed(0)
}

async function intoReadme(text: string): Promise<void> {
  const path = join(repository, 'README.md')
  const readme = await readFile(path, 'utf8')
  const marked = /(<!-- bench -->\n)[\s\S]*(<!-- \/bench -->)/
  await writeFile(path, readme.replace(marked, `$1${text}\n$2`))
}
