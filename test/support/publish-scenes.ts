import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { layoutReader, parseManifest, registryReader, type StoreReader } from './audit.js';
import { seededSchedule } from './double/faults.js';
import { startGhcrDouble } from './double/ghcr.js';
import { startFlakyProxy } from './flaky-proxy.js';
import { startDiskRegistry } from './registries/docker.js';
import { tempFolder } from './temp.js';

const FAULT_RATE = 0.1;
const GHCR_USER = { username: 'writer', password: 'a-token', owners: ['org'] } as const;

/** A store under fire, with a view of it from behind. */
export interface PublishScene {
  /** What the pushers are told. */
  readonly channel: string;
  /** What is read when all is quiet. */
  readonly quiet: string;
  readonly env: Readonly<Record<string, string>>;
  readonly reader: StoreReader;
  /** Path of the channel in the reader's words. */
  readonly path: string;
  /** Tags of a repository. */
  readonly tags: (repository: string) => Promise<readonly string[]>;
  /** Whether a push that has ended is in `latest` by then. */
  readonly isStrict: boolean;
  readonly faults: () => number;
}

/** docker-registry; pushers are at the far end of a bad line. */
export async function registryScene(seed: number): Promise<PublishScene> {
  const registry = await startDiskRegistry();
  onTestFinished(async () => registry[Symbol.asyncDispose]());
  const proxy = await startFlakyProxy(registry.host, { rate: FAULT_RATE, seed });
  return {
    channel: `oci://${proxy.host}/org/storm`,
    quiet: `oci://${registry.host}/org/storm`,
    env: {},
    reader: registryReader(registry.host),
    path: 'org/storm/noarch',
    tags: async (repository) => {
      const response = await fetch(`${registry.origin}/v2/${repository}/tags/list?n=10000`);
      if (response.status === 404) return [];
      return ((await response.json()) as { tags: string[] | null }).tags ?? [];
    },
    isStrict: false,
    faults: () => proxy.faults,
  };
}

/** GHCR in bad weather. */
export async function ghcrScene(seed: number): Promise<PublishScene> {
  const ghcr = await startGhcrDouble({ users: [GHCR_USER] });
  onTestFinished(async () => ghcr[Symbol.asyncDispose]());
  ghcr.schedule = seededSchedule({ seed, rate: FAULT_RATE });
  const { username, password } = GHCR_USER;
  const home = join(await tempFolder(), '.docker');
  await mkdir(home);
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  await writeFile(join(home, 'config.json'), JSON.stringify({ auths: { [ghcr.host]: { auth } } }));
  const contents = (name: string) => ghcr.repositories.get(name);
  return {
    channel: `oci://${ghcr.host}/org/storm`,
    quiet: `oci://${ghcr.host}/org/storm`,
    env: { DOCKER_CONFIG: home },
    reader: {
      manifest: (name, reference) => {
        const digest = contents(name)?.tags.get(reference) ?? reference;
        return Promise.resolve(parseManifest(contents(name)?.manifests.get(digest)?.bytes));
      },
      blob: (name, digest) => Promise.resolve(contents(name)?.blobs.get(digest)),
    },
    path: 'org/storm/noarch',
    tags: (repository) => Promise.resolve([...(contents(repository)?.tags.keys() ?? [])]),
    isStrict: false,
    faults: () => Object.values(ghcr.faults).reduce((sum, count) => sum + count, 0),
  };
}

/** A folder of image layouts. */
export async function layoutScene(): Promise<PublishScene> {
  const folder = await tempFolder();
  return {
    channel: `oci-layout:${folder}`,
    quiet: `oci-layout:${folder}`,
    env: {},
    reader: layoutReader(folder),
    path: 'noarch',
    tags: async (repository) => {
      const file = await readFile(join(folder, repository, 'index.json'), 'utf8').catch(
        () => '{"manifests":[]}',
      );
      const { manifests } = JSON.parse(file) as { manifests: { annotations?: Record<string, string> }[] };
      return manifests.flatMap(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] ?? []);
    },
    isStrict: true,
    faults: () => 0,
  };
}
