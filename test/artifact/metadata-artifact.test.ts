import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import {
  findMetadata,
  LATEST,
  pushMetadata,
  readMetadataLayer,
  type MetadataLayer,
} from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
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

function openStore(registry = new RecordingRegistry()): ChannelStore {
  return new ChannelStore(registry, 'org/channel', schemaV0);
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

function bound(target: object, key: string | symbol): unknown {
  const value: unknown = Reflect.get(target, key, target);
  return typeof value === 'function' ? (value.bind(target) as unknown) : value;
}
