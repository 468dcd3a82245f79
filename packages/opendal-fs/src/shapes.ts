// Whether what was read has the shape that it must have: JSON of a journal, of a session's log, of a sidecar, of a session from
// another host.

import type { Time } from './attributes/time.ts'

export type Fields = Readonly<Record<string, unknown>>
export type Check = (value: unknown) => boolean

export function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An id, a size or an offset. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

export function isText(value: unknown): value is string {
  return typeof value === 'string'
}

export function isFlag(value: unknown): value is boolean {
  return typeof value === 'boolean'
}

export function isTime(value: unknown): value is Time {
  return isRecord(value) && Number.isSafeInteger(value.sec) && isCount(value.nsec)
}

export function isTuple(value: unknown, ...checks: readonly Check[]): boolean {
  return Array.isArray(value) && value.length === checks.length && checks.every((check, i) => check(value[i]))
}

export function isList(value: unknown, check: Check): boolean {
  return Array.isArray(value) && value.every(check)
}

export function isOptional(value: unknown, check: Check): boolean {
  return value === undefined || check(value)
}
