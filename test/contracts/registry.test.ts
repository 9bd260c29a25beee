import { afterAll } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { startRegistry, type TestRegistryOptions } from '../support/docker-registry.js';
import { describeRepositoryContract, type ContractSubject } from './repository.js';

const open: AsyncDisposable[] = [];

afterAll(async () => {
  for (const resource of open.reverse()) await resource[Symbol.asyncDispose]();
});

async function subjectOf(options: TestRegistryOptions): Promise<ContractSubject> {
  const server = await startRegistry(options);
  const client = openHttpClient({ userAgent: 'ferry-test/1' });
  open.push(server, client);
  return {
    registry: new RegistryClient({ host: server.host, send: client.send }),
    capabilities: {
      emptyBlob: true,
      tellsBlobsFromManifests: false,
      untags: false,
      namePrefix: `${server.prefix}/`,
    },
  };
}

describeRepositoryContract('registry in memory', () => subjectOf({}));
describeRepositoryContract('registry on disk', () => subjectOf({ onDisk: true }));
