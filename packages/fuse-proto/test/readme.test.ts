// The README is partly made from the code: `vitest -u` writes those parts anew.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as constants from '../src/constants.ts'
import {
  FLAG_SETS,
  IMPLEMENTED_FLAGS,
  IMPLEMENTED_FLAGS2,
  InitFlags,
  InitFlags2,
  NOTIFICATIONS,
  type NotificationName,
  NotifyCode,
  OPERATIONS,
  type Operation,
  REFUSED_FEATURES,
} from '../src/index.ts'
import { content } from './readme-program.ts'

const readmePath = new URL('../README.md', import.meta.url)
const program = readFileSync(new URL('./readme-program.ts', import.meta.url), 'utf8')

function withPart(readme: string, name: string, part: string): string {
  const pattern = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`)
  expect(readme).toMatch(pattern)
  return readme.replace(pattern, (_, open: string, close: string) => `${open}\n${part}\n\n${close}`)
}

function layout(row: Operation, reply: boolean): string {
  if (reply && row.silent) return 'none'
  const structs = (reply ? row.reply : row.request && [row.request]) ?? []
  const names = reply ? 0 : (row.names ?? 0)
  const tail = reply ? row.replyTail : row.requestTail
  const parts = [
    ...structs.map(part => part.cName.replace('fuse_', '')),
    ...['name', 'name'].slice(0, names),
    ...(tail ? [tail] : []),
  ]
  return parts.join(' + ') || (reply ? 'header' : '')
}

function service(row: Operation): string {
  if (row.name === 'INIT' || row.call || row.name === 'DESTROY') {
    return row.methods!.map(method => `\`${method}\``).join(' or ')
  }
  return `none: ${row.reason}`
}

/** A table whose first column holds numbers, padded as the formatter pads it. */
function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (row: readonly (string | number)[]) => `| ${row.join(' | ')} |`
  const rule = header.map((_title, i) => (i === 0 ? '--:' : '---'))
  return [line(header), line(rule), ...rows.map(line)].join('\n')
}

function operationsTable(): string {
  const header = [
    'opcode',
    'operation',
    'node id',
    'request',
    'reply',
    'method',
    'without a method',
    'ENOSYS',
  ]
  const rows = OPERATIONS.map(row => {
    const missing = typeof row.missing === 'string' ? row.missing : row.silent ? 'nothing' : 'success'
    const messages = [layout(row, false), layout(row, true)]
    return [row.opcode, row.name, row.node, ...messages, service(row), missing, row.enosys ?? '']
  })
  return table(header, rows)
}

function featuresTable(): string {
  const rows = (flags: Readonly<Record<string, number>>, implemented: number, shift: number) =>
    Object.entries(flags).map(([name, bit]) => [
      Math.log2(bit) + shift,
      name,
      (implemented & bit) !== 0 ? 'yes' : `no: ${REFUSED_FEATURES[name as keyof typeof REFUSED_FEATURES]}`,
    ])
  return table(
    ['bit', 'feature', 'supported'],
    [...rows(InitFlags, IMPLEMENTED_FLAGS, 0), ...rows(InitFlags2, IMPLEMENTED_FLAGS2, 32)],
  )
}

function flagsTable(): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rows = FLAG_SETS.map(({ messages, field, flags, handler }) => {
    const named = Object.entries(flags).map(([name, value]) => `${name} 0x${value.toString(16)}`)
    return line([messages, field, named.join(', '), handler])
  })
  const header = ['messages', 'field', 'flags', 'the handler gets']
  return [line(header), line(header.map(() => '---')), ...rows].join('\n')
}

function notificationsTable(): string {
  const rows = (Object.keys(NOTIFICATIONS) as NotificationName[]).map(name => {
    const { body, tail } = NOTIFICATIONS[name]
    return [NotifyCode[name], name, [body?.cName.replace('fuse_', ''), tail].filter(Boolean).join(' + ')]
  })
  return table(['code', 'notification', 'body'], rows)
}

test('every operation has a method of the handler or a reason, and every feature is done or refused for one', () => {
  for (const row of OPERATIONS) {
    const served = row.call !== undefined || row.name === 'INIT' || row.name === 'DESTROY'
    expect([row.name, row.reason !== undefined]).toEqual([row.name, !served])
  }
  const features = { ...InitFlags, ...InitFlags2 }
  for (const name of Object.keys(features) as (keyof typeof features)[]) {
    const done = name in InitFlags ? IMPLEMENTED_FLAGS & features[name] : IMPLEMENTED_FLAGS2 & features[name]
    expect([name, REFUSED_FEATURES[name] !== undefined]).toEqual([name, done === 0])
  }
})

test('every flag that has a name stands in one set, and none is empty', () => {
  const sets = FLAG_SETS.map(({ messages, flags }) => [messages, Object.keys(flags).length])
  expect(sets.filter(([, count]) => count === 0)).toEqual([])
  const prefixes =
    /^(FATTR|FOPEN|FALLOC_FL|RENAME|FUSE_(GETATTR|OPEN|RELEASE|READ|WRITE|FSYNC|LK|SETXATTR|IOCTL|POLL|ATTR))_/
  const named = Object.keys(constants).filter(name => prefixes.test(name))
  expect(FLAG_SETS.flatMap(({ flags }) => Object.keys(flags)).length).toBe(named.length + 1)
})

test('the README has the program, the operations and the features that the code has', async () => {
  let readme = readFileSync(readmePath, 'utf8')
  readme = withPart(
    readme,
    'program',
    `\`\`\`ts\n${program.replace('export const content =', 'const content =')}console.log(content)\n\`\`\``,
  )
  readme = withPart(readme, 'operations', operationsTable())
  readme = withPart(readme, 'features', featuresTable())
  readme = withPart(readme, 'flags', flagsTable())
  readme = withPart(readme, 'notifications', notificationsTable())
  await expect(readme).toMatchFileSnapshot('../README.md')
})

test('the program of the README reads the file', () => {
  expect(content).toBe('Hello from the host\n')
})
