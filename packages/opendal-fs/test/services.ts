// The services that the tests run on: one operator for the file system, another that looks at the same storage from outside.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Operator } from 'opendal'

export interface Service {
  readonly scheme: string
  readonly operator: Operator
  /** What another host would use. */
  readonly outside: Operator
  close(): void
}

export const SCHEMES = ['memory', 'fs'] as const

export function service(scheme: (typeof SCHEMES)[number]): Service {
  if (scheme === 'memory') {
    const operator = new Operator('memory', {})
    return { scheme, operator, outside: operator, close() {} }
  }
  const root = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
  return {
    scheme,
    operator: new Operator('fs', { root }),
    outside: new Operator('fs', { root }),
    close: () => rmSync(root, { recursive: true, force: true }),
  }
}
