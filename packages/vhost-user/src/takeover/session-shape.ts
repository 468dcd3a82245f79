// Whether what a record of a session holds has the shape of one. Memory that a predecessor has written can be damaged, and then
// the session is over; it must not be the end of the process that looks at it.

import type { FdName, SavedSession } from './saved-session.ts'

/** Whether what was read is of this shape. Values are checked by those who take them over, as they check a front-end's. */
export function isSavedSession(value: unknown): value is SavedSession {
  if (!isObject(value) || !isObject(value.state)) return false
  const { owned, features, protocolFeatures, status, regions, log, channel, inflight, rings } = value.state
  return (
    areAll(value.fds, isName) &&
    isName(value.connection) &&
    isName(value.ringRecords) &&
    typeof owned === 'boolean' &&
    isMask(features) &&
    isMask(protocolFeatures) &&
    isCount(status) &&
    areAll(regions, isRegion) &&
    isLog(log) &&
    isOptional(channel, isName) &&
    isOptional(inflight, part => isMemory(part) && isCount(part.numQueues) && isCount(part.queueSize)) &&
    areAll(rings, isRing)
  )
}

type Fields = Readonly<Record<string, unknown>>

function isRegion(value: unknown): boolean {
  if (!isObject(value) || !isName(value.fd)) return false
  return [value.guestAddress, value.userAddress, value.size, value.mmapOffset].every(isCount)
}

function isMemory(value: unknown): value is Fields {
  return isObject(value) && isName(value.fd) && isCount(value.mmapSize) && isCount(value.mmapOffset)
}

function isLog(value: unknown): boolean {
  if (!isObject(value) || typeof value.on !== 'boolean') return false
  const { usedRings, memory, signal } = value
  return (
    areAll(usedRings, ring => ring === null || isCount(ring)) &&
    isOptional(memory, isMemory) &&
    isOptional(signal, isName)
  )
}

function isRing(value: unknown): boolean {
  if (!isObject(value)) return false
  const { size, base, addresses, started, enabled, running, kick, call, err } = value
  return (
    [size, base].every(isCount) &&
    isOptional(addresses, areAddresses) &&
    [started, enabled, running].every(flag => typeof flag === 'boolean') &&
    [kick, call, err].every(name => isOptional(name, isName))
  )
}

function areAddresses(value: unknown): boolean {
  return isObject(value) && [value.descAddress, value.availAddress, value.usedAddress].every(isCount)
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}

function isName(value: unknown): value is FdName {
  return typeof value === 'string'
}

function isMask(value: unknown): boolean {
  return typeof value === 'string' && /^\d{1,20}$/.test(value)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isOptional(value: unknown, check: (value: unknown) => boolean): boolean {
  return value === undefined || check(value)
}

function areAll(value: unknown, check: (value: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(check)
}
