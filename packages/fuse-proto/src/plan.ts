// The operations table as a server with one handler follows it: a plan for each opcode, with what the handler lacks filled in.

import { Opcode, PATH_MAX } from './constants.ts'
import type { FuseHandler } from './handler.ts'
import type { Operation } from './operation.ts'
import { ARGUMENT_BYTES } from './request-workspace.ts'

/**
 * What one row comes to with a given handler. All plans have the same shape, unlike rows, so that reading them costs the
 * same however many operations a guest mixes.
 */
export interface Plan {
  readonly opcode: number
  /** What the arguments start with, for errors. */
  readonly struct: string
  readonly requestSize: number
  readonly replySize: number
  readonly silent: boolean
  readonly once: boolean
  /** Names or values follow the structure, so that all of the arguments are needed. */
  readonly whole: boolean
  /** Most bytes of arguments, where `whole`. */
  readonly limit: number
  /** Undefined if the handler does not serve the operation: then `missing` answers. */
  readonly call: Operation['call'] | undefined
  readonly missing: Operation['missing']
  readonly answer: Operation['answer'] | undefined
  readonly partial: Operation['partial'] | undefined
}

export function planFor(row: Operation, handler: FuseHandler): Plan {
  const names = row.names ?? 0
  const served = (row.methods ?? []).some(method => handler[method] !== undefined)
  const hasValue = row.requestTail === 'value'
  return {
    opcode: row.opcode,
    struct: row.request?.cName ?? 'names',
    requestSize: row.requestSize,
    replySize: row.replySize,
    silent: row.silent === true,
    once: row.once === true,
    whole: names > 0 || row.opcode === Opcode.INIT,
    limit: hasValue ? ARGUMENT_BYTES : PATH_MAX + names * PATH_MAX,
    call: served ? row.call : undefined,
    missing: row.missing,
    answer: row.answer,
    partial: row.partial,
  }
}
