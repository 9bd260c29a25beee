/** One test for each class of known vulnerabilities that a client's handling of content could repeat. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestOf } from '#ferry/io/digest.js';
import { pullArchives } from '#ferry/mirror/pull.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import { describe as describeBytes, type Descriptor } from '#ferry/oci/descriptor.js';
import { encodeJson } from '#ferry/oci/manifest.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { openRegistry } from '#ferry/registry/open-registry.js';
import type { RegistryClient } from '#ferry/registry/registry-client.js';
import { artifactOf, contentOf, pushArtifact, readAll, rejection } from '../contracts/artifacts.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { useAttacker } from '../support/double/attacker.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel, workers } from '../support/workers.js';

function open(double: RegistryDouble): RegistryClient {
  const registry = openRegistry(double.host, { userAgent: 'conda-ferry-test' });
  onTestFinished(async () => registry[Symbol.asyncDispose]());
  return registry;
}

async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test('GHSA-298f-872v-2rcx: a list that goes in circles ends in an error', async () => {
  const double = await useRegistryDouble();
  const repository = open(double).repository('a/b');
  await pushArtifact(repository, artifactOf('tagged'), ['1', '2']);
  double.faultNext(({ path }) => path.endsWith('/tags/list'), 'link-loop', 100);
  expect(await rejection(allOf(repository.tags()))).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(double.lines.filter((line) => line.includes('/tags/list')).length).toBeLessThan(4);
});

test('GHSA-298f-872v-2rcx: referrers that refer to each other are listed once', async () => {
  const double = await useRegistryDouble();
  const repository = open(double).repository('a/b');
  const subject = artifactOf('subject');
  await pushArtifact(repository, subject, ['1']);
  double.faultNext(({ path }) => path.includes('/referrers/'), 'cyclic-referrers', 100);
  const found = await allOf(repository.referrers(subject.manifest.descriptor));
  expect(new Set(found.map(({ digest }) => digest)).size).toBe(found.length);
});

test('GHSA-f36w-mj3v-6jqv: a size that a descriptor claims allocates nothing', async () => {
  const double = await useRegistryDouble();
  const repository = open(double).repository('a/b');
  const blob = contentOf('small');
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  const before = process.memoryUsage().rss;
  const claimed: Descriptor = { ...blob.descriptor, size: 2 ** 50 };
  expect(await rejection(readAll(repository.fetch(claimed)))).toMatchObject({ code: 'SIZE_MISMATCH' });
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
});

test.each(['sha256:../../../etc/passwd', 'sha256:', `sha256:${'A'.repeat(64)}`, 'sha256:abc/../../x'])(
  'CVE-2024-3727: %s gets into no URL',
  async (text) => {
    const double = await useRegistryDouble();
    const repository = open(double).repository('a/b');
    expect(await rejection(repository.resolve(text))).toMatchObject({ code: 'REFERENCE_INVALID' });
    const layer = { mediaType: 'text/plain', digest: text, size: 1 };
    const bytes = encodeJson({ schemaVersion: 2, mediaType: IMAGE_MANIFEST, config: layer, layers: [layer] });
    const pushing = repository.push(describeBytes(IMAGE_MANIFEST, bytes), openerOf(bytes));
    expect(await rejection(pushing)).toMatchObject({ code: 'MANIFEST_INVALID' });
    expect(double.lines).toEqual([]);
  },
);

test('CVE-2020-15157: where a layer says that it may be had elsewhere, nobody goes', async () => {
  const attacker = await useAttacker();
  const double = await useRegistryDouble();
  const source = new MemoryRegistry().repository('source');
  const config = contentOf('{}');
  const blob = contentOf('foreign');
  const layer = { ...blob.descriptor, urls: [`${attacker.origin}/layer`] };
  const bytes = encodeJson({
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    config: config.descriptor,
    layers: [layer],
  });
  const manifest = describeBytes(IMAGE_MANIFEST, bytes);
  for (const { descriptor, bytes: content } of [config, blob])
    await source.push(descriptor, openerOf(content));
  await source.push(manifest, openerOf(bytes));
  const repository = open(double).repository('a/b');
  await copyGraph(source, repository, manifest, { tags: ['1'] });
  const destination = new MemoryRegistry().repository('destination');
  await copyGraph(repository, destination, manifest, { tags: ['1'] });
  expect((await destination.fetchManifest('1'))?.bytes).toEqual(bytes);
  expect(attacker.requests).toEqual([]);
});

test('a digest that a registry claims of a tag is not believed', async () => {
  const double = await useRegistryDouble({ digestHeader: 'wrong' });
  const repository = open(double).repository('a/b');
  const { blobs, manifest } = artifactOf('claimed');
  for (const blob of blobs) await repository.push(blob.descriptor, openerOf(blob.bytes));
  const state = double.repositories.get('a/b');
  const { descriptor, bytes } = manifest;
  const { mediaType } = descriptor;
  await rejection(repository.push(descriptor, openerOf(bytes), { tags: ['1'] }));
  expect(state?.tags.get('1')).toBe(descriptor.digest);
  expect(await repository.fetchManifest('1')).toMatchObject({
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength },
  });
});

test('CVE-2021-21272: what a title says names no file', async () => {
  const double = await useRegistryDouble();
  const registry = open(double);
  const store = new ChannelStore(registry, 'org/channel', schemaV0);
  await mirrorChannel({
    source: new DirectoryChannel(FIXTURE_CHANNEL),
    destination: store,
    subdirs: ['noarch'],
  });
  for (const [name, repository] of double.repositories) {
    if (/repodata/.test(name)) continue;
    for (const [tag, digest] of repository.tags) {
      const stored = repository.manifests.get(digest);
      if (stored === undefined) throw new Error(`${name}:${tag} names nothing`);
      const text = stored.bytes
        .toString('utf8')
        .replaceAll(/"org\.opencontainers\.image\.title":"/g, '$&../../evil-');
      const bytes = Buffer.from(text, 'utf8');
      const changed = digestOf(bytes);
      repository.manifests.set(changed, { ...stored, digest: changed, bytes });
      repository.tags.set(tag, changed);
    }
  }
  const folder = await tempFolder();
  const channel = new OciChannel(store);
  const pulled = await allOf(
    pullArchives({
      channel,
      specs: ['ferry-tool'],
      folder: join(folder, 'a/b'),
      subdirs: ['noarch'],
      workers,
    }),
  );
  expect(pulled.length).toBeGreaterThan(0);
  expect(pulled.every((archive) => !('error' in archive))).toBe(true);
  expect(await readdir(folder)).toEqual(['a']);
  expect((await readdir(join(folder, 'a/b'))).every((name) => name.startsWith('ferry-tool-'))).toBe(true);
});
