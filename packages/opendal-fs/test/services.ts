// The services that the tests run on: one operator for the file system, another that looks at the same storage from outside.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Operator } from '../src/storage/binding.ts'
import { startS3 } from './s3-server.ts'

export interface Service {
  readonly scheme: string
  readonly operator: Operator
  /** What another host would use. */
  readonly outside: Operator
  close(): Promise<void>
}

export const SCHEMES = ['memory', 'fs', 's3'] as const

export async function service(scheme: (typeof SCHEMES)[number]): Promise<Service> {
  if (scheme === 'memory') {
    const operator = new Operator('memory', {})
    return { scheme, operator, outside: operator, close: async () => undefined }
  }
  const root = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
  const remove = () => rmSync(root, { recursive: true, force: true })
  if (scheme === 'fs') {
    const make = () => new Operator('fs', { root })
    return { scheme, operator: make(), outside: make(), close: async () => remove() }
  }
  const server = await startS3(root)
  const make = () => new Operator('s3', server.options)
  const close = async () => {
    await server.close()
    remove()
  }
  return { scheme, operator: make(), outside: make(), close }
}
