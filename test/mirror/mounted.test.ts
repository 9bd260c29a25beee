import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import type { SchemaId } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { TransportError } from '#ferry/errors.js';
import { openHttpClient } from '#ferry/http/client.js';
import { mirrorChannel, planMirror, type MirrorOptions } from '#ferry/mirror/mirror.js';
import type { MirrorReport } from '#ferry/mirror/report.js';
import { isSourceGone } from '#ferry/mirror/transfer.js';
import { openerOf } from '#ferry/io/bytes.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { describe as describeBytes, type Descriptor } from '#ferry/oci/descriptor.js';
import { encodeJson, parseImageManifest, type ImageManifest } from '#ferry/oci/manifest.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords } from '../support/audit.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import {
  startRegistryDouble,
  useRegistryDouble,
  type RegistryDouble,
} from '../support/double/registry-double.js';
import { openLayoutPair, openRegistryPair, stateOf, type Pair } from '../support/migration.js';
import { failuresOf, ghcrStore, registryStore, startGhcr, writesOf } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

let docker: TestRegistry;
let double: RegistryDouble;
// Starting threads takes longer than most of these mirrors.
let workers: WorkerPool;
beforeAll(async () => {
  workers = new WorkerPool();
  docker = await startRegistry();
  double = await startRegistryDouble();
});
afterAll(async () => {
  await docker[Symbol.asyncDispose]();
  await double[Symbol.asyncDispose]();
  await workers[Symbol.asyncDispose]();
});

const NOARCH = { build: '0', subdir: 'noarch', index: { noarch: 'generic' } } as const;

function conda(name: string, text = 'text\n') {
  return condaPackage({ ...NOARCH, name, version: '1.0', payloadFiles: { 'share/text': text } });
}

function tarBz2(name: string) {
  return tarBz2Package({ ...NOARCH, name, version: '1.0' });
}

type Archives = readonly ReturnType<typeof conda>[];

async function folderOf(archives: Archives): Promise<DirectoryChannel> {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: archives });
  return new DirectoryChannel(folder);
}

function storeAt({ registry, path }: Pair, name: string, schema: SchemaId = 'v0'): ChannelStore {
  return new ChannelStore(registry, `${path}${name}`, schema === 'v0' ? schemaV0 : schemaV1);
}

async function fill(destination: ChannelStore, archives: Archives): Promise<void> {
  const report = await mirrorChannel({ source: await folderOf(archives), destination, workers });
  expect(failuresOf(report)).toEqual({});
}

/** Mirrors the channel `from` to the channel `to` of the same store. */
async function carry(pair: Pair, options: Partial<MirrorOptions> = {}): Promise<MirrorReport> {
  const source = new OciChannel(storeAt(pair, 'from'));
  return mirrorChannel({ source, destination: storeAt(pair, 'to'), workers, ...options });
}

/** Tags of packages with their digests. */
async function packagesOf(pair: Pair, channel: string): Promise<Record<string, string>> {
  const state = await stateOf(pair, channel);
  return Object.fromEntries(Object.entries(state).filter(([place]) => /:1\.0-0$/.test(place)));
}

/** What was sent to repositories of packages. */
function sentOfPackages({ sent }: Pair): unknown[] {
  return sent.filter(({ repository }) => !/(?:\.json|ledger|\.zst)$/.test(repository));
}

/** Requests about packages. */
function aboutPackages({ requests }: Pair): string[] {
  return requests.filter((request) => /\/noarch\/[^/.]+\/(?:blobs|manifests)\//.test(request));
}

/** Reads of blobs of packages. */
function readsOfPackages(pair: Pair): string[] {
  return aboutPackages(pair).filter((request) => /^GET .*\/blobs\//.test(request));
}

/** Writes what stands at a package's tag in `from` anew, changed. */
async function rewrite(
  pair: Pair,
  leaf: string,
  change: (manifest: ImageManifest) => ImageManifest,
  blobs: readonly Uint8Array[] = [],
): Promise<void> {
  const repository = pair.registry.repository(`${pair.path}from/noarch/${leaf}`);
  const stored = await repository.fetchManifest('1.0-0');
  if (stored === undefined) throw new Error(`nothing at ${leaf}`);
  for (const blob of blobs) await repository.push(describeBytes('x/y', blob), openerOf(blob));
  const bytes = encodeJson(change(parseImageManifest(stored.bytes)));
  await repository.push(describeBytes(stored.descriptor.mediaType, bytes), openerOf(bytes), {
    tags: ['1.0-0'],
  });
}

function isPackage({ mediaType }: Descriptor): boolean {
  return mediaType.startsWith('application/vnd.conda.package.');
}

const TWINS: Archives = [conda('alone'), conda('both'), tarBz2('both'), tarBz2('old')];
const PLAIN: Archives = [conda('alone'), tarBz2('old')];

const kinds: readonly (readonly [string, (name: string) => Promise<() => Pair>])[] = [
  ['docker-registry', async (name) => () => openRegistryPair(docker.host, `${docker.prefix}/${name}`)],
  [
    'image layouts',
    async () => {
      const folder = await tempFolder();
      return () => openLayoutPair(folder);
    },
  ],
];

describe.each(kinds)('from channel to channel in %s', (_kind, open) => {
  test.each([
    ['v0', 'v0', TWINS],
    ['v1', 'v1', PLAIN],
    ['v0', 'v1', TWINS],
    ['v1', 'v0', PLAIN],
  ] as const)('%s to %s: no archive moves, and all is as if it did', async (from, to, archives) => {
    const view = await open(`${from}-${to}`);
    await fill(storeAt(view(), 'from', from), archives);
    await fill(storeAt(view(), 'plain', to), archives);
    const before = await stateOf(view(), 'from');

    const pair = view();
    const source = new OciChannel(storeAt(pair, 'from', from));
    const report = await carry(pair, { source, destination: storeAt(pair, 'to', to) });
    expect(failuresOf(report)).toEqual({});
    expect(sentOfPackages(pair)).toEqual([]);
    expect(readsOfPackages(pair)).toEqual([]);
    const carried = await packagesOf(view(), 'to');
    expect(Object.keys(carried)).not.toEqual([]);
    expect(carried).toEqual(await packagesOf(view(), 'plain'));
    expect(await stateOf(view(), 'from')).toEqual(before);
  });
});

test('one request for each blob and two for the manifest, as the plan says', async () => {
  const view = (): Pair => openRegistryPair(double.host, 'counted');
  await fill(storeAt(view(), 'from'), TWINS);
  const planning = view();
  const source = new OciChannel(storeAt(planning, 'from'));
  const plan = await planMirror({ source, destination: storeAt(planning, 'to'), workers });
  expect(planning.writes).toEqual([]);
  const pair = view();
  await carry(pair);
  const requests = aboutPackages(pair);
  // Three artifacts of info, index and manifest, read and written; four archives; a config for each repository; and
  // where twins met, the tag once more.
  expect(requests).toHaveLength(3 * (2 + 2) + 4 + 3 + 1);
  expect(plan.subdirs[0]?.requests.archives).toBe(requests.length);

  const second = view();
  await carry(second);
  expect(second.writes).toEqual([]);
});

test('where mounts are refused the blobs are uploaded', async () => {
  const ghcr = await startGhcr();
  onTestFinished(async () => ghcr[Symbol.asyncDispose]());
  await fill(ghcrStore(ghcr, 'from').store, PLAIN);
  await fill(ghcrStore(ghcr, 'plain').store, PLAIN);
  const to = ghcrStore(ghcr, 'to');
  const source = new OciChannel(ghcrStore(ghcr, 'from').store);
  const report = await mirrorChannel({ source, destination: to.store, workers });
  expect(failuresOf(report)).toEqual({});
  expect(await faultsOf(to.reader, `${to.path}noarch`)).toEqual([]);
  expect(writesOf(to).filter((line) => line.includes('/alone/manifests/'))).toHaveLength(1);
  for (const name of ['alone', 'old']) {
    const [carried, plain] = ['to', 'plain'].map((channel) =>
      ghcr.repositories.get(`org/${channel}/noarch/${name}`)?.tags.get('1.0-0'),
    );
    expect(carried).toBeDefined();
    expect(carried).toBe(plain);
  }
});

describe('of an artifact', () => {
  test('that holds other bytes than its record says, the archive itself is asked for, and else refused', async () => {
    const view = (): Pair => openRegistryPair(double.host, 'lies');
    await fill(storeAt(view(), 'from'), [conda('honest'), conda('moved'), conda('lies')]);
    const other = conda('other').bytes;
    const lie = (manifest: ImageManifest): ImageManifest => ({
      ...manifest,
      layers: manifest.layers.map((layer) =>
        isPackage(layer) ? { ...layer, ...describeBytes(layer.mediaType, other) } : layer,
      ),
    });
    await rewrite(view(), 'moved', lie, [other]);
    await rewrite(view(), 'lies', lie, [other]);
    const held = double.repositories.get('lies/from/noarch/lies')?.blobs;
    for (const digest of held?.keys() ?? []) held?.delete(digest);

    const report = await carry(view());
    expect(failuresOf(report)).toEqual({ 'noarch/lies-1.0-0.conda': 'ARCHIVE_ABSENT' });
    expect(Object.keys(await packagesOf(view(), 'to')).sort()).toEqual([
      'noarch/honest:1.0-0',
      'noarch/moved:1.0-0',
    ]);
    const { reader, path } = registryStore({ host: double.host, prefix: 'lies' }, 'to');
    expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
    const listed = await listedRecords(reader, `${path}noarch`);
    expect(listed?.map(({ filename }) => filename).sort()).toEqual([
      'honest-1.0-0.conda',
      'moved-1.0-0.conda',
    ]);
  });

  test('that another tool wrote, what is certain is taken over; what is not is read, and mounted', async () => {
    const view = (): Pair => openRegistryPair(double.host, 'others');
    const archives = ['untitled', 'infoless', 'foreign'].map((name) => conda(name));
    await fill(storeAt(view(), 'from'), archives);
    await fill(storeAt(view(), 'plain'), archives);
    const untitled = (manifest: ImageManifest): ImageManifest => ({
      ...manifest,
      layers: manifest.layers.map(({ annotations: _, ...layer }) => layer),
    });
    await rewrite(view(), 'untitled', untitled);
    await rewrite(view(), 'infoless', (manifest) => ({
      ...manifest,
      layers: manifest.layers.filter(isPackage),
    }));
    const index = Buffer.from('{"name":"somebody-else","version":"1.0","build":"0"}');
    const foreign = (manifest: ImageManifest): ImageManifest => ({
      ...untitled(manifest),
      layers: untitled(manifest).layers.map((layer) =>
        layer.mediaType.includes('index') ? describeBytes(layer.mediaType, index) : layer,
      ),
    });
    await rewrite(view(), 'foreign', foreign, [index]);

    const pair = view();
    expect(failuresOf(await carry(pair))).toEqual({});
    expect(await packagesOf(view(), 'to')).toEqual(await packagesOf(view(), 'plain'));
    // No archive was sent, and of the one whose index speaks for it none was read.
    const sizes = archives.map(({ bytes }) => bytes.byteLength);
    expect(pair.sent.filter(({ bytes }) => sizes.includes(bytes))).toEqual([]);
    expect(readsOfPackages(pair).filter((line) => line.includes('/untitled/'))).toHaveLength(1);
    expect(readsOfPackages(pair).filter((line) => line.includes('/foreign/'))).toHaveLength(2);
  });
});

test('twins that come one after the other, and archives that are replaced, end as if they came at once', async () => {
  const view = (): Pair => openRegistryPair(double.host, 'twins');
  await fill(storeAt(view(), 'from'), [tarBz2('a'), conda('b'), conda('c', 'old text\n')]);
  expect(failuresOf(await carry(view()))).toEqual({});
  const all = [conda('a'), tarBz2('a'), conda('b'), tarBz2('b'), conda('c', 'new text\n')];
  await fill(storeAt(view(), 'from'), all);
  await fill(storeAt(view(), 'plain'), all);
  const pair = view();
  expect(failuresOf(await carry(pair))).toEqual({});
  expect(await packagesOf(view(), 'to')).toEqual(await packagesOf(view(), 'plain'));
  // Without its twin, the `.tar.bz2` has to be read for its info; sent it is not.
  expect(
    sentOfPackages(pair).filter((sent) => JSON.stringify(sent).includes('/to/noarch/b')),
  ).not.toContainEqual({
    repository: 'twins/to/noarch/b',
    bytes: tarBz2('b').bytes.byteLength,
  });
  const { reader, path } = registryStore({ host: double.host, prefix: 'twins' }, 'to');
  expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
});

test('an archive that failed before is read before it is mounted', async () => {
  const view = (): Pair => openRegistryPair(double.host, 'suspect');
  const archive = conda('suspect');
  await fill(storeAt(view(), 'from'), [archive, conda('sound')]);
  const held = double.repositories.get('suspect/from/noarch/suspect');
  const manifests = new Map(held?.manifests);
  const blobs = new Map(held?.blobs);
  held?.manifests.clear();
  held?.blobs.clear();
  expect(failuresOf(await carry(view()))).toEqual({ 'noarch/suspect-1.0-0.conda': 'ARCHIVE_ABSENT' });
  for (const [digest, manifest] of manifests) held?.manifests.set(digest, manifest);
  for (const [digest, blob] of blobs) held?.blobs.set(digest, blob);
  const pair = view();
  expect(failuresOf(await carry(pair))).toEqual({});
  expect(readsOfPackages(pair)).not.toEqual([]);
  expect(pair.sent.map(({ bytes }) => bytes)).not.toContain(archive.bytes.byteLength);
  expect(Object.keys(await packagesOf(view(), 'to'))).toHaveLength(2);
});

describe('a registry that is gone', () => {
  test('ends the run, and is no fault of any package', async () => {
    const dying = await useRegistryDouble();
    await fill(storeAt(openRegistryPair(dying.host, 'dying'), 'from'), PLAIN);
    const client = openHttpClient({ userAgent: 'conda-ferry-test', sleep: () => Promise.resolve() });
    onTestFinished(async () => client[Symbol.asyncDispose]());
    const { origin, host } = dying;
    let isGone = false;
    const send: typeof client.send = (request) => {
      // Nobody listens on that port; the error speaks of the address that was asked.
      if (!isGone) return client.send(request);
      const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
      const url = `${origin}${request.url.pathname}`;
      const asked = { method: 'GET', url, attempts: 1 };
      throw new TransportError('NETWORK', 'no answer', asked, { cause: refused });
    };
    const source = new OciChannel(
      new ChannelStore(new RegistryClient({ host, send }), 'dying/from', schemaV0),
    );
    const destination = new ChannelStore(new MemoryRegistry(), 'to', schemaV0);
    const reporter = { planned: () => (isGone = true) };
    await expect(mirrorChannel({ source, destination, workers, reporter })).rejects.toMatchObject({
      code: 'NETWORK',
    });
  });

  test('is known by its address, whatever the channel is called', () => {
    const error = (url: string): TransportError =>
      new TransportError(
        'NETWORK',
        'no answer',
        { method: 'GET', url, attempts: 1 },
        {
          cause: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }),
        },
      );
    const send = (): never => {
      throw new Error('not asked');
    };
    const channelAt = (host: string): OciChannel =>
      new OciChannel(new ChannelStore(new RegistryClient({ host, send }), 'org/ch', schemaV0));
    expect(isSourceGone(error('https://ghcr.io/v2/org/ch/noarch/a/manifests/1'), channelAt('ghcr.io'))).toBe(
      true,
    );
    expect(isSourceGone(error('https://registry-1.docker.io/v2/x'), channelAt('docker.io'))).toBe(true);
    expect(isSourceGone(error('https://blobs.example.org/x'), channelAt('ghcr.io'))).toBe(false);
    expect(isSourceGone(error('https://conda.example.org/x'), { url: 'https://conda.example.org/ch' })).toBe(
      true,
    );
    expect(isSourceGone(error('https://ghcr.io/x'), { url: 'oci-layout:/srv/ch' })).toBe(false);
  });
});
