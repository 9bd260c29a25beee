import { readFile } from 'node:fs/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { artifactOf, pushArtifact, tagsOf } from '../contracts/artifacts.js';
import { describeReadContract } from '../contracts/read-contract.js';
import { describeRepositoryContract } from '../contracts/repository.js';
import type { RepositoryCapabilities } from '../contracts/subject.js';
import { startDistribution3, startPullThrough3 } from '../support/registries/distribution3.js';
import {
  startDiskRegistry,
  startMemoryRegistry,
  startPullThrough,
  startReadOnlyView,
  startTlsRegistry,
  startTokenRegistry,
  TEST_USER,
} from '../support/registries/docker.js';
import { startOlareg, startOlaregView } from '../support/registries/olareg.js';
import type { StartedRegistry } from '../support/registries/server-process.js';
import { startTokenServer } from '../support/registries/token-server.js';

const open: AsyncDisposable[] = [];

afterAll(async () => {
  for (const resource of open.reverse()) await resource[Symbol.asyncDispose]();
});

async function clientOf<T extends StartedRegistry>(
  starting: Promise<T>,
): Promise<{ server: T; registry: RegistryClient }> {
  const server = await starting;
  const { host, origin, caFile } = server;
  const ca = caFile === undefined ? [] : [await readFile(caFile, 'utf8')];
  const client = openHttpClient({
    userAgent: 'ferry-test/1',
    // Pauses before repeated requests are not what is tested here.
    sleep: () => Promise.resolve(),
    findCredential: (place) =>
      Promise.resolve(place.origin === origin ? { kind: 'basic', ...TEST_USER } : undefined),
    findTlsSettings: (of) => (of === origin ? { ca } : undefined),
  });
  open.push(server, client);
  return {
    server,
    registry: new RegistryClient({ host, send: client.send, plainHttp: caFile === undefined }),
  };
}

/** Nobody without a password gets a token. */
async function startWithTokens(): Promise<StartedRegistry> {
  const tokens = await startTokenServer();
  open.push(tokens);
  return startTokenRegistry(tokens);
}

// Asked for a blob as a manifest, release 2.8 answers 500.
const DISTRIBUTION: RepositoryCapabilities = {
  emptyBlob: true,
  tellsBlobsFromManifests: false,
  untags: false,
};
const DISTRIBUTION_3: RepositoryCapabilities = { emptyBlob: true };
// To bytes of another digest it says `BLOB_UPLOAD_INVALID`, which may mean anything. Of referrers that come at once it
// loses some: it says that it lists them (`OCI-Subject`), and its list is read, changed and written without a lock.
const OLAREG: RepositoryCapabilities = {
  emptyBlob: true,
  namesWrongDigest: false,
  takesReferrersAtOnce: false,
};

const WRITABLE: readonly [string, () => Promise<StartedRegistry>, RepositoryCapabilities][] = [
  [
    'docker-registry in memory, relative URLs',
    () => startMemoryRegistry({ relativeUrls: true }),
    DISTRIBUTION,
  ],
  ['docker-registry on disk, relative URLs', () => startDiskRegistry({ relativeUrls: true }), DISTRIBUTION],
  ['docker-registry on disk, whole URLs', () => startDiskRegistry(), DISTRIBUTION],
  ['docker-registry with TLS and a password', () => startTlsRegistry(), DISTRIBUTION],
  ['docker-registry with tokens', () => startWithTokens(), DISTRIBUTION],
  ['distribution 3 in memory', () => startDistribution3(), DISTRIBUTION_3],
  ['distribution 3 on disk', () => startDistribution3({ onDisk: true }), DISTRIBUTION_3],
  ['olareg in memory', () => startOlareg(), OLAREG],
  ['olareg in a folder', () => startOlareg({ store: 'dir' }), OLAREG],
];

for (const [name, start, capabilities] of WRITABLE) {
  describeRepositoryContract(name, async () => {
    const { server, registry } = await clientOf(start());
    return { registry, capabilities: { ...capabilities, namePrefix: `${server.prefix}/` } };
  });
}

describeReadContract('read-only view of a docker-registry on disk', async () => {
  const { server, registry: upstream } = await clientOf(startDiskRegistry());
  const { registry } = await clientOf(startReadOnlyView(server));
  return { registry, upstream, capabilities: {} };
});

describeReadContract('pull-through of a docker-registry', async () => {
  const { server, registry: upstream } = await clientOf(startMemoryRegistry());
  const { registry } = await clientOf(startPullThrough(server));
  return { registry, upstream, capabilities: { tellsMissingDigests: false } };
});

describeReadContract('pull-through of an olareg by distribution 3', async () => {
  const { server, registry: upstream } = await clientOf(startOlareg());
  const { registry } = await clientOf(startPullThrough3(server));
  return { registry, upstream, capabilities: { tellsMissingDigests: false } };
});

describeReadContract('olareg on a folder, read only', async () => {
  const { server, registry: upstream } = await clientOf(startOlareg({ store: 'dir' }));
  const { registry } = await clientOf(startOlaregView(server));
  return { registry, upstream, capabilities: {} };
});

describeReadContract('olareg on image layouts of ours', async () => {
  const folder = await TempFolder.create();
  open.push(folder);
  const { registry } = await clientOf(startOlaregView({ rootFolder: folder.path }));
  return { registry, upstream: openLayoutRegistry(folder.path), capabilities: {} };
});

describe('a thousand tags and more', () => {
  test.each([
    ['distribution 3', () => startDistribution3()],
    ['olareg', () => startOlareg()],
  ])('are all listed by %s, page by page', async (_, start) => {
    const { server, registry } = await clientOf<StartedRegistry>(start());
    const repository = registry.repository('many/tags');
    const tags = Array.from({ length: 1005 }, (_tag, i) => `1.0-${i}`);
    await pushArtifact(repository, artifactOf('popular'), tags);
    expect(await tagsOf(repository)).toEqual(tags.sort());
    const lists = (await server.accessLog()).filter((line) => line.includes('/tags/list'));
    expect(lists).toHaveLength(2);
  });
});
