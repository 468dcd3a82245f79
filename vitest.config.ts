// Tests import packages by name and get their TypeScript source, so no build step stands between an edit and a test.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['@ovfs/source'] },
  ssr: { resolve: { conditions: ['@ovfs/source'] } },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'tests/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
  },
})
