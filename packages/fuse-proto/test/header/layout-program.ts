// Asks a C compiler how it lays out the structures of <linux/fuse.h>: reads which structures and fields the header declares,
// makes a C program that prints sizeof and offsetof of each, runs it, and parses what it prints.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const HEADER = '/usr/include/linux/fuse.h'

export interface StructLayout {
  readonly size: number
  /** Offsets of the fields by their C names. */
  readonly fields: Readonly<Record<string, number>>
}
export interface HeaderLayout {
  /** Protocol minor of the header. */
  readonly minor: number
  readonly structs: Readonly<Record<string, StructLayout>>
}

/** Whether a compiler and a header of the minor that the checked-in data was made from are here. */
export function canCompile(minor: number): boolean {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
    return headerMinor(readFileSync(HEADER, 'utf8')) === minor
  } catch {
    return false
  }
}

function headerMinor(header: string): number {
  return Number(/FUSE_KERNEL_MINOR_VERSION (\d+)/.exec(header)?.[1])
}

export function compileLayout(): HeaderLayout {
  const header = readFileSync(HEADER, 'utf8')
  const directory = mkdtempSync(join(tmpdir(), 'fuse-layout-'))
  try {
    const source = join(directory, 'layout.c')
    const program = join(directory, 'layout')
    writeFileSync(source, layoutProgram(declaredStructs(header)))
    execFileSync('cc', ['-o', program, source])
    const structs: Record<string, { size: number; fields: Record<string, number> }> = {}
    for (const line of execFileSync(program, { encoding: 'utf8' }).trim().split('\n')) {
      const [struct, field, number] = line.split(' ') as [string, string, string]
      if (field === 'sizeof') structs[struct] = { size: Number(number), fields: {} }
      else structs[struct]!.fields[field] = Number(number)
    }
    return { minor: headerMinor(header), structs }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Names of the structures and of their fields, in the order of the header. */
export function declaredStructs(header: string): Map<string, string[]> {
  const text = header.replace(/\/\*[\s\S]*?\*\//g, '')
  const structs = new Map<string, string[]>()
  for (const [, name, body] of text.matchAll(/^struct (\w+) \{([^}]*)\};/gm)) {
    const fields = [...(body as string).matchAll(/(\w+)(\[\w*\])?;/g)].map(match => match[1] as string)
    structs.set(name as string, fields)
  }
  return structs
}

function layoutProgram(structs: Map<string, string[]>): string {
  const lines = [...structs].flatMap(([struct, fields]) => [
    `  printf("${struct} sizeof %zu\\n", sizeof(struct ${struct}));`,
    ...fields.map(field => `  printf("${struct} ${field} %zu\\n", offsetof(struct ${struct}, ${field}));`),
  ])
  return [
    '#include <linux/fuse.h>',
    '#include <stddef.h>',
    '#include <stdint.h>',
    '#include <stdio.h>',
    'int main(void) {',
    ...lines,
    '  return 0;',
    '}',
    '',
  ].join('\n')
}
