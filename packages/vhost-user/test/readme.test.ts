// The README's program runs, and its table is what the code says. UPDATE_README=1 writes the table.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { expect, onTestFinished, test, vi } from 'vitest'
import { BackendState } from '../src/backend-requests.ts'
import { PROTOCOL_FEATURE_BITS, type ProtocolFeature } from '../src/features.ts'
import {
  type AnyRequestRow,
  BACKEND_REQUESTS,
  type BackendRequest,
  FRONTEND_REQUESTS,
  type FrontendRequest,
} from '../src/messages.ts'
import {
  DEVICE_FEATURES,
  offeredProtocolFeatures,
  reasonWithheld,
  WITHHELD,
} from '../src/offered-features.ts'
import { RecordingDevice } from './recording-device.ts'

const README = new URL('../README.md', import.meta.url)
const readme = readFileSync(README, 'utf8')

test('the smallest program does what it says', async () => {
  const program = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] as string
  const file = new URL(`./readme-program-${process.pid}.ts`, import.meta.url)
  writeFileSync(file, program.replace("'@ovfs/vhost-user'", "'../src/index.ts'"))
  onTestFinished(() => rmSync(file))
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  onTestFinished(() => log.mockRestore())
  await import(file.href)
  expect(log.mock.calls).toEqual([['one of 1 ring(s) was kicked, and called back']])
})

const served = new Set([
  ...Object.keys(new BackendState(new RecordingDevice(), () => {}).handlers),
  // What BackendChannel sends and serveChannel takes.
  'CONFIG_CHANGE_MSG',
])

const members: Partial<Record<string, string>> = DEVICE_FEATURES
const reasons: Partial<Record<string, string>> = WITHHELD
const ifDevice = (member: string | undefined) => (member ? `if the device has \`${member}\`` : 'yes')

function support(name: string, row: AnyRequestRow): string {
  const reason = reasonWithheld(name as FrontendRequest | BackendRequest, row.gate)
  expect(served.has(name), `${name} is served, or there is a reason`).toBe(reason === undefined)
  return reason ? `no: ${reason}` : ifDevice(members[row.gate ?? ''])
}

function lines(requests: Record<string, AnyRequestRow>): string[] {
  return Object.entries(requests).map(([name, row]) => {
    const reply = row.reply ? [row.reply.name, row.replyFds.label && `fd ${row.replyFds.label}`] : ['ack']
    const cells = [
      row.id,
      name,
      row.payload.name,
      row.fds.label,
      reply.filter(Boolean).join(', '),
      row.gate ?? '',
      support(name, row),
    ]
    return `| ${cells.join(' | ')} |`
  })
}

const HEAD =
  '| id | request | payload | fds | answer | needs | served |\n| ---: | --- | --- | --- | --- | --- | --- |'

const table = [
  'Front-end to back-end; `ack` means that there is an answer only if NEED_REPLY asks for one:\n',
  HEAD,
  ...lines(FRONTEND_REQUESTS),
  '\nBack-end to front-end:\n',
  HEAD,
  ...lines(BACKEND_REQUESTS),
  '\nProtocol features:\n',
  '| bit | feature | offered |\n| ---: | --- | --- |',
  ...Object.entries(PROTOCOL_FEATURE_BITS).map(([name, bit]) => {
    const reason = reasons[name]
    return `| ${bit} | ${name} | ${reason ? `no: ${reason}` : ifDevice(members[name])} |`
  }),
].join('\n')

/** The formatter pads the columns. */
const unpadded = (text: string) => text.replaceAll(/ +/g, ' ').replaceAll(/-{2,}/g, '--')

test('the table of requests is that of the code', () => {
  const block = /(<!-- requests -->\n)[\s\S]*?(<!-- \/requests -->)/
  const expected = readme.replace(block, `$1\n${table}\n\n$2`)
  if (process.env.UPDATE_README) writeFileSync(README, expected)
  else expect(unpadded(readme)).toBe(unpadded(expected))
})

test('every protocol feature is offered to some device, or there is a reason', () => {
  const whole = Object.fromEntries(Object.values(DEVICE_FEATURES).map(member => [member, () => {}]))
  const offered = offeredProtocolFeatures(Object.assign(new RecordingDevice(), whole))
  for (const [name, bit] of Object.entries(PROTOCOL_FEATURE_BITS)) {
    const isOffered = ((offered >> BigInt(bit)) & 1n) === 1n
    expect(isOffered, name).toBe(!((name as ProtocolFeature) in WITHHELD))
  }
})
