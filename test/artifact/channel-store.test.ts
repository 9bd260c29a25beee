import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { makePackageArtifact } from '#ferry/artifact/package-artifact.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestOf } from '#ferry/io/digest.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { RecordingRegistry } from './recording-registry.js';

describe('a channel in a store', () => {
  test('v0/D1: has its repositories below its path, or at the root', () => {
    const below = new ChannelStore(new MemoryRegistry(), 'org/conda-forge', schemaV0);
    expect(below.packageRepository('linux-64', { repository: 'zlib' }).name).toBe(
      'org/conda-forge/linux-64/zlib',
    );
    expect(below.metadataRepository('noarch', 'repodata.json').name).toBe(
      'org/conda-forge/noarch/repodata.json',
    );
    expect(below.metadataRepository('noarch', 'ledger').name).toBe(
      'org/conda-forge/noarch/repodata_ledger.json',
    );
    expect(below.location).toBe('memory/org/conda-forge');
    const root = new ChannelStore(new MemoryRegistry(), '', schemaV0);
    expect(root.packageRepository('linux-64', { repository: 'zlib' }).name).toBe('linux-64/zlib');
    expect(root.location).toBe('memory');
  });

  test.each(['Org', '/org', 'org/', 'a//b', '..', 'a b', 'org:tag'])('refuses the path %j', (path) => {
    expect(() => new ChannelStore(new MemoryRegistry(), path, schemaV0)).toThrow(
      expect.objectContaining({ code: 'REFERENCE_INVALID' }) as Error,
    );
  });

  test('takes a package whose path is just as long as the registry allows, and none that is longer', () => {
    const store = new ChannelStore(
      new RecordingRegistry({ maxNameLength: 'c/noarch/abc'.length }),
      'c',
      schemaV0,
    );
    expect(store.packageRepository('noarch', { repository: 'abc' }).name).toBe('c/noarch/abc');
    expect(() => store.packageRepository('noarch', { repository: 'abcd' })).toThrow(
      expect.objectContaining({ code: 'NAME_UNREPRESENTABLE' }) as Error,
    );
  });
});

describe('the config that all artifacts share', () => {
  test('is pushed once per repository, also when many ask at once', async () => {
    const registry = new RecordingRegistry();
    const store = new ChannelStore(registry, 'c', schemaV0);
    const [a, b] = ['a', 'b'].map((repository) => store.packageRepository('noarch', { repository }));
    await Promise.all([a, a, b, a].map(async (repository) => store.ensureConfig(repository!)));
    await store.ensureConfig(a!);
    expect(registry.writes).toEqual([schemaV0.config.digest, schemaV0.config.digest]);
  });

  test('is tried again after a failure', async () => {
    const registry = new RecordingRegistry();
    const store = new ChannelStore(registry, 'c', schemaV0);
    const repository = store.packageRepository('noarch', { repository: 'a' });
    await expect(
      store.ensureConfig(repository, { signal: AbortSignal.abort(new Error('stop')) }),
    ).rejects.toThrow('stop');
    await store.ensureConfig(repository);
    expect(registry.writes).toEqual([schemaV0.config.digest]);
  });

  test('is not pushed where an artifact has it, but where that has another one', async () => {
    const bytes = Buffer.from('x');
    const layer = {
      filename: 'a-1-0.conda',
      extension: 'conda',
      digest: digestOf(bytes),
      size: 1,
      md5: '',
    } as const;
    const info = { indexJson: bytes, infoLayer: bytes, innerStem: undefined };
    const name = { name: 'a', version: '1', build: '0', extension: 'conda' } as const;
    const { manifest } = makePackageArtifact(schemaV0, [{ name, layer, info, open: openerOf(bytes) }]);
    const registry = new RecordingRegistry();
    const store = new ChannelStore(registry, 'c', schemaV0);
    const repository = store.packageRepository('noarch', { repository: 'a' });
    store.rememberConfig(repository, {
      ...manifest,
      config: { ...manifest.config, digest: digestOf(Buffer.alloc(0)), size: 0 },
    });
    await store.ensureConfig(repository);
    expect(registry.writes).toHaveLength(1);
    const other = store.packageRepository('noarch', { repository: 'b' });
    store.rememberConfig(other, manifest);
    await store.ensureConfig(other);
    expect(registry.writes).toHaveLength(1);
  });
});
