// A command as data, and what the command line gives for it: one row per option drives parsing, help and types.

import { parseArgs } from 'node:util'
import { CliError } from './error.ts'
import { nearest } from './nearest.ts'
import type { ValueParser } from './option-value.ts'

export interface FlagOption {
  readonly kind: 'flag'
  readonly summary: string
}

export interface ValueOption<T = unknown> {
  readonly kind: 'value'
  /** One letter, used as `-o`. */
  readonly short?: string
  /** What the help calls the value. */
  readonly value: string
  readonly summary: string
  readonly parse: ValueParser<T>
  /** As it would be typed. */
  readonly default?: string
}

export interface ListOption {
  readonly kind: 'list'
  readonly short?: string
  readonly value: string
  readonly summary: string
}

export type Option = FlagOption | ValueOption | ListOption
export type Options = Readonly<Record<string, Option>>

export interface Command<O extends Options = Options> {
  readonly name: string
  readonly summary: string
  readonly argument?: { readonly name: string; readonly required: boolean; readonly summary: string }
  /** Groups of options, in the order of the help. */
  readonly groups: readonly { readonly title: string; readonly options: readonly string[] }[]
  readonly options: O
  readonly notes?: readonly string[]
  readonly examples: readonly string[]
}

type ValueOf<T extends Option> = T extends FlagOption
  ? boolean
  : T extends ListOption
    ? readonly string[]
    : T extends { readonly parse: ValueParser<infer V>; readonly default: string }
      ? V
      : T extends { readonly parse: ValueParser<infer V> }
        ? V | undefined
        : never

export type Values<O extends Options> = { readonly [K in keyof O]: ValueOf<O[K]> }

export interface Invocation<O extends Options> {
  readonly argument: string | undefined
  readonly values: Values<O>
}

export function parseInvocation<O extends Options>(
  command: Command<O>,
  args: readonly string[],
): Invocation<O> {
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(command.options).map(([name, option]) => [name, tokenRule(option)]),
    ),
    allowPositionals: true,
    // The tokens are enough, and the messages are to be ours.
    strict: false,
    tokens: true,
  })
  const found = new Map<string, string[]>()
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      positionals.push(token.value)
      continue
    }
    const option = Object.hasOwn(command.options, token.name) ? command.options[token.name] : undefined
    if (option === undefined) throw unknownOption(command, token.name, token.rawName)
    if (option.kind === 'flag') {
      if (token.value !== undefined) throw usage(command, `${token.rawName} takes no value`)
      found.set(token.name, [])
      continue
    }
    const swallowed = token.inlineValue === false && /^-./.test(token.value)
    if (token.value === undefined || swallowed) {
      throw usage(command, `${token.rawName} needs a value: ${token.rawName} ${option.value}`)
    }
    found.set(token.name, [...(found.get(token.name) ?? []), token.value])
  }
  return { argument: onlyArgument(command, positionals), values: convert(command, found) }
}

function tokenRule(option: Option): { type: 'boolean' | 'string'; short?: string } {
  if (option.kind === 'flag') return { type: 'boolean' }
  return option.short === undefined ? { type: 'string' } : { type: 'string', short: option.short }
}

function onlyArgument<O extends Options>(
  command: Command<O>,
  positionals: readonly string[],
): string | undefined {
  const [argument, extra] = positionals
  const { argument: expected } = command
  if (expected === undefined && argument !== undefined) {
    throw usage(command, `${command.name} takes no argument`)
  }
  if (expected?.required && argument === undefined) throw usage(command, `${expected.name} is missing`)
  // Not repeated: it may be a secret that was meant for an option.
  if (extra !== undefined)
    throw usage(command, `${command.name} takes one ${expected?.name ?? 'argument'} only`)
  return argument
}

function convert<O extends Options>(
  command: Command<O>,
  found: ReadonlyMap<string, readonly string[]>,
): Values<O> {
  const values: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(command.options)) {
    const given = found.get(name)
    if (option.kind === 'flag') {
      values[name] = given !== undefined
    } else if (option.kind === 'list') {
      values[name] = given ?? []
    } else {
      const typed = given?.at(-1) ?? option.default
      values[name] = typed === undefined ? undefined : parseValue(command, name, option, typed)
    }
  }
  return values as Values<O>
}

function parseValue<O extends Options>(
  command: Command<O>,
  name: string,
  option: ValueOption,
  typed: string,
): unknown {
  try {
    return option.parse(typed)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw usage(command, `--${name} ${JSON.stringify(typed)}: expected ${error.message}`)
  }
}

function unknownOption<O extends Options>(command: Command<O>, name: string, written: string): CliError {
  const near = name.length > 1 ? nearest(name, Object.keys(command.options)) : undefined
  const hint = near === undefined ? `see ovfs help ${command.name}` : `did you mean --${near}?`
  return new CliError('USAGE', `${command.name} has no option ${written}`, hint)
}

function usage<O extends Options>(command: Command<O>, message: string): CliError {
  return new CliError('USAGE', message, `see ovfs help ${command.name}`)
}
