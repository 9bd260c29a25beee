import { afterAll } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { describeRepositoryContract, type ContractSubject } from '../contracts/repository.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import { startRegistryDouble } from '../support/double/registry-double.js';

const open: AsyncDisposable[] = [];

afterAll(async () => {
  for (const resource of open.reverse()) await resource[Symbol.asyncDispose]();
});

async function subjectOf(options: RegistryDoubleOptions): Promise<ContractSubject> {
  const server = await startRegistryDouble(options);
  const client = openHttpClient({ userAgent: 'ferry-test/1' });
  open.push(server, client);
  return {
    registry: new RegistryClient({ host: server.host, send: client.send }),
    capabilities: { emptyBlob: true },
  };
}

describeRepositoryContract('the double as it comes', () => subjectOf({}));
describeRepositoryContract('the double in other clothes', () =>
  subjectOf({
    location: 'port',
    redirectBlobs: 'separate',
    tagOrder: 'creation',
    tagDialect: 'next_page',
    tagPageMax: 2,
    referrers: false,
    mount: '202',
    digestHeader: 'absent',
  }),
);
