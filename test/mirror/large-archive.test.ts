import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { mirrorChannel } from '#ferry/mirror/mirror.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { PushOptions, Registry, Repository } from '#ferry/oci/storage.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import type { OpenBytes } from '#ferry/io/bytes.js';
import { condaPackage, type CondaOptions } from '../../fixtures/build/archive.mjs';
import { incompressible } from '../../fixtures/build/bytes.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf } from '../support/audit.js';
import { serveChannel, type ChannelServer } from '../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { failuresOf, httpSource, registryStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

/** Archives from 8 MiB on go from the source to the destination and nowhere else. */
const PAYLOAD_BYTES = 9 * 1024 * 1024;
const FILENAME = 'large-1.0-0.conda';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(async () => registry[Symbol.asyncDispose]());

const noise = incompressible(PAYLOAD_BYTES, 7);

function large(zip: CondaOptions = {}) {
  return condaPackage({
    name: 'large',
    version: '1.0',
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/noise': noise },
    zip: { level: 1, ...zip },
  });
}

async function channel(archive = large()): Promise<{ folder: string; server: ChannelServer }> {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: [archive] });
  return { folder, server: await serveChannel(folder) };
}

function downloads(server: ChannelServer): number {
  return server.requests.filter(({ path }) => path.endsWith(FILENAME)).length;
}

const tag = 'noarch/large';

async function manifestOf(store: ChannelStore): Promise<unknown> {
  const repository = store.registry.repository(`${store.path}/${tag}`);
  const stored = await repository.fetchManifest('1.0-0');
  return stored === undefined ? undefined : JSON.parse(Buffer.from(stored.bytes).toString());
}

test.each([
  ['as it is', 'plain', {}, 1],
  ['with ZIP64', 'zip64', { zip64: true }, 1],
  ['whose sizes follow the content, by way of a file', 'descriptors', { dataDescriptor: true }, 2],
])('a large archive %s arrives, with its info and its sums', async (_, name, zip, expected) => {
  const archive = large(zip);
  const { server } = await channel(archive);
  await using _server = server;
  const { store, reader } = registryStore(registry, `large-${name}`);
  const temp = await tempFolder();
  const report = await mirrorChannel({
    source: httpSource(server.url),
    destination: store,
    subdirs: ['noarch'],
    tempDir: temp,
  });
  expect(failuresOf(report)).toEqual({});
  expect(await faultsOf(reader, `${store.path}/noarch`, { readBlobs: true })).toEqual([]);
  expect(downloads(server)).toBe(expected);
  expect(await readdir(temp)).toEqual([]);
  expect(await manifestOf(store)).toMatchObject({
    layers: [
      {
        digest: `sha256:${createHash('sha256').update(archive.bytes).digest('hex')}`,
        annotations: { 'org.conda.md5': createHash('md5').update(archive.bytes).digest('hex') },
      },
      { annotations: { 'org.opencontainers.image.title': 'large-1.0-0/info.tar.gz' } },
      { annotations: { 'org.opencontainers.image.title': 'large-1.0-0/info/index.json' } },
    ],
  });
});

test('an archive has one manifest, whichever way it came', async () => {
  const manifests = await Promise.all(
    [{}, { dataDescriptor: true }].map(async (zip) => {
      const { server } = await channel(large(zip));
      await using _server = server;
      const store = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
      await mirrorChannel({ source: httpSource(server.url), destination: store, subdirs: ['noarch'] });
      return (await manifestOf(store)) as { layers: { digest: string }[] };
    }),
  );
  // The archives differ, what is in them does not.
  expect(manifests[0]?.layers[0]?.digest).not.toBe(manifests[1]?.layers[0]?.digest);
  expect(manifests[0]?.layers.slice(1)).toEqual(manifests[1]?.layers.slice(1));
});

test('a destination that wants the bytes again gets them from the source again', async () => {
  const { server } = await channel();
  await using _server = server;
  const memory = new MemoryRegistry();
  const impatient = pushingAs(memory, async (repository, descriptor, open, options) => {
    if (descriptor.size > PAYLOAD_BYTES) {
      let seen = 0;
      for await (const chunk of open()) if ((seen += chunk.byteLength) > 3_000_000) break;
      const rest: Uint8Array[] = [];
      for await (const chunk of open({ offset: 9_000_001 })) rest.push(chunk);
      expect(Buffer.concat(rest).equals(large().bytes.subarray(9_000_001))).toBe(true);
    }
    await repository.push(descriptor, open, options);
  });
  const store = new ChannelStore(impatient, 'c', schemaV0);
  const report = await mirrorChannel({
    source: httpSource(server.url),
    destination: store,
    subdirs: ['noarch'],
  });
  expect(failuresOf(report)).toEqual({});
  expect(await manifestOf(store)).toBeDefined();
});

test('a destination that has the blob already is not believed what it says of it', async () => {
  const { server } = await channel();
  await using _server = server;
  const memory = new MemoryRegistry();
  const knowing = pushingAs(memory, async (repository, descriptor, open, options) => {
    // As where the blob turns out to be there after an upload that broke off.
    if (descriptor.size > PAYLOAD_BYTES)
      await memory.repository(repository.name).push(descriptor, () => once(large().bytes));
    else await repository.push(descriptor, open, options);
  });
  const store = new ChannelStore(knowing, 'c', schemaV0);
  const report = await mirrorChannel({
    source: httpSource(server.url),
    destination: store,
    subdirs: ['noarch'],
  });
  expect(failuresOf(report)).toEqual({});
  expect(downloads(server)).toBe(1);
});

test.each([
  ['other bytes', (bytes: Buffer) => bytes.fill(0, 5_000_000, 5_000_100), 'DIGEST_MISMATCH'],
  ['too few bytes', (bytes: Buffer) => bytes.subarray(0, 9_000_000), 'SIZE_MISMATCH'],
])('a large archive of %s is no part of the mirror', async (_, spoil, code) => {
  const { folder, server } = await channel();
  await using _server = server;
  const file = join(folder, 'noarch', FILENAME);
  await writeFile(file, spoil(await readFile(file)));
  const { store } = registryStore(registry, `spoilt-${code.toLowerCase().replace('_', '-')}`);
  const report = await mirrorChannel({
    source: httpSource(server.url),
    destination: store,
    subdirs: ['noarch'],
  });
  expect(failuresOf(report)).toEqual({ [`noarch/${FILENAME}`]: code });
  expect(await manifestOf(store)).toBeUndefined();
});

test('what is wrong with a large archive is told by its whole', async () => {
  const archive = large({
    entries: ([metadata, pkg, info]) => [metadata!, { ...pkg!, name: 'pkg-first.tar.zst' }, pkg!, info!],
  });
  const { server } = await channel(archive);
  await using _server = server;
  const store = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
  const report = await mirrorChannel({
    source: httpSource(server.url),
    destination: store,
    subdirs: ['noarch'],
  });
  expect(failuresOf(report)).toEqual({ [`noarch/${FILENAME}`]: 'ARCHIVE_ENTRY_UNEXPECTED' });
});

type Push = (
  repository: Repository,
  descriptor: Descriptor,
  open: OpenBytes,
  options: PushOptions | undefined,
) => Promise<void>;

/** A registry whose pushes go through `push`. */
function pushingAs(registry: Registry, push: Push): Registry {
  return {
    location: registry.location,
    maxNameLength: registry.maxNameLength,
    repository: (name) => {
      const repository = registry.repository(name);
      return {
        name,
        exists: (...args) => repository.exists(...args),
        fetch: (...args) => repository.fetch(...args),
        resolve: (...args) => repository.resolve(...args),
        fetchManifest: (...args) => repository.fetchManifest(...args),
        tags: (...args) => repository.tags(...args),
        tag: (...args) => repository.tag(...args),
        push: (descriptor, open, options) => push(repository, descriptor, open, options),
      };
    },
    repositories: (options) => registry.repositories(options),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

async function* once(bytes: Uint8Array) {
  yield bytes;
}
