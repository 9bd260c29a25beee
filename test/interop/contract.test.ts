import { afterAll } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { describeReadContract } from '../contracts/read-contract.js';
import { describeRepositoryContract } from '../contracts/repository.js';
import type { RepositoryCapabilities } from '../contracts/subject.js';
import { startDistribution3 } from '../support/registries/distribution3.js';
import {
  startDiskRegistry,
  startMemoryRegistry,
  startPullThrough,
  startReadOnlyView,
} from '../support/registries/docker.js';
import { startOlareg } from '../support/registries/olareg.js';
import type { StartedRegistry } from '../support/registries/server-process.js';

const open: AsyncDisposable[] = [];

afterAll(async () => {
  for (const resource of open.reverse()) await resource[Symbol.asyncDispose]();
});

async function clientOf<T extends StartedRegistry>(
  starting: Promise<T>,
): Promise<{ server: T; registry: RegistryClient }> {
  const server = await starting;
  // Pauses before repeated requests are not what is tested here.
  const client = openHttpClient({ userAgent: 'ferry-test/1', sleep: () => Promise.resolve() });
  open.push(server, client);
  return { server, registry: new RegistryClient({ host: server.host, send: client.send }) };
}

// Asked for a blob as a manifest, release 2.8 answers 500.
const DISTRIBUTION: RepositoryCapabilities = { emptyBlob: true, tellsBlobsFromManifests: false };
const DISTRIBUTION_3: RepositoryCapabilities = { emptyBlob: true };
// To bytes of another digest it says `BLOB_UPLOAD_INVALID`, which may mean anything.
const OLAREG: RepositoryCapabilities = { emptyBlob: true, namesWrongDigest: false };

const WRITABLE: readonly [string, () => Promise<StartedRegistry>, RepositoryCapabilities][] = [
  [
    'docker-registry in memory, relative URLs',
    () => startMemoryRegistry({ relativeUrls: true }),
    DISTRIBUTION,
  ],
  ['docker-registry on disk, relative URLs', () => startDiskRegistry({ relativeUrls: true }), DISTRIBUTION],
  ['docker-registry on disk, whole URLs', () => startDiskRegistry(), DISTRIBUTION],
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
