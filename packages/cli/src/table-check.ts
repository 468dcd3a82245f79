// Tests whether the table of an SQL database can store a share: names that differ only in case, long names, and values of any
// length. Other tables lose files without an error, so the start writes one row and looks it up.

import type { Operator } from '@ovfs/opendal-fs'
import type { Service } from './services/service.ts'

/** One byte more than MySQL's BLOB. */
const LONG_VALUE = 65_536
/** More than the usual VARCHAR(255). */
const LONG_KEY = 300

/**
 * Returns the flaws of the table, one line each. Makes four calls; the last one removes the row.
 * @param probe a key that no file has; lower case
 */
export async function tableFlaws(
  operator: Operator,
  service: Service,
  options: Readonly<Record<string, string>>,
  probe: string,
): Promise<string[]> {
  const key = probe.padEnd(LONG_KEY, '-long')
  const flaws: string[] = []
  try {
    await operator.write(key, Buffer.alloc(LONG_VALUE))
    const size = await sizeOf(operator, key)
    if (size === undefined) flaws.push('cuts long names')
    else if (size < LONG_VALUE) flaws.push(`cuts values to ${size} bytes`)
    if ((await sizeOf(operator, key.toUpperCase())) !== undefined)
      flaws.push('takes names that differ only in case for one')
    await operator.delete(key)
  } catch {
    flaws.push(`refuses a name of ${LONG_KEY} bytes or a value of ${LONG_VALUE} bytes`)
  }
  const advice = service.createTable?.(options)
  return flaws.map(
    flaw =>
      `the table ${options.table} ${flaw}: such files are lost or fail; use a table made with: ${advice}`,
  )
}

async function sizeOf(operator: Operator, key: string): Promise<number | undefined> {
  try {
    return Number((await operator.stat(key)).contentLength ?? 0n)
  } catch {
    return undefined
  }
}
