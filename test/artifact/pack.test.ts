import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { packArchiveFile, type StoredPackage } from '#ferry/artifact/pack.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { openerOf } from '#ferry/io/bytes.js';
import { describe as describeBytes, type Descriptor } from '#ferry/oci/descriptor.js';
import { parseImageManifest } from '#ferry/oci/manifest.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import type { Registry, Repository } from '#ferry/oci/storage.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { contentOf, readAll, rejection } from '../contracts/artifacts.js';
import { infoMembers, sha256 } from '../support/audit.js';
import { FIXTURE_CHANNEL, MALFORMED_CHANNEL } from '../support/channels.js';
import { tempFolder } from '../support/temp.js';
import { readArchiveInfo } from './archive-info.js';
import { RecordingRegistry } from './recording-registry.js';

/** Set to write `golden-digests.json` anew instead of comparing with it. */
const REGENERATE = process.env['CONDA_FERRY_WRITE_GOLDEN'] !== undefined;
const GOLDEN_FILE = new URL('golden-digests.json', import.meta.url);
const HOW_TO_REGENERATE =
  'artifacts have other bytes than before: every mirror would push everything again. If that is meant, run ' +
  '`CONDA_FERRY_WRITE_GOLDEN=1 npx vitest run --project unit test/artifact/pack.test.ts` and say why in docs/decisions.md';

let workers: WorkerPool;
beforeAll(() => {
  workers = new WorkerPool();
});
afterAll(async () => workers[Symbol.asyncDispose]());

function openStore(registry: Registry = new RecordingRegistry(), schema: Schema = schemaV0): ChannelStore {
  return new ChannelStore(registry, 'org/channel', schema);
}

async function packAll(paths: readonly string[], store: ChannelStore): Promise<StoredPackage[]> {
  const stored: StoredPackage[] = [];
  for (const path of paths) stored.push(await packArchiveFile(path, { store, workers }));
  return stored;
}

/** The archives that the schema can hold. */
async function fixtureArchives(schema: Schema = schemaV0): Promise<string[]> {
  const files = await readdir(FIXTURE_CHANNEL, { recursive: true });
  const isHeld = (file: string): boolean =>
    schema.holdsTwins || !files.includes(file.replace(/\.tar\.bz2$/, '.conda')) || file.endsWith('.conda');
  return files
    .filter((file) => /\.(?:conda|tar\.bz2)$/.test(file) && isHeld(file))
    .sort()
    .map((file) => join(FIXTURE_CHANNEL, file));
}

async function digestAt(
  store: ChannelStore,
  { repository, tag }: Pick<StoredPackage, 'repository' | 'tag'>,
): Promise<string> {
  return (await store.registry.repository(repository).resolve(tag))?.digest ?? 'absent';
}

/** Writes an archive to a folder of its own. */
async function save({
  filename,
  bytes,
}: {
  readonly filename: string;
  readonly bytes: Uint8Array;
}): Promise<string> {
  const path = join(await tempFolder(), filename);
  await writeFile(path, bytes);
  return path;
}

const spec = { name: 'twins', version: '1!2.0+x', build: 'h0_1', subdir: 'linux-64' };
const PLACE = { repository: 'org/channel/linux-64/twins', tag: '1__e__2.0__p__x-h0_1' };
/** Twins whose `info/` differ, so that it shows which one it was taken from. */
const conda = condaPackage({ ...spec, infoFiles: { 'info/format': 'conda\n' } });
const tarBz2 = tarBz2Package({ ...spec, infoFiles: { 'info/format': 'tar.bz2\n' } });

async function pathsOfTwins(): Promise<{ condaPath: string; tarBz2Path: string }> {
  return { condaPath: await save(conda), tarBz2Path: await save(tarBz2) };
}

/** The digest of both twins, packed into an empty store. */
async function digestOfTwins(): Promise<string> {
  const { condaPath, tarBz2Path } = await pathsOfTwins();
  const store = openStore();
  await packAll([condaPath, tarBz2Path], store);
  return digestAt(store, PLACE);
}

/** Schema → `<subdir>/<repository>:<tag>` → digest. */
type Golden = Record<string, Record<string, string>>;

async function readGolden(): Promise<Golden> {
  return JSON.parse(await readFile(GOLDEN_FILE, 'utf8')) as Golden;
}

describe.each([schemaV0, schemaV1])('packing the fixture channel in schema $id', (schema) => {
  test('gives the golden digests, and none of it is written a second time', async () => {
    const registry = new RecordingRegistry();
    const store = openStore(registry, schema);
    const paths = await fixtureArchives(schema);
    const places = new Map(
      (await packAll(paths, store)).map((place) => [`${place.repository}:${place.tag}`, place]),
    );
    const digests: Record<string, string> = {};
    for (const [key, place] of [...places].sort(([a], [b]) => (a < b ? -1 : 1))) {
      digests[key.replace('org/channel/', '')] = await digestAt(store, place);
    }
    if (REGENERATE) {
      const all = { ...(await readGolden()), [schema.id]: digests };
      await writeFile(GOLDEN_FILE, `${JSON.stringify(all, null, 2)}\n`);
    }
    expect(digests, HOW_TO_REGENERATE).toEqual((await readGolden())[schema.id]);

    const writes = registry.writes.length;
    await packAll(paths.toReversed(), openStore(registry, schema));
    expect(registry.writes.slice(writes)).toEqual([]);
  });

  test('gives the same digests in the opposite order', async () => {
    const golden = (await readGolden())[schema.id]!;
    const store = openStore(undefined, schema);
    await packAll((await fixtureArchives(schema)).reverse(), store);
    for (const [key, digest] of Object.entries(golden)) {
      const colon = key.lastIndexOf(':');
      const place = { repository: `org/channel/${key.slice(0, colon)}`, tag: key.slice(colon + 1) };
      expect(await digestAt(store, place), key).toBe(digest);
    }
  });
});

describe('packing the fixture channel', () => {
  test('puts each archive, its index.json and its info members into layers, byte for byte', async () => {
    const store = openStore();
    for (const path of await fixtureArchives()) {
      const bytes = await readFile(path);
      const [stored] = await packAll([path], store);
      const repository = store.registry.repository(stored!.repository);
      const manifest = parseImageManifest((await repository.fetchManifest(stored!.descriptor.digest))!.bytes);
      const filename = basename(path);
      const layer = manifest.layers.find(
        ({ annotations }) => annotations?.['org.opencontainers.image.title'] === filename,
      );
      expect(layer, filename).toMatchObject({
        mediaType: `application/vnd.conda.package.${filename.endsWith('.conda') ? 'v2' : 'v1'}`,
        digest: sha256(bytes),
        size: bytes.byteLength,
        annotations: { 'org.conda.md5': createHash('md5').update(bytes).digest('hex') },
      });
      // With a `.conda` beside it, a `.tar.bz2` does not lead.
      if (manifest.layers.length > 3 && !filename.endsWith('.conda')) continue;
      const expected = await readArchiveInfo(filename, bytes);
      const [info, index] = manifest.layers.slice(-2) as [Descriptor, Descriptor];
      expect(await readAll(repository.fetch(index)), filename).toEqual(expected.indexJson);
      const members = await infoMembers(await readAll(repository.fetch(info)));
      expect(Object.fromEntries(members), filename).toEqual(Object.fromEntries(expected.members));
      expect([...members.keys()]).toEqual(
        [...members.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      );
    }
  });

  test('leaves nothing behind of malformed archives', async () => {
    const registry = new RecordingRegistry();
    const expected = JSON.parse(await readFile(join(MALFORMED_CHANNEL, 'expected.json'), 'utf8')) as Record<
      string,
      { code: string }
    >;
    // The digest and the folder are the repodata's business; bombs take their time elsewhere.
    const isOurs = (code: string, file: string): boolean =>
      code !== 'DIGEST_MISMATCH' && code !== 'ARCHIVE_SUBDIR_MISMATCH' && !file.includes('-bomb-');
    const files = Object.entries(expected).filter(([file, { code }]) => isOurs(code, file));
    expect(files.length).toBeGreaterThan(50);
    for (const [file, { code }] of files) {
      const failure = await rejection(packAll([join(MALFORMED_CHANNEL, file)], openStore(registry)));
      expect(failure, file).toMatchObject({ code });
    }
    expect(registry.writes).toEqual([]);
  });
});

describe('twins', () => {
  test('have one digest in either order, info and index from the `.conda`', async () => {
    const { condaPath, tarBz2Path } = await pathsOfTwins();
    const digests = [];
    for (const order of [
      [condaPath, tarBz2Path],
      [tarBz2Path, condaPath],
      [tarBz2Path, condaPath, tarBz2Path],
    ]) {
      const store = openStore();
      const stored = await packAll(order, store);
      expect(stored.at(-1)).toMatchObject(PLACE);
      digests.push(await digestAt(store, PLACE));
      const repository = store.registry.repository(PLACE.repository);
      const { layers } = parseImageManifest((await repository.fetchManifest(PLACE.tag))!.bytes);
      expect(layers.map(({ mediaType }) => mediaType)).toEqual([
        'application/vnd.conda.package.v2',
        'application/vnd.conda.package.v1',
        'application/vnd.conda.info.v1.tar+gzip',
        'application/vnd.conda.info.index.v1+json',
      ]);
      const members = await infoMembers(await readAll(repository.fetch(layers[2]!)));
      expect(members.get('format')).toBe(sha256(Buffer.from('conda\n')));
    }
    expect(new Set(digests).size).toBe(1);
  });

  test('packed at the same time by two writers end up in one artifact', async () => {
    const { condaPath, tarBz2Path } = await pathsOfTwins();
    const registry = new RecordingRegistry();
    // Both find the tag absent before either writes, and both have written before either reads again.
    let rounds = 2;
    let waiting: (() => void)[] = [];
    registry.onRead = async () => {
      if (rounds === 0) return;
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length < 2) return;
        for (const release of waiting) release();
        waiting = [];
        rounds -= 1;
      });
    };
    await Promise.all([condaPath, tarBz2Path].map(async (path) => packAll([path], openStore(registry))));
    expect(await digestAt(openStore(registry), PLACE)).toBe(await digestOfTwins());
  });

  test('a writer that always finds its layer gone gives up', async () => {
    const { condaPath, tarBz2Path } = await pathsOfTwins();
    const registry = new RecordingRegistry();
    const store = openStore(registry);
    const [other] = await packAll([tarBz2Path], store);
    registry.onRead = async (tag) => registry.inner.repository(PLACE.repository).tag(other!.descriptor, tag);
    expect(await rejection(packAll([condaPath], store))).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });

  test('an archive with other bytes does not take the place of its namesake', async () => {
    const { condaPath, tarBz2Path } = await pathsOfTwins();
    const other = await save(condaPackage({ ...spec, infoFiles: { 'info/format': 'other\n' } }));
    const store = openStore();
    await packAll([condaPath, tarBz2Path], store);
    await expect(packAll([other], store)).rejects.toMatchObject({ code: 'ARCHIVE_EXISTS' });
    expect(await digestAt(store, PLACE)).toBe(await digestOfTwins());
  });
});

describe('in schema v1', () => {
  const place = { repository: 'org/channel/linux-64/ctwins', tag: '1_N2.0_Px-h0__1' };

  test('v1/P5, v1/P6: of twins the `.conda` stands there, whichever came first', async () => {
    const { condaPath, tarBz2Path } = await pathsOfTwins();
    const [alone, after, before] = [0, 1, 2].map(() => openStore(undefined, schemaV1)) as [
      ChannelStore,
      ChannelStore,
      ChannelStore,
    ];
    await packAll([condaPath], alone);
    await packAll([tarBz2Path, condaPath], after);
    await packAll([condaPath], before);
    expect(await rejection(packAll([tarBz2Path], before))).toMatchObject({
      code: 'TWIN_UNREPRESENTABLE',
      clause: 'v1/P6',
    });
    const digest = await digestAt(alone, place);
    expect(digest).toMatch(/^sha256:/);
    expect(await digestAt(after, place)).toBe(digest);
    expect(await digestAt(before, place)).toBe(digest);
  });

  test('v1/P1, v1/P2, v1/P4, v1/P7: the artifact holds the archive and its index, and says what that says', async () => {
    const store = openStore(undefined, schemaV1);
    const [stored] = await packAll([await save(conda)], store);
    expect(stored).toMatchObject(place);
    const repository = store.registry.repository(place.repository);
    const manifest = parseImageManifest((await repository.fetchManifest(place.tag))!.bytes);
    const [archive, , index] = manifest.layers as [Descriptor, Descriptor, Descriptor];
    expect(manifest.layers).toHaveLength(3);
    expect(archive).toMatchObject({ mediaType: manifest.artifactType, digest: sha256(conda.bytes) });
    const { name, version, build } = JSON.parse((await readAll(repository.fetch(index))).toString()) as {
      readonly [key in 'name' | 'version' | 'build']: string;
    };
    expect(manifest.annotations).toEqual(schemaV1.packageAnnotations({ name, version, build }));
    expect(schemaV1.packageAt({ repository: 'ctwins', tag: place.tag }, manifest.annotations)).toEqual({
      name,
      version,
      build,
    });
  });

  test('v1/G9: a path that is too long is an error, and nothing is stored under another name', async () => {
    const registry = new RecordingRegistry({ maxNameLength: place.repository.length - 1 });
    expect(await rejection(packAll([await save(conda)], openStore(registry, schemaV1)))).toMatchObject({
      code: 'NAME_UNREPRESENTABLE',
      clause: 'v1/G9',
    });
    expect(registry.writes).toEqual([]);
  });
});

/** An artifact as conda-oci-mirror leaves it. @see v0/X2, v0/X3, v0/X4, v0/X5 */
async function pushForeign(
  repository: Repository,
  archive: { readonly filename: string; readonly bytes: Uint8Array },
  options: {
    readonly hasInfo?: boolean;
    readonly hasMd5?: boolean;
    readonly extra?: boolean;
    readonly annotations?: object;
  } = {},
): Promise<void> {
  const { hasInfo = true, hasMd5 = true } = options;
  const stem = archive.filename.replace(/\.conda$|\.tar\.bz2$/, '');
  const layer = (mediaType: string, bytes: Uint8Array, title: string, more: object = {}) => ({
    bytes,
    descriptor: {
      ...contentOf(bytes, mediaType).descriptor,
      annotations: { 'org.opencontainers.image.title': title, creationTime: '2023.01.02.03.04', ...more },
    },
  });
  const md5 = createHash('md5').update(archive.bytes).digest('hex');
  const format = archive.filename.endsWith('.conda') ? 'v2' : 'v1';
  const layers = [
    layer(
      `application/vnd.conda.package.${format}`,
      archive.bytes,
      archive.filename,
      hasMd5 ? { 'org.conda.md5': md5 } : {},
    ),
    ...(hasInfo
      ? [layer('application/vnd.conda.info.v1.tar+gzip', gzipSync('another tar'), `${stem}/info.tar.gz`)]
      : []),
    layer(
      'application/vnd.conda.info.index.v1+json',
      Buffer.from('{"another":"index"}'),
      `${stem}/info/index.json`,
    ),
    ...(options.extra === true
      ? [layer('application/vnd.oci.image.layer.v1.tar', Buffer.from('x'), 'x')]
      : []),
  ];
  const config = contentOf('', 'application/vnd.unknown.config.v1+json');
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_MANIFEST,
      config: config.descriptor,
      layers: layers.map(({ descriptor }) => descriptor),
      annotations: options.annotations ?? {},
    }),
  );
  for (const { descriptor, bytes } of [config, ...layers]) await repository.push(descriptor, openerOf(bytes));
  await repository.push(describeBytes(IMAGE_MANIFEST, manifest), openerOf(manifest), { tags: [PLACE.tag] });
}

describe('beside an artifact of conda-oci-mirror', () => {
  const shapes = [
    ['as it is', {}],
    ['without an info layer', { hasInfo: false }],
    ['without an md5', { hasMd5: false }],
    ['with a further layer', { extra: true }],
    ['with annotations', { annotations: { 'org.opencontainers.image.created': '2023-01-02T03:04:05Z' } }],
  ] as const;
  const sides = [
    ['`.conda`', tarBz2, conda],
    ['`.tar.bz2`', conda, tarBz2],
  ] as const;
  const cases = sides.flatMap(([side, foreign, own]) =>
    shapes.map(([shape, options]) => [side, shape, foreign, own, options] as const),
  );

  test.each(cases)(
    'v0/X2: a %s joins its twin, %s, and the artifact is as if both were ours',
    async (_, __, foreign, own, options) => {
      const store = openStore();
      await pushForeign(store.registry.repository(PLACE.repository), foreign, options);
      await packAll([await save(own)], store);
      expect(await digestAt(store, PLACE)).toBe(await digestOfTwins());
    },
  );

  test('v0/X4: the same archive takes the place of that artifact', async () => {
    const [store, empty] = [openStore(), openStore()];
    await pushForeign(store.registry.repository(PLACE.repository), conda);
    const path = await save(conda);
    await packAll([path], store);
    await packAll([path], empty);
    expect(await digestAt(store, PLACE)).toBe(await digestAt(empty, PLACE));
  });

  test('a twin that is no good archive is an error, and nothing is written', async () => {
    const registry = new RecordingRegistry();
    const store = openStore(registry);
    await pushForeign(registry.repository(PLACE.repository), {
      filename: tarBz2.filename,
      bytes: Buffer.from('nothing'),
    });
    const writes = registry.writes.length;
    expect(await rejection(packAll([await save(conda)], store))).toMatchObject({ code: 'ARCHIVE_NOT_CONDA' });
    expect(registry.writes).toHaveLength(writes);
  });

  test('an image index under the tag is replaced', async () => {
    const [store, empty] = [openStore(), openStore()];
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_INDEX, manifests: [] }));
    await store.registry
      .repository(PLACE.repository)
      .push(describeBytes(IMAGE_INDEX, index), openerOf(index), { tags: [PLACE.tag] });
    const path = await save(conda);
    await packAll([path], store);
    await packAll([path], empty);
    expect(await digestAt(store, PLACE)).toBe(await digestAt(empty, PLACE));
  });
});

test('annotations that a user gave an artifact of ours stay when a twin joins it', async () => {
  const { condaPath, tarBz2Path } = await pathsOfTwins();
  const store = openStore();
  await packAll([condaPath], store);
  const repository = store.registry.repository(PLACE.repository);
  const plain = (await repository.fetchManifest(PLACE.tag))!.bytes;
  const annotated = Buffer.from(
    `${Buffer.from(plain).toString().slice(0, -1)},"annotations":{"org.example.by":"me"}}`,
  );
  await repository.push(describeBytes(IMAGE_MANIFEST, annotated), openerOf(annotated), { tags: [PLACE.tag] });
  await packAll([tarBz2Path], store);
  const merged = parseImageManifest((await repository.fetchManifest(PLACE.tag))!.bytes);
  expect(merged.annotations).toEqual({ 'org.example.by': 'me' });
  expect(merged.layers).toHaveLength(4);
});

describe('refusals', () => {
  test('of a file that is not there, and of a folder', async () => {
    const folder = await tempFolder();
    expect(await rejection(packAll([join(folder, 'a-1-0.conda')], openStore()))).toMatchObject({
      code: 'NOT_FOUND',
    });
    await mkdir(join(folder, 'b-1-0.conda'));
    expect(await rejection(packAll([join(folder, 'b-1-0.conda')], openStore()))).toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('of a name that is none', async () => {
    expect(await rejection(packAll(['/x/archive.zip'], openStore()))).toMatchObject({
      code: 'RECORD_INVALID',
    });
  });

  test('of an archive that names no subdir', async () => {
    for (const subdir of [undefined, null, 'Linux 64', '..']) {
      const path = await save(condaPackage({ ...spec, index: { subdir } }));
      expect(await rejection(packAll([path], openStore()))).toMatchObject({ code: 'ARCHIVE_INDEX_INVALID' });
    }
  });

  test('of a name that the schema cannot hold', async () => {
    const path = await save(condaPackage({ ...spec, name: 'zzz_twins' }));
    expect(await rejection(packAll([path], openStore()))).toMatchObject({ code: 'NAME_UNREPRESENTABLE' });
  });

  test('of an archive under another name', async () => {
    const path = await save({ filename: 'twins-9-h0_1.conda', bytes: conda.bytes });
    expect(await rejection(packAll([path], openStore()))).toMatchObject({ code: 'ARCHIVE_INDEX_MISMATCH' });
  });

  test('of a path that is too long for the registry, before anything is written', async () => {
    const registry = new RecordingRegistry({ maxNameLength: 20 });
    expect(await rejection(packAll([await save(conda)], openStore(registry)))).toMatchObject({
      code: 'NAME_UNREPRESENTABLE',
    });
    expect(registry.writes).toEqual([]);
  });

  test('an abort rejects with its own reason', async () => {
    const reason = new Error('enough');
    const store = openStore();
    expect(
      await rejection(
        packArchiveFile(await save(conda), { store, workers, signal: AbortSignal.abort(reason) }),
      ),
    ).toBe(reason);
  });
});
