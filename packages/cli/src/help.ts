// The help texts, made of the commands' rows.

import type { Command, Option, Options } from './command.ts'
import { COMMANDS } from './commands.ts'

const WIDTH = 100

export function overview(): string {
  return [
    'ovfs: a real file system for virtual machines on any storage that Apache OpenDAL reaches',
    '',
    'Usage: ovfs COMMAND [OPTIONS]',
    '',
    'Commands:',
    ...columns(COMMANDS.map(command => [`  ${command.name}`, command.summary])),
    '',
    'Options:',
    ...columns([
      ['  --help', 'show this, or with a command the help of the command'],
      ['  --version', 'show the version'],
      ['  --print-capabilities', 'show what this vhost-user back-end is, as JSON'],
    ]),
    '',
    'Exit codes: 0 done, 1 an error that the last line explains, 70 a defect of ovfs.',
    '',
  ].join('\n')
}

export function commandHelp(command: Command<Options>): string {
  const { argument } = command
  const written =
    argument === undefined ? '' : argument.required ? ` ${argument.name}` : ` [${argument.name}]`
  const lines = [`ovfs ${command.name}: ${command.summary}`, '']
  lines.push(`Usage: ovfs ${command.name}${written}${command.groups.length > 0 ? ' [OPTIONS]' : ''}`, '')
  if (argument !== undefined) lines.push(...columns([[`  ${argument.name}`, argument.summary]]), '')
  const rows = command.groups.map(group =>
    group.options.map(
      name => [optionName(name, command.options[name]!), optionSummary(command.options[name]!)] as const,
    ),
  )
  const width = Math.max(0, ...rows.flat().map(([name]) => name.length))
  command.groups.forEach((group, index) => {
    lines.push(`${group.title}:`, ...columns(rows[index]!, width), '')
  })
  for (const note of command.notes ?? []) lines.push(...wrap(note, WIDTH))
  if (command.notes !== undefined) lines.push('')
  lines.push('Examples:', ...command.examples.map(example => `  ${example}`), '')
  return lines.join('\n')
}

function optionName(name: string, option: Option): string {
  const short = option.kind !== 'flag' && option.short !== undefined ? `-${option.short}, ` : ''
  return `  ${short}--${name}${option.kind === 'flag' ? '' : ` ${option.value}`}`
}

function optionSummary(option: Option): string {
  if (option.kind === 'list') return `${option.summary}; may be repeated`
  if (option.kind === 'value' && option.default !== undefined) return `${option.summary} [${option.default}]`
  return option.summary
}

export function columns(
  rows: readonly (readonly [string, string])[],
  width = Math.max(...rows.map(row => row[0].length)),
): string[] {
  return rows.flatMap(([left, right]) => {
    const [first, ...others] = wrap(right, WIDTH - width - 2)
    return [`${left.padEnd(width)}  ${first}`, ...others.map(line => `${' '.repeat(width)}  ${line}`)]
  })
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}
