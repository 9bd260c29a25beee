import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GithubPackages } from '#ferry/registry/github-packages.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { layoutReader, registryReader } from '../../support/audit.js';
import { startRegistry } from '../../support/docker-registry.js';
import { useGhcrDouble } from '../../support/double/ghcr.js';
import { useRegistryDouble } from '../../support/double/registry-double.js';
import { openTestClient } from '../../support/http.js';
import { doubleReader } from '../../support/storm.js';
import { tempFolder } from '../../support/temp.js';
import { bz2, conda, day, Scene } from './scene.js';

const FIRST = [conda('a'), conda('a', '2'), conda('b'), bz2('b'), conda('gone'), conda('c')];
const LAST = [conda('a', '2'), conda('b'), conda('c')];
const GONE = ['a-1-0.conda', 'b-1-0.tar.bz2', 'gone-1-0.conda'];
const POLICY = { graceMs: 0, keepGenerations: 1, deleteGenerations: true } as const;

async function twoNights(scene: Scene): Promise<void> {
  await scene.night(day(1), FIRST);
  await scene.night(day(2), LAST);
}

async function expectGone(scene: Scene): Promise<void> {
  for (const filename of GONE) expect(await scene.holds(filename), filename).toBe(false);
  expect(await scene.listed()).toEqual(['a-2-0.conda', 'b-1-0.conda', 'c-1-0.conda']);
  await scene.expectWhole();
}

test('docker-registry: manifests go with their tags, and the registry does the rest', async () => {
  await using registry = await startRegistry();
  const { send } = openTestClient();
  const client = new RegistryClient({ host: registry.host, send });
  const path = `${registry.prefix}/c`;
  const scene = await Scene.open({ registry: client, reader: registryReader(registry.host), path });
  await twoNights(scene);
  const report = await scene.prune(day(3), { ...POLICY, scan: true });
  expect(report).toMatchObject({ rewritten: 1, left: [], generations: 1, emptied: [`${path}/noarch/gone`] });
  expect(report.deleted.toSorted()).toEqual(GONE);
  await expectGone(scene);
  // What is wanted again comes back.
  await scene.night(day(4), FIRST);
  await scene.expectWhole();
});

test('a registry that deletes nothing is said to be one, and its ledger vouches for the archives as before', async () => {
  const double = await useRegistryDouble({ delete: { manifests: false, tags: false, blobs: false } });
  const { send } = openTestClient();
  const client = new RegistryClient({ host: double.host, send });
  const scene = await Scene.open({ registry: client, reader: doubleReader(double), path: 'org/c' });
  await scene.night(day(1), [conda('a'), conda('c')]);
  await scene.night(day(2), [conda('c')]);
  const before = await scene.ledger();
  await expect(scene.prune(day(3), { graceMs: 0, keepGenerations: 1 })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    hint: expect.stringContaining('REGISTRY_STORAGE_DELETE_ENABLED') as string,
  });
  expect((await scene.ledger())?.kept).toEqual(before?.kept);
  await scene.expectWhole();
});

test('image layouts: the blobs go too, but for those that another manifest names', async () => {
  const folder = await tempFolder();
  await using registry = openLayoutRegistry(folder);
  const scene = await Scene.open({ registry, reader: layoutReader(folder), path: '' });
  await twoNights(scene);
  const blobs = async (leaf: string): Promise<number> =>
    (await readdir(join(folder, 'noarch', leaf, 'blobs', 'sha256'))).length;
  const before = await blobs('b');
  await scene.prune(day(3), POLICY);
  await expectGone(scene);
  // The old manifest and the .tar.bz2 went, and a new manifest came.
  expect(await blobs('b')).toBe(before - 1);
  // Config, and with a-2 its manifest, package, info and index.
  expect([await blobs('gone'), await blobs('a')]).toEqual([1, 5]);
  // Config, one manifest, two layers.
  expect(await blobs('repodata.json')).toBe(4);
});

test('ghcr/G16: versions go by the REST API, and with the last tag the package', async () => {
  const owner = { username: 'owner', password: 'ghp_owner', owners: ['org'] } as const;
  const ghcr = await useGhcrDouble({ users: [owner] });
  const { send } = openTestClient({
    findCredential: ({ origin }) =>
      Promise.resolve(origin === ghcr.origin ? { kind: 'basic', ...owner } : undefined),
  });
  const rest = openTestClient({
    findChannelCredential: () => Promise.resolve({ kind: 'bearer', token: owner.password }),
  });
  const client = new RegistryClient({
    host: ghcr.host,
    send,
    profile: { ...profileOf('ghcr.io'), requestsPerMinute: undefined },
    githubPackages: new GithubPackages({ send: rest.send, owner: 'org', apiUrl: ghcr.apiUrl }),
  });
  const scene = await Scene.open({ registry: client, reader: doubleReader(ghcr), path: 'org/c' });
  await scene.night(day(1), FIRST, { subdirs: ['noarch'] });
  await scene.night(day(2), LAST, { subdirs: ['noarch'] });
  const report = await scene.prune(day(3), { ...POLICY, subdirs: ['noarch'] });
  expect(report.deleted.toSorted()).toEqual(GONE);
  await expectGone(scene);
  expect(ghcr.packages.has('org/c/noarch/gone')).toBe(false);
  expect(ghcr.packages.get('org/c/noarch/a')?.versions).toHaveLength(1);
  expect(ghcr.packages.get('org/c/noarch/b')?.versions).toHaveLength(1);
});
