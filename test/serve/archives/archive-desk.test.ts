import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { openRegistry } from '#ferry/registry/open-registry.js';
import { FIXTURE_CHANNEL } from '../../support/channels.js';
import { startGhcrDouble } from '../../support/double/ghcr.js';
import { ghcrStore, mirrorFolder } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import { openGateway } from '../open-gateway.js';

const NOARCH_ARCHIVE = 'ferry-tool-2.1.0-py_0.conda';

test('what is not listed and refused is absent as long as the channel can be read: ghcr tells strangers so', async () => {
  const user = { username: 'writer', password: 'a-token', owners: ['org'] } as const;
  const ghcr = await startGhcrDouble({ users: [user], newPackages: 'public' });
  await mirrorFolder(FIXTURE_CHANNEL, ghcrStore(ghcr, 'c'));
  const registry = openRegistry(ghcr.host, {
    userAgent: 'conda-ferry-test',
    profile: { ...profileOf('ghcr.io'), requestsPerMinute: undefined },
  });
  onTestFinished(async () => registry[Symbol.asyncDispose]());
  const source = new OciChannel(new ChannelStore(registry, 'org/c', schemaV0));
  const { get } = await openGateway({ channels: { c: () => source }, mode: 'proxy' });
  expect((await get('/c/noarch/repodata.json')).status).toBe(200);
  expect((await get('/c/noarch/never-was-1-0.conda')).status).toBe(404);
  expect((await get(`/c/noarch/${NOARCH_ARCHIVE}.sigs.${'0'.repeat(64)}`)).status).toBe(404);
  const given = await get(`/c/noarch/${NOARCH_ARCHIVE}`);
  expect(given.status).toBe(200);
  await given.arrayBuffer();
  // Nothing of it can be read any more: who knows what is there.
  ghcr.packages.forEach((pkg) => (pkg.visibility = 'private'));
  expect((await get('/c/noarch/never-was-2-0.conda')).status).toBe(502);
});

test('what is listed in a record that cannot be read is not told to be absent', async () => {
  const folder = await tempFolder();
  await mkdir(join(folder, 'noarch'), { recursive: true });
  const packages = { 'odd-1-0.tar.bz2': { name: 'odd', version: 1 } };
  const repodata = { info: { subdir: 'noarch' }, packages, 'packages.conda': {} };
  await writeFile(join(folder, 'noarch', 'repodata.json'), JSON.stringify(repodata));
  const { get } = await openGateway({ channels: { c: folder } });
  expect((await get('/c/noarch/odd-1-0.tar.bz2')).status).toBe(502);
  expect((await get('/c/noarch/odd-2-0.tar.bz2')).status).toBe(404);
});
