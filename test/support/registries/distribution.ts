import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer, type StartedRegistry } from './server-process.js';

/** Sections of a configuration of distribution, the same in its releases 2.8 and 3. */
export interface DistributionSetUp {
  readonly storage: Readonly<Record<string, unknown>>;
  /** Beside address and secret. */
  readonly http?: Readonly<Record<string, unknown>>;
  readonly auth?: Readonly<Record<string, unknown>>;
  readonly proxy?: Readonly<Record<string, unknown>>;
  /** Set where `http` has a certificate. */
  readonly caFile?: string;
}

/** A storage section for memory. */
export const IN_MEMORY = { inmemory: {} } as const;

/** A folder for configuration and data of a registry. */
export async function registryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'ferry-registry-'));
}

/**
 * Starts a registry of the distribution project.
 * @param program `docker-registry` (2.8, Debian's) or a path of release 3's `registry`
 * @param folder from {@link registryFolder}
 */
export async function startDistribution(
  program: string,
  folder: string,
  setUp: DistributionSetUp,
): Promise<StartedRegistry> {
  return startServer({
    what: `the registry \`${program}\` (apt-get install -y docker-registry, or set CONDA_FERRY_TEST_REGISTRY=http://HOST:PORT)`,
    folder,
    ...(setUp.caFile === undefined ? {} : { caFile: setUp.caFile }),
    // Release 3 sends traces to a collector unless told not to.
    env: { OTEL_TRACES_EXPORTER: 'none' },
    command: async (host) => {
      const config = join(folder, 'config.yml');
      // JSON is YAML.
      await writeFile(config, JSON.stringify(configOf(host, setUp)));
      return [program, 'serve', config];
    },
  });
}

function configOf(host: string, setUp: DistributionSetUp): object {
  return {
    version: '0.1',
    log: { level: 'error' },
    storage: {
      delete: { enabled: true },
      maintenance: { uploadpurging: { enabled: false } },
      ...setUp.storage,
    },
    http: { addr: host, secret: 'test', ...setUp.http },
    ...(setUp.auth === undefined ? {} : { auth: setUp.auth }),
    ...(setUp.proxy === undefined ? {} : { proxy: setUp.proxy }),
  };
}
