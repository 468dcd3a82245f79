// The tests that the release of Node makes a difference to, on the major version that OVFS_NODE names: the event loop (koffi's polls),
// the sockets and the whole daemon. OVFS_NODE_TESTS=all runs the tests of all packages and the full stack.

import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

const major = process.env.OVFS_NODE
if (!major) throw new Error('OVFS_NODE must name the major version of Node: 22, 24 or 26')

process.execPath = fileURLToPath(new URL(`.cache/nodes/node_modules/node${major}/bin/node`, import.meta.url))

const all = process.env.OVFS_NODE_TESTS === 'all'

export default defineConfig({
  ...base,
  test: {
    ...base.test,
    execArgv: ['--expose-gc'],
    setupFiles: ['tests/nodes/collect-garbage.ts'],
    include: [
      'tests/nodes/*.test.ts',
      ...(all
        ? ['packages/*/test/**/*.test.ts', 'tests/stack/**/*.test.ts']
        : [
            'packages/vhost-user/test/{backend-server,backend-session,service-manager,state-transfer,sys}.test.ts',
            'packages/opendal-fs/test/session-survives.test.ts',
            'packages/cli/test/shutdown.test.ts',
            'tests/stack/driver.test.ts',
          ]),
    ],
  },
})
