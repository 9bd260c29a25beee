import { randomUUID } from 'node:crypto';
import { startDiskRegistry, startMemoryRegistry } from './registries/docker.js';

/** A real registry of this test file's own, or a corner of the one that the caller brought. */
export interface TestRegistry extends AsyncDisposable {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  /** Repository prefix that no other test uses. */
  readonly prefix: string;
  /** Lines of the registry's own access log so far; `undefined` where it is not ours. */
  accessLog(): Promise<readonly string[] | undefined>;
}

/** Options of {@link startRegistry}. */
export interface TestRegistryOptions {
  /** Keep data on disk, where the registry behaves as in production. @defaultValue false */
  readonly onDisk?: boolean;
  /** htpasswd file, for Basic authentication. */
  readonly htpasswd?: string;
}

/**
 * Starts Debian's docker-registry on a free port of 127.0.0.1, or takes the registry that the caller brought. Tests
 * that need one certain set-up take it from `registries/`.
 */
export async function startRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const { onDisk, ...others } = options;
  const brought = process.env['CONDA_FERRY_TEST_REGISTRY'];
  if (brought !== undefined && options.htpasswd === undefined) {
    return {
      host: new URL(brought).host,
      prefix: `t${randomUUID().slice(0, 8)}`,
      accessLog: () => Promise.resolve(undefined),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  return onDisk === true ? startDiskRegistry({ ...others, blobCache: false }) : startMemoryRegistry(others);
}
