import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { metadataMediaType } from '#ferry/artifact/media-types.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { makePackageArtifact } from '#ferry/artifact/package-artifact.js';
import type { MetadataFile } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import { FerryError } from '#ferry/errors.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import { describe as describeBytes } from '#ferry/oci/descriptor.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { IMAGE_INDEX } from '#ferry/oci/media-types.js';
import type { Registry } from '#ferry/oci/storage.js';
import { readAll, rejection } from '../contracts/artifacts.js';
import { RecordingRegistry } from './recording-registry.js';

const JSON_TYPE = 'application/vnd.conda.repodata.v1+json';

function open(path = 'org/channel', registry: Registry = new RecordingRegistry()) {
  const store = new ChannelStore(registry, path, schemaV0);
  return { store, channel: new OciChannel(store), registry };
}

async function pushRepodata(store: ChannelStore, subdir: string, text = '{}', zst = true): Promise<void> {
  const layers = [
    { mediaType: JSON_TYPE, title: 'repodata.json', bytes: Buffer.from(text) },
    ...(zst
      ? [{ mediaType: `${JSON_TYPE}+zst`, title: 'repodata.json.zst', bytes: Buffer.from(`zst of ${text}`) }]
      : []),
  ];
  await pushMetadata(store, subdir, 'repodata.json', layers, { tags: [LATEST] });
}

/** Pushes an artifact of archives made of text, and tells what their records would. */
async function pushArchives(store: ChannelStore, ...archives: (readonly [string, string])[]) {
  const packed = archives.map(([filename, text]) => {
    const bytes = Buffer.from(text);
    const name = parseArchiveFilename(filename);
    const layer = {
      filename,
      extension: name.extension,
      digest: digestOf(bytes),
      size: bytes.length,
      md5: '',
    };
    const info = { indexJson: Buffer.from('{}'), infoLayer: Buffer.from('info'), innerStem: undefined };
    return { name, layer, info, open: openerOf(bytes) };
  });
  const artifact = makePackageArtifact(schemaV0, packed);
  const place = schemaV0.placeOf(packed[0]!.name);
  const repository = store.packageRepository('noarch', place);
  await copyGraph(artifact, repository, artifact.descriptor, { tags: [place.tag] });
  return packed.map(({ layer }) => ({
    subdir: 'noarch',
    filename: layer.filename,
    sha256: digestHex(layer.digest),
    size: layer.size,
  }));
}

describe('metadata of a channel in a store', () => {
  test('is absent, found, and unchanged for who has it', async () => {
    const { store, channel } = open();
    expect(await channel.openMetadata('noarch/repodata.json')).toEqual({ status: 'absent' });
    await pushRepodata(store, 'noarch', '{"packages":{}}');
    for (const [file, text] of [
      ['repodata.json', '{"packages":{}}'],
      ['repodata.json.zst', 'zst of {"packages":{}}'],
    ] as const) {
      const answer = await channel.openMetadata(`noarch/${file}`);
      if (answer.status !== 'found') throw new Error(answer.status);
      expect((await readAll(answer.body)).toString()).toBe(text);
      expect(answer.validators).toEqual({ etag: `"${digestOf(Buffer.from(text))}"` });
      expect(await channel.openMetadata(`noarch/${file}`, { unless: answer.validators })).toEqual({
        status: 'unchanged',
      });
      expect(await channel.openMetadata(`noarch/${file}`, { unless: { etag: '"other"' } })).toMatchObject({
        status: 'found',
      });
      expect(await channel.openMetadata(`noarch/${file}`, { unless: {} })).toMatchObject({ status: 'found' });
    }
  });

  test('v0/D8: a form that the artifact lacks is absent', async () => {
    const { store, channel } = open();
    await pushRepodata(store, 'noarch', '{}', false);
    expect(await channel.openMetadata('noarch/repodata.json')).toMatchObject({ status: 'found' });
    expect(await channel.openMetadata('noarch/repodata.json.zst')).toEqual({ status: 'absent' });
  });

  test.each([
    'repodata.json',
    '/repodata.json',
    'channeldata.json',
    'noarch/run_exports.json',
    'noarch/repodata.json.bz2',
    'noarch',
    '',
    'Linux-64/repodata.json',
    '../noarch/repodata.json',
    'a/noarch/repodata.json',
  ])('%j is absent and asks for no repository', async (path) => {
    const { store, channel } = open();
    await pushRepodata(store, 'noarch');
    expect(await channel.openMetadata(path)).toEqual({ status: 'absent' });
  });

  test.each([
    'noarch/run_exports.json',
    'noarch/patch_instructions.json',
    'noarch/current_repodata.json',
    'noarch/repodata_from_packages.json',
    'channeldata.json',
    'notices.json',
  ])('%s is served, compressed where the artifact has that', async (path) => {
    const { store, channel } = open();
    const [file, subdir = ''] = path.split('/').reverse() as [MetadataFile, string?];
    const mediaType = metadataMediaType(file);
    const layers = [
      { mediaType, title: file, bytes: Buffer.from('{}') },
      { mediaType: `${mediaType}+zst`, title: `${file}.zst`, bytes: Buffer.from('zst') },
    ];
    await pushMetadata(store, subdir, file, layers, { tags: [LATEST] });
    for (const [form, text] of [
      [path, '{}'],
      [`${path}.zst`, 'zst'],
    ] as const) {
      const answer = await channel.openMetadata(form);
      if (answer.status !== 'found') throw new Error(answer.status);
      expect((await readAll(answer.body)).toString()).toBe(text);
    }
  });

  test('cep142/immutable-url: a sidecar is found by its digest, beside whichever archive', async () => {
    const { store, channel } = open();
    const bytes = Buffer.from('[{}]');
    const sha256 = digestHex(digestOf(bytes));
    const layer = { mediaType: metadataMediaType('attestations'), title: 'x', bytes };
    await pushMetadata(store, 'noarch', 'attestations', [layer], { tags: [sha256] });
    const path = `noarch/aaa-1.0-0.conda.sigs.${sha256}`;
    const answer = await channel.openMetadata(path);
    if (answer.status !== 'found') throw new Error(answer.status);
    expect(await readAll(answer.body)).toEqual(bytes);
    expect(await channel.openMetadata(path, { unless: answer.validators })).toEqual({ status: 'unchanged' });
    for (const other of [
      `noarch/aaa-1.0-0.conda.sigs.${'a'.repeat(64)}`,
      `noarch/aaa-1.0-0.conda.sigs.${sha256.slice(1)}`,
      `noarch/aaa.sigs.${sha256}`,
      `linux-64/aaa-1.0-0.conda.sigs.${sha256}`,
      `aaa-1.0-0.conda.sigs.${sha256}`,
      'noarch/aaa-1.0-0.conda.sigs',
    ])
      expect(await channel.openMetadata(other)).toEqual({ status: 'absent' });
  });

  test.each(['DENIED', 'UNAUTHORIZED'] as const)(
    'ghcr/G5: %s counts as absence of what a channel may do without, and of nothing else',
    async (code) => {
      const refusing = new MemoryRegistry();
      const registry: Registry = {
        location: 'refusing',
        maxNameLength: refusing.maxNameLength,
        repository: (name) => {
          const repository = refusing.repository(name);
          repository.fetchManifest = () => Promise.reject(new FerryError(code, 'no'));
          return repository;
        },
        repositories: () => refusing.repositories(),
        [Symbol.asyncDispose]: () => refusing[Symbol.asyncDispose](),
      };
      const { channel } = open('org/channel', registry);
      for (const file of ['noarch/run_exports.json.zst', 'channeldata.json'])
        expect(await channel.openMetadata(file)).toEqual({ status: 'absent' });
      for (const file of ['noarch/repodata.json', `noarch/aaa-1.0-0.conda.sigs.${'a'.repeat(64)}`])
        await expect(channel.openMetadata(file)).rejects.toMatchObject({ code });
    },
  );

  test('an abort goes through', async () => {
    const { store, channel } = open();
    await pushRepodata(store, 'noarch');
    const reason = new Error('enough');
    const answer = await channel.openMetadata('noarch/repodata.json', { signal: AbortSignal.abort(reason) });
    if (answer.status === 'found') expect(await rejection(readAll(answer.body))).toBe(reason);
  });
});

describe('subdirs of a channel in a store', () => {
  const others = [
    'org/channel/linux-64/zlib',
    'org/channel/repodata.json',
    'org/channel/not_a_subdir/repodata.json',
    'org/channel-2/osx-64/repodata.json',
    'org/channel/deeper/win-64/repodata.json',
  ];

  test.each([
    ['a store that lists its repositories', true],
    ['a store that does not', false],
  ])('are those with repodata, sorted, in %s', async (_, canList) => {
    const registry = new RecordingRegistry({ canList });
    const { store, channel } = open('org/channel', registry);
    expect(await channel.subdirs()).toEqual([]);
    for (const subdir of ['osx-arm64', 'linux-64', 'noarch']) await pushRepodata(store, subdir);
    const blob = describeBytes('x', Buffer.from('x'));
    for (const name of others) await registry.repository(name).push(blob, openerOf(Buffer.from('x')));
    expect(await channel.subdirs()).toEqual(['linux-64', 'noarch', 'osx-arm64']);
  });

  test('are found at the root of a store too', async () => {
    const { store, channel } = open('');
    await pushRepodata(store, 'win-64');
    expect(await channel.subdirs()).toEqual(['win-64']);
    expect(channel.url).toBe('oci://memory');
  });

  test('of platforms that conda does not know are found where the store lists them', async () => {
    const { store, channel } = open();
    await pushRepodata(store, 'freebsd-64');
    expect(await channel.subdirs()).toEqual(['freebsd-64']);
  });
});

describe('archives of a channel in a store', () => {
  test('each twin comes from its own layer', async () => {
    const { store, channel } = open();
    const records = await pushArchives(
      store,
      ['_a-1!2-0+x.conda', 'conda bytes'],
      ['_a-1!2-0+x.tar.bz2', 'tar.bz2 bytes'],
    );
    const texts = [];
    for (const record of records) texts.push((await readAll(channel.openArchive(record))).toString());
    expect(texts).toEqual(['conda bytes', 'tar.bz2 bytes']);
    for (const { subdir, filename } of records)
      expect((await readAll(channel.openArchive({ subdir, filename }))).toString()).toMatch(/bytes$/);
  });

  test('what is left of one is read by its tag and by its digest', async () => {
    const { store, channel } = open();
    const [old] = await pushArchives(store, ['a-1-0.conda', 'old bytes']);
    const [now] = await pushArchives(store, ['a-1-0.conda', 'newer bytes']);
    for (const record of [old!, now!])
      expect((await readAll(channel.openArchive(record, { offset: record.size - 5 }))).toString()).toBe(
        'bytes',
      );
  });

  test('v0/K2: when the tag moved on, the digest still finds them', async () => {
    const { store, channel } = open();
    const [old] = await pushArchives(store, ['a-1-0.conda', 'old']);
    const [now] = await pushArchives(store, ['a-1-0.conda', 'newer']);
    expect(
      (await readAll(channel.openArchive({ ...old!, sha256: old!.sha256.toUpperCase() }))).toString(),
    ).toBe('old');
    expect((await readAll(channel.openArchive(now!))).toString()).toBe('newer');
  });

  test('other bytes than asked for are never given, whether the size is known or not', async () => {
    const { store, channel } = open();
    const [record] = await pushArchives(store, ['a-1-0.conda', 'bytes']);
    const other = digestHex(digestOf(Buffer.from('other')));
    for (const size of [5, undefined]) {
      const failure = await rejection(readAll(channel.openArchive({ ...record!, sha256: other, size })));
      expect(failure).toMatchObject({ code: 'ARCHIVE_ABSENT' });
    }
    expect((await readAll(channel.openArchive({ ...record!, size: undefined }))).toString()).toBe('bytes');
  });

  test('one that is not there is ARCHIVE_ABSENT', async () => {
    const { store, channel } = open();
    await pushArchives(store, ['a-1-0.conda', 'bytes']);
    for (const filename of ['a-1-0.tar.bz2', 'a-1-1.conda', 'b-1-0.conda']) {
      expect(await rejection(readAll(channel.openArchive({ subdir: 'noarch', filename })))).toMatchObject({
        code: 'ARCHIVE_ABSENT',
      });
    }
  });

  test('something else under the tag does not hide an archive whose digest is known', async () => {
    const { store, channel, registry } = open();
    const [record] = await pushArchives(store, ['a-1-0.conda', 'bytes']);
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_INDEX, manifests: [] }));
    await registry
      .repository('org/channel/noarch/a')
      .push(describeBytes(IMAGE_INDEX, index), openerOf(index), { tags: ['1-0'] });
    expect((await readAll(channel.openArchive(record!))).toString()).toBe('bytes');
    const { subdir, filename } = record!;
    expect(await rejection(readAll(channel.openArchive({ subdir, filename })))).toMatchObject({
      code: 'ARCHIVE_ABSENT',
    });
  });

  test('a name that the schema cannot hold is refused', async () => {
    const { channel } = open();
    const failure = await rejection(
      readAll(channel.openArchive({ subdir: 'noarch', filename: 'zzz_a-1-0.conda' })),
    );
    expect(failure).toMatchObject({ code: 'NAME_UNREPRESENTABLE' });
  });
});
