import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import {
  findMetadata,
  LATEST,
  moveLatest,
  pushMetadata,
  readMetadataLayer,
  type MetadataLayer,
} from '#ferry/artifact/metadata-artifact.js';
import { metadataMediaType } from '#ferry/artifact/media-types.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { METADATA_FILES } from '#ferry/artifact/schema.js';
import { openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import { describe as describeBytes } from '#ferry/oci/descriptor.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import type { Repository } from '#ferry/oci/storage.js';
import { readAll, rejection, tagsOf } from '../contracts/artifacts.js';
import { RecordingRegistry } from './recording-registry.js';

const JSON_TYPE = 'application/vnd.conda.repodata.v1+json';
const layers: readonly MetadataLayer[] = [
  { mediaType: JSON_TYPE, title: 'repodata.json', bytes: Buffer.from('{"packages":{}}') },
  { mediaType: `${JSON_TYPE}+zst`, title: 'repodata.json.zst', bytes: Buffer.from('compressed') },
];

function openStore(registry = new RecordingRegistry(), schema = schemaV0): ChannelStore {
  return new ChannelStore(registry, 'org/channel', schema);
}

describe('a metadata file', () => {
  test('v0/D7, v0/D8: stands in its repository, each form in a layer with its own title', async () => {
    const store = openStore();
    const pushed = await pushMetadata(store, 'noarch', 'repodata.json', layers, {
      tags: [LATEST, '2026.11.21.07.35.00'],
    });
    const repository = store.registry.repository('org/channel/noarch/repodata.json');
    expect(await tagsOf(repository)).toEqual(['2026.11.21.07.35.00', 'latest']);
    const stored = await repository.fetchManifest(LATEST);
    expect(stored?.descriptor).toEqual(pushed);
    const describe = ({ mediaType, title, bytes }: MetadataLayer) =>
      describeBytes(mediaType, bytes, { 'org.opencontainers.image.title': title });
    expect(Buffer.from(stored!.bytes).toString()).toBe(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: IMAGE_MANIFEST,
        config: schemaV0.config,
        layers: layers.map(describe),
      }),
    );
  });

  test('gets no tag but those asked for', async () => {
    const store = openStore();
    const pushed = await pushMetadata(store, 'noarch', 'repodata.json', layers, { tags: [] });
    expect(await findMetadata(store, 'noarch', 'repodata.json')).toBeUndefined();
    const found = await findMetadata(store, 'noarch', 'repodata.json', { reference: pushed.digest });
    expect(found?.descriptor).toEqual(pushed);
  });

  test('is read back by its media type, up to the size that is allowed', async () => {
    const store = openStore();
    await pushMetadata(store, 'noarch', 'repodata.json', layers, { tags: [LATEST] });
    const found = (await findMetadata(store, 'noarch', 'repodata.json'))!;
    expect(Buffer.from(await readMetadataLayer(found, JSON_TYPE, 15)).toString()).toBe('{"packages":{}}');
    expect(await rejection(readMetadataLayer(found, JSON_TYPE, 14))).toMatchObject({ code: 'SIZE_EXCEEDED' });
    expect(await rejection(readMetadataLayer(found, 'application/json', 100))).toMatchObject({
      code: 'MANIFEST_INVALID',
    });
  });

  test('is not found where there is none', async () => {
    expect(await findMetadata(openStore(), 'noarch', 'repodata.json')).toBeUndefined();
  });

  test('v0/X4: comes after one with another config, whose repository then gets ours', async () => {
    const registry = new RecordingRegistry();
    const repository = registry.repository('org/channel/noarch/repodata.json');
    const config = describeBytes('application/vnd.unknown.config.v1+json', Buffer.alloc(0));
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [] }));
    await repository.push(config, openerOf(Buffer.alloc(0)));
    await repository.push(describeBytes(IMAGE_MANIFEST, manifest), openerOf(manifest), { tags: [LATEST] });
    const store = openStore(registry);
    expect((await findMetadata(store, 'noarch', 'repodata.json'))?.layers).toEqual([]);
    registry.writes.length = 0;
    const pushed = await pushMetadata(store, 'noarch', 'repodata.json', layers, { tags: [LATEST] });
    // Each thing once: nothing was taken to be there that is not.
    expect(registry.writes).toHaveLength(new Set(registry.writes).size);
    expect(registry.writes).toEqual(expect.arrayContaining([schemaV0.config.digest, pushed.digest, LATEST]));
  });

  test('can be read from any offset, as uploads that go on need it', async () => {
    const inner = new MemoryRegistry();
    const opened: Buffer[] = [];
    class Resuming extends MemoryRegistry {
      override repository(name: string) {
        const repository = inner.repository(name);
        const push: Repository['push'] = async (descriptor, open: OpenBytes, options) => {
          opened.push(Buffer.concat([await readAll(open()), await readAll(open({ offset: 1 }))]));
          await repository.push(descriptor, open, options);
        };
        return new Proxy(repository, {
          get: (target, key) => (key === 'push' ? push : bound(target, key)),
        });
      }
    }
    const store = new ChannelStore(new Resuming(), '', schemaV0);
    await pushMetadata(store, 'noarch', 'repodata.json', layers.slice(1), { tags: [LATEST] });
    expect(opened.map(String)).toContain('compressedompressed');
  });
});

describe('a metadata file in schema v1', () => {
  const [first, second] = ['20261121T073500Z', '20261122T073500Z'] as const;

  test('v1/R1, v1/R5, v1/R6, v1/R7, v1/R8, v1/P8: is this very document', async () => {
    const store = openStore(undefined, schemaV1);
    await pushMetadata(store, 'noarch', 'repodata.json', layers, { tags: [LATEST] });
    const stored = await store.registry.repository('org/channel/noarch/mrepodata.json').fetchManifest(LATEST);
    const [json, zst] = layers.map(({ bytes }) => describeBytes('', bytes));
    expect(Buffer.from(stored!.bytes).toString()).toBe(
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",' +
        '"artifactType":"application/vnd.conda.repodata.v1+json",' +
        '"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[' +
        `{"mediaType":"application/vnd.conda.repodata.v1+json","digest":"${json!.digest}","size":15,"annotations":{"org.opencontainers.image.title":"repodata.json"}},` +
        `{"mediaType":"application/vnd.conda.repodata.v1+json+zst","digest":"${zst!.digest}","size":10,"annotations":{"org.opencontainers.image.title":"repodata.json.zst"}}],` +
        '"annotations":{"org.conda.oci.schema":"1"}}',
    );
    expect(stored?.descriptor.digest).toBe(
      'sha256:96fd8fc8245263f28a58d5fc3ff0551f737fa38221602e4b80c95c0d631cf0b8',
    );
  });

  test('v1/R3, v1/R4: `latest` is what was published last, and older ones stay under their time', async () => {
    const store = openStore(undefined, schemaV1);
    const repository = store.registry.repository('org/channel/noarch/mrepodata.json');
    const digests: string[] = [];
    for (const [tag, text] of [
      [first, '{"packages":{}}'],
      [second, '{"packages":{"a":{}}}'],
    ] as const) {
      const layer = { mediaType: JSON_TYPE, title: 'repodata.json', bytes: Buffer.from(text) };
      const pushed = await pushMetadata(store, 'noarch', 'repodata.json', [layer], { tags: [tag, LATEST] });
      digests.push(pushed.digest);
      expect((await repository.resolve(LATEST))?.digest).toBe(pushed.digest);
    }
    const tags = await tagsOf(repository);
    expect(tags).toEqual([first, second, LATEST]);
    expect((await repository.resolve(first))?.digest).toBe(digests[0]);
    expect((await repository.resolve(second))?.digest).toBe(digests[1]);
    for (const tag of tags.filter((tag) => tag !== LATEST)) {
      expect(schemaV1.historyTag(schemaV1.parseHistoryTag(tag)!)).toBe(tag);
    }
  });

  test('v1/R3: `latest` moves back to an older one where that is asked for', async () => {
    const store = openStore(undefined, schemaV1);
    const old = await pushMetadata(store, 'noarch', 'repodata.json', layers, { tags: [first, LATEST] });
    await pushMetadata(store, 'noarch', 'repodata.json', layers.slice(0, 1), { tags: [second, LATEST] });
    await moveLatest(store, 'noarch', 'repodata.json', old, {});
    expect((await findMetadata(store, 'noarch', 'repodata.json'))?.descriptor).toEqual(old);
  });

  test('v1/C1, v1/C2, v1/C4, v1/C5: the channeldata stands above the subdirs, marked as the others', async () => {
    const store = openStore(undefined, schemaV1);
    const mediaType = metadataMediaType('channeldata.json');
    expect(mediaType).toBe('application/vnd.conda.channeldata.v1+json');
    const layer = { mediaType, title: 'channeldata.json', bytes: Buffer.from('{}') };
    await pushMetadata(store, '', 'channeldata.json', [layer], { tags: [first, LATEST] });
    const repository = store.registry.repository('org/channel/channeldata.json');
    const { bytes } = (await repository.fetchManifest(LATEST))!;
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject({
      artifactType: mediaType,
      layers: [{ mediaType }],
      annotations: { 'org.conda.oci.schema': '1' },
    });
  });

  test.each(METADATA_FILES)('v1/R7, v1/R8, v1/R9: %s is an artifact of its layer’s type', (file) => {
    const mediaType = metadataMediaType(file);
    const manifest = schemaV1.metadataManifest([describeBytes(mediaType, Buffer.from('{}'))]);
    expect(manifest).toMatchObject({ artifactType: mediaType, config: schemaV1.config });
    expect(manifest.annotations).toEqual({ 'org.conda.oci.schema': '1' });
  });
});

function bound(target: object, key: string | symbol): unknown {
  const value: unknown = Reflect.get(target, key, target);
  return typeof value === 'function' ? (value.bind(target) as unknown) : value;
}
