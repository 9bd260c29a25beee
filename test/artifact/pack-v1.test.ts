import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { packArchiveFile, type StoredPackage } from '#ferry/artifact/pack.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { openerOf } from '#ferry/io/bytes.js';
import { describe as describeBytes } from '#ferry/oci/descriptor.js';
import { encodeJson, parseImageManifest, type ImageManifest } from '#ferry/oci/manifest.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { rejection } from '../contracts/artifacts.js';
import { tempFolder } from '../support/temp.js';
import { LONG_NAME, smallConda, smallTarBz2, type BuiltArchive } from '../support/v1-channel.js';
import { RecordingRegistry } from './recording-registry.js';

let workers: WorkerPool;
beforeAll(() => {
  workers = new WorkerPool();
});
afterAll(async () => workers[Symbol.asyncDispose]());

const PLACE = { repository: 'org/channel/noarch/chello', tag: '1.0-0' };

function openStore(): ChannelStore {
  return new ChannelStore(new RecordingRegistry(), 'org/channel', schemaV1);
}

async function pack(store: ChannelStore, { filename, bytes }: BuiltArchive): Promise<StoredPackage> {
  const folder = await tempFolder();
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, filename), bytes);
  return packArchiveFile(join(folder, filename), { store, workers });
}

async function manifestAt(store: ChannelStore, place = PLACE): Promise<ImageManifest> {
  const stored = await store.registry.repository(place.repository).fetchManifest(place.tag);
  if (stored === undefined) throw new Error('nothing is there');
  return parseImageManifest(stored.bytes);
}

test('v1/P1, v1/P5, v1/A1, v1/A5: an artifact is what the draft asks for', async () => {
  const store = openStore();
  expect(await pack(store, smallConda())).toMatchObject(PLACE);
  const manifest = await manifestAt(store);
  expect(manifest.layers.map(({ mediaType }) => mediaType)).toEqual([
    'application/vnd.conda.package.v2',
    'application/vnd.conda.info.v1.tar+gzip',
    'application/vnd.conda.info.index.v1+json',
  ]);
  expect(manifest).toMatchObject({
    artifactType: 'application/vnd.conda.package.v2',
    config: { mediaType: 'application/vnd.oci.empty.v1+json', size: 2 },
    annotations: {
      'org.conda.oci.schema': '1',
      'org.conda.package.name': 'hello',
      'org.conda.package.version': '1.0',
      'org.conda.package.build': '0',
    },
  });
  const keys = manifest.layers.flatMap(({ annotations }) => Object.keys(annotations ?? {}));
  expect(new Set(keys)).toEqual(new Set(['org.opencontainers.image.title', 'io.conda-ferry.md5']));
});

test('v1/P6: a .conda takes the place of its .tar.bz2, and not the other way round', async () => {
  const alone = openStore();
  const conda = await pack(alone, smallConda());
  const store = openStore();
  await pack(store, smallTarBz2());
  expect((await manifestAt(store)).layers[0]?.mediaType).toBe('application/vnd.conda.package.v1');
  expect((await pack(store, smallConda())).descriptor).toEqual(conda.descriptor);
  expect(await rejection(pack(store, smallTarBz2()))).toMatchObject({
    code: 'TWIN_UNREPRESENTABLE',
    clause: 'v1/P6',
  });
  expect(await manifestAt(store)).toEqual(await manifestAt(alone));
});

test('v1/P6: other bytes of the same name are refused', async () => {
  const store = openStore();
  await pack(store, smallTarBz2());
  const other = smallTarBz2({ payload: 'other\n' });
  expect(await rejection(pack(store, other))).toMatchObject({ code: 'ARCHIVE_EXISTS' });
});

test('v1/T5: a long name is hashed with its tag', async () => {
  const store = openStore();
  const stored = await pack(store, smallConda({ name: LONG_NAME }));
  expect(stored).toMatchObject({
    repository: 'org/channel/noarch/h7008598d269d3cb5f2e14b5847671d3e21479d6907824e3c8ab1973a7638e4a9',
    tag: 'ha2e4a5ec4b951e4727a204277a99b08ecf65db55d1d812fb4ffa6ba3ed249b59',
  });
  expect((await manifestAt(store, stored)).annotations?.['org.conda.package.name']).toBe(LONG_NAME);
});

test("a user's annotations stay when the same archive is packed again, and go with a twin that makes room", async () => {
  const store = openStore();
  await pack(store, smallTarBz2());
  const annotated = await annotate(store, { 'org.example.note': 'kept' });
  expect((await pack(store, smallTarBz2())).descriptor).toEqual(annotated);
  await pack(store, smallConda());
  expect((await manifestAt(store)).annotations).not.toHaveProperty('org.example.note');
});

test('v1/A2: an artifact that says another name is written anew', async () => {
  const store = openStore();
  const { descriptor } = await pack(store, smallConda());
  await annotate(store, { 'org.conda.package.name': 'other' });
  expect((await pack(store, smallConda())).descriptor).toEqual(descriptor);
});

/** Adds annotations to what stands there, as a user would. */
async function annotate(store: ChannelStore, annotations: Readonly<Record<string, string>>) {
  const repository = store.registry.repository(PLACE.repository);
  const stored = await repository.fetchManifest(PLACE.tag);
  const manifest = JSON.parse(Buffer.from(stored?.bytes ?? []).toString()) as ImageManifest;
  const bytes = encodeJson({ ...manifest, annotations: { ...manifest.annotations, ...annotations } });
  const descriptor = describeBytes(IMAGE_MANIFEST, bytes);
  await repository.push(descriptor, openerOf(bytes), { tags: [PLACE.tag] });
  return descriptor;
}
