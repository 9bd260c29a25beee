import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/**
 * Everything runs against `dist`, which `npm test` builds first: worker threads need built files. Being built, they need no
 * transforming, and are loaded as Node loads them.
 */
const shared = {
  environment: 'node' as const,
  restoreMocks: true,
  server: { deps: { external: [/\/dist\//] } },
};

export default defineConfig({
  test: {
    // Much of the time is spent waiting for processes and sockets; the default would leave one of two cores idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/interop/**', 'test/long/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          ...shared,
          name: 'interop',
          include: ['test/interop/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          ...shared,
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          testTimeout: 1_800_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
