// Tests with the newest build of OpenDAL's binding, which needs a newer C library than Debian 12 has: vitest itself runs on this
// machine's, and what it starts for the tests is Node with another. With OVFS_OPENDAL_TESTS=all, the tests of all packages.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

process.env.OVFS_OPENDAL = 'latest'
if (existsSync(path('.cache/libc'))) {
  process.env.OVFS_HOST_NODE = process.execPath
  process.execPath = path('tests/newer-libc/node')
}

const all = process.env.OVFS_OPENDAL_TESTS === 'all'

export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: all
      ? ['packages/*/test/**/*.test.ts']
      : [
          'packages/opendal-fs/test/{absences,attributes,binding,concurrency,conflict,credentials}.test.ts',
          'packages/opendal-fs/test/{directory-index,early-upload,extended-attributes,limits,listing}.test.ts',
          'packages/opendal-fs/test/{addressable-keys,moves,names,opendal-fs,sidecar,storage-error,usage,user-metadata}.test.ts',
          'tests/{bindings,personalities,versions}/*.test.ts',
          'packages/cli/test/{serve,services-report,storage-check,storage-failure}.test.ts',
        ],
  },
})
