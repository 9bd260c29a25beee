import { describe, expect, test } from 'vitest';
import type { ChannelStore } from '#ferry/artifact/channel-store.js';
import type { ArchiveLocation, ChannelSource } from '#ferry/conda/channel-source.js';
import { collect, type Bytes } from '#ferry/io/bytes.js';
import type { FillableArchive } from '#ferry/serve/pull-through/fill-list.js';
import { PullThroughSource } from '#ferry/serve/pull-through/pull-through-source.js';
import { rejection } from '../../contracts/artifacts.js';
import { mirrorChannel } from '../../support/workers.js';
import { conda, noteOf, Scene } from './scene.js';

const [aa, bb] = [conda('aa'), conda('bb')];

/** A source over a scene, with all that it told. */
class Source {
  readonly source: PullThroughSource;
  readonly fetched: FillableArchive[] = [];
  readonly failures: string[] = [];
  nowMs = 0;

  constructor(
    scene: Scene,
    options: { readonly upstream?: ChannelSource; readonly store?: ChannelStore } = {},
  ) {
    this.source = new PullThroughSource({
      upstream: options.upstream ?? scene.upstream(),
      store: options.store ?? scene.store(),
      onFetched: (archive) => this.fetched.push(archive),
      storePatienceMs: 200,
      now: () => this.nowMs,
      reporter: { storeFailed: ({ filename }, { code }) => this.failures.push(`${filename} ${code}`) },
    });
  }

  async read(archive: ArchiveLocation, offset?: number): Promise<Buffer> {
    const bytes = this.source.openArchive(archive, offset === undefined ? {} : { offset });
    return Buffer.from(await collect(bytes, 1_000_000, 'test'));
  }
}

async function withStored(...stored: readonly ReturnType<typeof conda>[]): Promise<Scene> {
  const scene = await Scene.open({ noarch: stored });
  await mirrorChannel({ source: scene.upstream(), destination: scene.store(), subdirs: ['noarch'] });
  await scene.offer({ noarch: [aa, bb] });
  // A request is on record a moment after its answer is through.
  await expect.poll(() => scene.fetched()).toHaveLength(stored.length);
  scene.server.requests.length = 0;
  return scene;
}

/** The blob of an archive in the store. */
function blobsOf(scene: Scene, name: string): Map<string, Buffer> {
  const blobs = scene.registry.repositories.get(`c/noarch/${name}`)?.blobs;
  if (blobs === undefined) throw new Error(`no ${name}`);
  return blobs;
}

describe('an archive', () => {
  test('comes from the store, whether that lists it or not', async () => {
    const scene = await withStored(aa);
    scene.registry.repositories.delete('c/noarch/repodata.json');
    const { source, fetched, failures } = new Source(scene);
    const reader = new Source(scene);
    expect(await reader.read(noteOf(aa))).toEqual(Buffer.from(aa.bytes));
    expect(await reader.read(noteOf(aa), 10)).toEqual(Buffer.from(aa.bytes).subarray(10));
    expect(await source.statArchive(noteOf(aa))).toEqual({ size: aa.bytes.byteLength });
    expect(scene.fetched()).toEqual([]);
    expect([fetched, failures, reader.fetched]).toEqual([[], [], []]);
  });

  test('comes from upstream where the store lacks it, and is noted', async () => {
    const scene = await withStored(aa);
    const reader = new Source(scene);
    expect(await reader.read(noteOf(bb))).toEqual(Buffer.from(bb.bytes));
    expect(await reader.source.statArchive(noteOf(bb))).toEqual({ size: bb.bytes.byteLength });
    expect(reader.fetched).toEqual([noteOf(bb)]);
    expect(reader.failures).toEqual([]);
  });

  test('is not noted unless it was read to its end', async () => {
    const scene = await withStored(aa);
    const reader = new Source(scene);
    for await (const _ of reader.source.openArchive(noteOf(bb))) break;
    expect(reader.fetched).toEqual([]);
  });

  test.each(['sha256', 'size'])('comes from upstream where its record has no %s', async (key) => {
    const scene = await withStored(aa);
    const reader = new Source(scene);
    expect(await reader.read({ ...noteOf(aa), [key]: undefined })).toEqual(Buffer.from(aa.bytes));
    expect(reader.fetched).toHaveLength(1);
  });

  test('comes from upstream where the schema has no place for it', async () => {
    const scene = await Scene.open({ noarch: [conda('repodata.json')] });
    const odd = conda('repodata.json');
    const reader = new Source(scene);
    expect(await reader.read(noteOf(odd))).toEqual(Buffer.from(odd.bytes));
    expect(scene.registry.lines).toEqual([]);
    expect(reader.failures).toEqual([]);
  });

  test('comes from upstream while the store is down, which is asked again after a while', async () => {
    const scene = await withStored(aa);
    const reader = new Source(scene);
    scene.registry.schedule = () => '503';
    expect(await reader.read(noteOf(aa))).toEqual(Buffer.from(aa.bytes));
    expect(reader.failures).toEqual([`${aa.filename} REGISTRY_REFUSED`]);
    const requests = scene.registry.lines.length;
    await reader.read(noteOf(aa));
    expect(scene.registry.lines).toHaveLength(requests);
    scene.registry.schedule = undefined;
    reader.nowMs = 30_000;
    expect(await reader.read(noteOf(aa))).toEqual(Buffer.from(aa.bytes));
    expect(reader.fetched).toHaveLength(2);
  });

  test('comes from upstream where the store does not answer in time', async () => {
    const scene = await withStored(aa);
    const store = scene.store();
    const hung = new Proxy(store, {
      get: (target, key) =>
        key === 'packageRepository'
          ? () => ({ fetch: hangs, exists: (_: unknown, { signal }: Waits) => never(signal) })
          : (Reflect.get(target, key) as unknown),
    });
    const reader = new Source(scene, { store: hung });
    expect(await reader.read(noteOf(aa))).toEqual(Buffer.from(aa.bytes));
    expect(reader.failures).toEqual([`${aa.filename} TIMEOUT`]);
    reader.nowMs = 30_000;
    expect(await reader.source.statArchive(noteOf(aa))).toEqual({ size: aa.bytes.byteLength });
    expect(reader.failures).toHaveLength(2);
  });

  test('that is damaged in the store never ends well, and comes from upstream from then on', async () => {
    const scene = await withStored(aa);
    const digest = `sha256:${noteOf(aa).sha256 ?? ''}`;
    const blobs = blobsOf(scene, 'aa');
    const damaged = Buffer.from(aa.bytes);
    damaged.writeUInt8(damaged.readUInt8(100) ^ 1, 100);
    blobs.set(digest, damaged);
    const reader = new Source(scene);
    expect(await rejection(reader.read(noteOf(aa)))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await reader.read(noteOf(aa))).toEqual(Buffer.from(aa.bytes));
    expect(reader.failures).toEqual([`${aa.filename} DIGEST_MISMATCH`]);
  });

  test('of which the store gives a part only goes on from upstream', async () => {
    const scene = await withStored(aa);
    const store = scene.store();
    const half = Math.floor(aa.bytes.byteLength / 2);
    async function* breaks(): Bytes {
      yield aa.bytes.subarray(0, half);
      throw new Error('the connection broke');
    }
    const broken = new Proxy(store, {
      get: (target, key) =>
        key === 'packageRepository' ? () => ({ fetch: breaks }) : (Reflect.get(target, key) as unknown),
    });
    const reader = new Source(scene, { store: broken });
    expect(await reader.read(noteOf(aa))).toEqual(Buffer.from(aa.bytes));
    expect(reader.failures).toEqual([`${aa.filename} INTERNAL`]);
  });

  test('is given up with its reader, without blame for the store', async () => {
    const scene = await withStored(aa);
    const reader = new Source(scene);
    const reason = new Error('the client left');
    const read = async (): Promise<void> => {
      for await (const _ of reader.source.openArchive(noteOf(aa), { signal: AbortSignal.abort(reason) }));
    };
    expect(await rejection(read())).toBe(reason);
    expect(reader.failures).toEqual([]);
  });
});

test('metadata is the upstream’s alone, and so are the powers to follow links', async () => {
  const scene = await withStored(aa);
  const { source } = new Source(scene);
  const upstream = scene.upstream();
  expect([source.url, source.origin]).toEqual([upstream.url, undefined]);
  expect(await source.subdirs()).toBeUndefined();
  const answer = await source.openMetadata('noarch/repodata.json');
  if (answer.status !== 'found') throw new Error(answer.status);
  expect(Buffer.from(await collect(answer.body, 1_000_000, 'test')).toString()).toBe(
    await scene.upstreamText(),
  );
  const linked = await source.openLinked?.('repodata.json', { subdir: 'noarch' });
  expect(linked?.status).toBe('found');
  expect(source.openSidecar).toBeDefined();
  const bare: ChannelSource = {
    url: 'file:///there',
    origin: 'https://there.example',
    subdirs: () => Promise.resolve(['noarch']),
    openMetadata: () => Promise.resolve({ status: 'absent' }),
    openArchive: () => upstream.openArchive(noteOf(bb)),
  };
  const other = new Source(scene, { upstream: bare }).source;
  expect(other.openLinked).toBeUndefined();
  expect(other.origin).toBe('https://there.example');
  expect(await other.statArchive(noteOf(bb))).toEqual({ size: bb.bytes.byteLength });
});

interface Waits {
  readonly signal?: AbortSignal;
}

async function never(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });
}

async function* hangs(_: unknown, { signal }: Waits): Bytes {
  yield await never(signal);
}
