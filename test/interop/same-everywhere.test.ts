import { describe, expect, test } from 'vitest';
import { basicAuthorization } from '../support/ask.js';
import {
  listedRecords,
  placeOf,
  publishedRepodata,
  registryReader,
  sha256,
  type RegistryAccess,
  type StoreReader,
} from '../support/audit.js';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { runFerry } from '../support/ferry.js';
import { startDistribution3 } from '../support/registries/distribution3.js';
import {
  startDiskRegistry,
  startMemoryRegistry,
  startPasswordRegistry,
  startTlsRegistry,
  startTokenRegistry,
  TEST_USER,
} from '../support/registries/docker.js';
import { startOlareg } from '../support/registries/olareg.js';
import type { StartedRegistry } from '../support/registries/server-process.js';
import { startTokenServer } from '../support/registries/token-server.js';

/** A registry that the same mirror must end the same in, and what it takes to get into it. */
interface Place {
  readonly name: string;
  readonly start: () => Promise<StartedRegistry>;
  /** Environment of the mirror run, such as a password or an authority to trust. */
  readonly env?: (registry: StartedRegistry) => Readonly<Record<string, string>>;
  /** More arguments of the mirror run. */
  readonly args?: (registry: StartedRegistry) => readonly string[];
  /** How the tests read what is there. @defaultValue plain HTTP without a password */
  readonly access?: (registry: StartedRegistry) => RegistryAccess;
}

const CREDENTIALS = { CONDA_FERRY_USERNAME: TEST_USER.username, CONDA_FERRY_PASSWORD: TEST_USER.password };

/** Everybody may read, so that the tests do; only tokens of a user may write. */
async function startWithTokens(): Promise<StartedRegistry> {
  const tokens = await startTokenServer({
    anonymous: true,
    allows: ({ user, action }) => user !== undefined || action === 'pull',
  });
  const registry = await startTokenRegistry(tokens);
  return {
    ...registry,
    [Symbol.asyncDispose]: async () => {
      await registry[Symbol.asyncDispose]();
      await tokens[Symbol.asyncDispose]();
    },
  };
}

// The first is what the others are compared with.
const PLACES: readonly Place[] = [
  { name: 'docker-registry in memory', start: () => startMemoryRegistry() },
  { name: 'docker-registry on disk', start: () => startDiskRegistry() },
  { name: 'docker-registry, relative URLs', start: () => startDiskRegistry({ relativeUrls: true }) },
  {
    name: 'docker-registry with a password',
    start: () => startPasswordRegistry(),
    env: () => CREDENTIALS,
    access: () => ({ headers: { authorization: basicAuthorization(TEST_USER) } }),
  },
  {
    name: 'docker-registry with TLS and a password',
    start: () => startTlsRegistry(),
    env: () => CREDENTIALS,
    args: ({ caFile = '' }) => ['--no-plain-http', '--ca-file', caFile],
    access: ({ caFile }) => ({ caFile, headers: { authorization: basicAuthorization(TEST_USER) } }),
  },
  { name: 'docker-registry with tokens', start: startWithTokens, env: () => CREDENTIALS },
  { name: 'distribution 3 in memory', start: () => startDistribution3() },
  { name: 'distribution 3 on disk', start: () => startDistribution3({ onDisk: true }) },
  { name: 'olareg in memory', start: () => startOlareg() },
  { name: 'olareg in a folder', start: () => startOlareg({ store: 'dir' }) },
];

const CHANNELS = {
  fixtures: { folder: FIXTURE_CHANNEL, subdirs: ['noarch', 'linux-64', 'osx-arm64'], artifacts: 29 },
  "conda's test recipes": {
    folder: realChannel('test-recipes'),
    subdirs: ['noarch', 'linux-fake', 'osx-fake', 'win-fake'],
    artifacts: 41,
  },
} as const;

/** What a mirror is to those who read it: digest by `repository:tag`, and of each subdir's repodata. */
type Contents = Readonly<Record<string, string | undefined>>;

describe.each(Object.entries(CHANNELS))('a mirror of %s', (_, { folder, subdirs, artifacts }) => {
  const isThere = folder === FIXTURE_CHANNEL || HAS_REAL_CHANNELS;

  async function mirrorTo(place: Place): Promise<Contents> {
    await using registry = await place.start();
    const channel = `${registry.host}/same/everywhere`;
    const args = ['mirror', folder, `oci://${channel}`, '--quiet', ...(place.args?.(registry) ?? [])];
    const env = place.env?.(registry) ?? {};
    expect(await runFerry(args, { env })).toMatchObject({ code: 0, stderr: '' });
    const reader = registryReader(registry.host, place.access?.(registry));
    const contents = await contentsOf(reader, 'same/everywhere');
    const before = await writesTo(registry);
    expect(before).toBeGreaterThan(0);
    expect(await runFerry(args, { env })).toMatchObject({ code: 0, stderr: '' });
    expect(await writesTo(registry), 'a second run writes nothing').toBe(before);
    return contents;
  }

  async function contentsOf(reader: StoreReader, channel: string): Promise<Contents> {
    const contents: Record<string, string | undefined> = {};
    for (const subdir of subdirs) {
      const path = `${channel}/${subdir}`;
      const repodata = await publishedRepodata(reader, path);
      contents[`${subdir}/repodata.json`] = repodata && sha256(repodata);
      for (const record of (await listedRecords(reader, path)) ?? []) {
        const { repository, tag } = placeOf(path, record);
        contents[`${repository}:${tag}`] = (await reader.manifest(repository, tag))?.digest;
      }
    }
    return contents;
  }

  let expected: Promise<Contents> | undefined;

  test.for(PLACES)('ends the same in $name', async (place, { skip }) => {
    skip(!isThere, 'there is no ../shared/channels');
    const [first = place] = PLACES;
    // Whatever test is run alone has something to compare with.
    expected ??= mirrorTo(first);
    const reference = await expected;
    expect(Object.keys(reference)).toHaveLength(artifacts + subdirs.length);
    expect(Object.values(reference)).not.toContain(undefined);
    if (place !== first) expect(await mirrorTo(place)).toEqual(reference);
  });
});

async function writesTo(registry: StartedRegistry): Promise<number> {
  const log = await registry.accessLog();
  return log.filter((line) => !/"(?:GET|HEAD) /.test(line)).length;
}
