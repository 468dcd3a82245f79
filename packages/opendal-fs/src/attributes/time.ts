// Points in time as FUSE carries them: whole seconds and the nanoseconds of the fraction.

import type { Timestamp } from '@ovfs/fuse-proto'

export type Time = Timestamp

export function timeOf(milliseconds: number): Time {
  const sec = Math.floor(milliseconds / 1000)
  return { sec, nsec: Math.round((milliseconds - sec * 1000) * 1e6) }
}

/** Reads RFC 3339 with any number of fractional digits; undefined for anything else. */
export function parseTime(text: string | null): Time | undefined {
  if (text === null) return undefined
  const whole = Date.parse(text)
  if (Number.isNaN(whole)) return undefined
  const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? ''
  return { sec: Math.floor(whole / 1000), nsec: Number(fraction.padEnd(9, '0')) }
}

/** The present, at the host. */
export function now(): Time {
  return timeOf(Date.now())
}

/** The current time, but at least a nanosecond after `last`, because a guest detects a change only by its time. */
export function timeAfter(last: Time): Time {
  const present = now()
  const more = last.sec === present.sec ? last.nsec + 1 - present.nsec : 0
  return more > 0 && more < 1e6 ? { sec: present.sec, nsec: last.nsec + 1 } : present
}

/** Negative, 0 or positive, as `a` is before, at or after `b`; a time that is not known is before all others. */
export function compareTimes(a: Time, b: Time | undefined): number {
  if (b === undefined) return 1
  return a.sec === b.sec ? a.nsec - b.nsec : a.sec - b.sec
}
