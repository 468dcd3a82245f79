// Tests of the packages on an arm64 processor, which an emulator is: vitest itself runs on this machine, and what it starts for
// the tests is Node for arm64. Those that the processor makes a difference to, or all with OVFS_ARM64_TESTS=all.

import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

process.execPath = fileURLToPath(new URL('tests/arm64/node', import.meta.url))

const all = process.env.OVFS_ARM64_TESTS === 'all'

export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: all
      ? ['packages/*/test/**/*.test.ts']
      : [
          'packages/vhost-user/test/{bus-guard,inflight,sys}.test.ts',
          'packages/virtqueue/test/{device-queue,device-notifications}.test.ts',
        ],
    // The emulator has no SO_PEEK_OFF, on which a takeover rests. tests/arm64/guest.test.ts has a kernel that does.
    exclude: ['packages/vhost-user/test/takeover.test.ts'],
    testTimeout: 300_000,
  },
})
