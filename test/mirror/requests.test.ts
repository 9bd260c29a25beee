import { describe, expect, onTestFinished, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { openRegistry } from '#ferry/registry/open-registry.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';

const NAMES = 5;
const BUILDS = 4;
const ARCHIVES = NAMES * BUILDS;

async function channelFolder(): Promise<string> {
  const folder = await tempFolder();
  const packages = Array.from({ length: ARCHIVES }, (_, i) =>
    condaPackage({
      name: `package-${String(Math.floor(i / BUILDS))}`,
      version: '1.0',
      build: String(i % BUILDS),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/text': `text ${String(i)}\n` },
    }),
  );
  await writeChannel(folder, { noarch: packages });
  return folder;
}

async function mirror(folder: string, double: RegistryDouble, schema: Schema): Promise<void> {
  const registry = openRegistry(double.host, { userAgent: 'conda-ferry-test' });
  onTestFinished(async () => registry[Symbol.asyncDispose]());
  const destination = new ChannelStore(registry, 'org/channel', schema);
  const report = await mirrorChannel({ source: new DirectoryChannel(folder), destination });
  expect(report.subdirs.map(({ added, failed }) => [added, failed])).toEqual([[expect.any(Number), []]]);
}

/** Requests about packages; those about metadata are counted apart. */
function packageRequests({ lines }: RegistryDouble): readonly string[] {
  return lines.filter((line) => /\/noarch\/c?package-/.test(line));
}

describe.each([schemaV0, schemaV1])(
  'requests of a first mirror by schema $id, counted at the registry',
  (schema) => {
    test('seven for each archive and two for each repository', async () => {
      const double = await useRegistryDouble({ singlePost: '202' });
      await mirror(await channelFolder(), double, schema);
      expect(packageRequests(double)).toHaveLength(7 * ARCHIVES + 2 * NAMES);
    });

    test('four for each archive and one for each repository where a blob may come with the first request', async () => {
      const double = await useRegistryDouble({ singlePost: 'accepts' });
      await mirror(await channelFolder(), double, schema);
      expect(packageRequests(double)).toHaveLength(4 * ARCHIVES + NAMES);
    });

    test('with tokens, one token for each repository and what is done to it', async () => {
      const user = { username: 'me', password: 'secret' };
      const double = await useRegistryDouble({
        singlePost: '202',
        auth: { kind: 'token', users: [user], expiresInSeconds: 300 },
      });
      const registry = openRegistry(double.host, {
        userAgent: 'conda-ferry-test',
        findCredential: () => Promise.resolve({ kind: 'basic', ...user }),
      });
      onTestFinished(async () => registry[Symbol.asyncDispose]());
      const destination = new ChannelStore(registry, 'org/channel', schema);
      await mirrorChannel({ source: new DirectoryChannel(await channelFolder()), destination });
      const scopes = double.tokenRequests.map((request) => request.scopes.join(' '));
      expect(scopes.length).toBe(new Set(scopes).size);
      const ofPackages = scopes.filter((scope) => /\/noarch\/c?package-/.test(scope));
      expect(ofPackages).toHaveLength(NAMES);
      expect(packageRequests(double)).toHaveLength(7 * ARCHIVES + 2 * NAMES);
    });
  },
);

test.each([
  [schemaV0, 'mrepodata.json'],
  [schemaV1, 'repodata.json'],
])('v1/B14: one look for a channel of the other schema, and only in the first run', async (schema, leaf) => {
  const double = await useRegistryDouble();
  const folder = await channelFolder();
  const looks = (): readonly string[] => double.lines.filter((line) => line.includes(`/noarch/${leaf}/`));
  await mirror(folder, double, schema);
  expect(looks()).toEqual([`HEAD /v2/org/channel/noarch/${leaf}/manifests/latest`]);
  await mirror(folder, double, schema);
  expect(looks()).toHaveLength(1);
});
