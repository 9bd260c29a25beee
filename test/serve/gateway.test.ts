import { createHash } from 'node:crypto';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import { readShard, readShardIndex } from '#ferry/conda/shards/read-shards.js';
import { FerryError } from '#ferry/errors.js';
import { digestHex } from '#ferry/io/digest.js';
import { decompressZstd } from '#ferry/io/zstd.js';
import { serveChannel } from '../support/channel-server.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { openTestClient } from '../support/http.js';
import { attested, writeSidecars } from '../support/sidecars.js';
import { ghcrStore, layoutStore, mirrorFolder, startGhcr } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { offer, smallConda, smallTarBz2 } from '../support/v1-channel.js';
import { openGateway } from './open-gateway.js';

const NOARCH_ARCHIVE = 'ferry-tool-2.1.0-py_0.conda';

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The fixtures' channel mirrored into image layouts. */
async function mirroredFixture() {
  const mirror = layoutStore(join(await tempFolder(), 'store'));
  await mirrorFolder(FIXTURE_CHANNEL, mirror);
  return mirror.store;
}

describe('metadata', () => {
  test('is served as the source has it, in each encoding with a validator of its own', async () => {
    const { get } = await openGateway({ channels: { c: FIXTURE_CHANNEL } });
    const text = await readFile(join(FIXTURE_CHANNEL, 'linux-64', 'repodata.json'));
    const path = '/c/linux-64/repodata.json';
    const plain = await get(path);
    expect(plain.status).toBe(200);
    expect(plain.headers.get('content-type')).toBe('application/json');
    expect(plain.headers.get('cache-control')).toBe('max-age=30');
    expect(plain.headers.get('vary')).toBe('accept-encoding');
    expect(await bytesOf(plain)).toEqual(text);
    const gzip = await get(path, { 'accept-encoding': 'gzip' });
    expect(gzip.headers.get('content-encoding')).toBe('gzip');
    expect(gunzipSync(await bytesOf(gzip))).toEqual(text);
    const zstd = await get(path, { 'accept-encoding': 'gzip, zstd' });
    expect(zstd.headers.get('content-encoding')).toBe('zstd');
    expect(Buffer.from(await decompressZstd(await bytesOf(zstd), 2 ** 30, 'it'))).toEqual(text);
    const compressed = await get(`${path}.zst`, { 'accept-encoding': 'gzip, zstd' });
    expect(compressed.headers.get('content-encoding')).toBeNull();
    expect(await bytesOf(compressed)).toEqual(
      await readFile(join(FIXTURE_CHANNEL, 'linux-64', 'repodata.json.zst')),
    );
    const etags = [plain, gzip, zstd].map(({ headers }) => headers.get('etag'));
    expect(new Set(etags).size).toBe(3);
    for (const [index, encoding] of ['identity', 'gzip', 'zstd'].entries()) {
      const again = await get(path, { 'accept-encoding': encoding, 'if-none-match': etags[index] ?? '' });
      expect(again.status).toBe(304);
    }
    expect((await get(path, { range: 'bytes=0-9' })).status).toBe(206);
    expect((await get(path, { range: 'bytes=0-9', 'accept-encoding': 'gzip' })).status).toBe(200);
    const head = await get(path, {}, 'HEAD');
    expect(head.headers.get('content-length')).toBe(String(text.byteLength));
    expect(head.body).toBeNull();
  });

  test('that a channel does without is 404, and what its subdirs have is there', async () => {
    const { get } = await openGateway({ channels: { c: FIXTURE_CHANNEL } });
    for (const path of ['linux-64/run_exports.json', 'linux-64/run_exports.json.zst', 'channeldata.json'])
      expect([path, (await get(`/c/${path}`)).status]).toEqual([path, 200]);
    for (const path of [
      ...['noarch/current_repodata.json', 'notices.json', 'win-64/repodata.json', 'noarch/repodata.json.bz2'],
      ...['noarch/repodata.jlap', 'noarch/channeldata.json', 'run_exports.json', 'x', ''],
    ])
      expect([path, (await get(`/c/${path}`)).status]).toEqual([path, 404]);
    expect((await get('/d/noarch/repodata.json')).status).toBe(404);
    expect((await get('/c/noarch/repodata.json', {}, 'PUT')).status).toBe(405);
  });

  test('of noarch is there for a channel that has other subdirs, and for nothing else', async () => {
    const folder = await tempFolder();
    await cp(join(FIXTURE_CHANNEL, 'linux-64'), join(folder, 'some', 'linux-64'), { recursive: true });
    await cp(join(FIXTURE_CHANNEL, 'linux-64', 'repodata.json'), join(folder, 'none', 'x'), {
      recursive: true,
    });
    await using server = await serveChannel(join(folder, 'some'));
    const client = openTestClient();
    const web = () => new HttpChannel(new URL(server.url), client.send);
    const { get } = await openGateway({
      channels: { some: join(folder, 'some'), none: join(folder, 'none'), web },
    });
    const empty = { info: { subdir: 'noarch' }, packages: {}, 'packages.conda': {} };
    expect(await (await get('/some/noarch/repodata.json')).json()).toEqual(empty);
    expect(await (await get('/web/noarch/repodata.json')).json()).toEqual(empty);
    expect((await get('/none/noarch/repodata.json')).status).toBe(404);
  });

  test('never leads clients elsewhere, and archives are had from where the source has them', async () => {
    const folder = await tempFolder();
    const channel = join(folder, 'channel');
    const [near, far] = [smallConda({ name: 'near' }), smallConda({ name: 'far' })];
    await offer(channel, near, far);
    const file = join(channel, 'noarch', 'repodata.json');
    const repodata = JSON.parse(await readFile(file, 'utf8')) as {
      info: Record<string, unknown>;
      'packages.conda': Record<string, Record<string, unknown>>;
    };
    repodata.info['channel_relations'] = { base: '../neighbour' };
    const record = repodata['packages.conda'][far.filename];
    if (record !== undefined) record['url'] = `../elsewhere/${far.filename}`;
    await writeFile(file, JSON.stringify(repodata));
    await rm(`${file}.zst`, { force: true });
    await cp(join(channel, 'noarch', far.filename), join(channel, 'elsewhere', far.filename));
    await rm(join(channel, 'noarch', far.filename));
    await using server = await serveChannel(channel);
    const client = openTestClient();
    const { get, getMade } = await openGateway({
      channels: { c: () => new HttpChannel(new URL(server.url), client.send) },
    });
    const served = await (await get('/c/noarch/repodata.json')).text();
    expect(served).not.toMatch(/"url"|channel_relations|elsewhere/);
    for (const { filename, bytes } of [near, far]) {
      const response = await get(`/c/noarch/${filename}`);
      expect([filename, response.status]).toEqual([filename, 200]);
      expect(await bytesOf(response)).toEqual(Buffer.from(bytes));
    }
    const index = await readShardIndex(
      await bytesOf(await getMade('/c/noarch/repodata_shards.msgpack.zst')),
      'noarch',
      'it',
    );
    const digest = index.shards.get('far') ?? 'sha256:';
    const bytes = await bytesOf(await get(`/c/noarch/shards/${digestHex(digest)}.msgpack.zst`));
    const shard = await readShard(bytes, { name: 'far', digest });
    expect(shard['packages.conda'].get(far.filename)).not.toHaveProperty('url');
  });
});

describe('shards', () => {
  test('say what the repodata says, are made once and stay there when it changes', async () => {
    const folder = await tempFolder();
    await offer(folder, smallConda({ name: 'one' }));
    let now = Date.now();
    const { get, getMade } = await openGateway({ channels: { c: folder }, now: () => now });
    const path = '/c/noarch/repodata_shards.msgpack.zst';
    const first = await getMade(path);
    expect(first.headers.get('cache-control')).toBe('max-age=60');
    const index = await readShardIndex(await bytesOf(first), 'noarch', 'it');
    expect(index.info).toMatchObject({ subdir: 'noarch', base_url: '', shards_base_url: './shards/' });
    const shardPath = `/c/noarch/shards/${digestHex(index.shards.get('one') ?? 'sha256:')}.msgpack.zst`;
    const shard = await get(shardPath);
    expect(shard.headers.get('cache-control')).toContain('immutable');
    const etag = first.headers.get('etag');
    expect((await get(path, { 'if-none-match': etag ?? '' })).status).toBe(304);
    await offer(folder, smallConda({ name: 'two' }));
    now += 31_000;
    await get('/c/noarch/repodata.json');
    const second = await readShardIndex(await bytesOf(await getMade(path)), 'noarch', 'it');
    expect([...second.shards.keys()]).toEqual(['two']);
    expect((await get(shardPath)).status).toBe(200);
    expect((await get(`/c/noarch/shards/${'0'.repeat(64)}.msgpack.zst`)).status).toBe(404);
  });
});

describe('archives', () => {
  test('come from image layouts and folders with range, validator and as they are', async () => {
    const store = await mirroredFixture();
    const { get } = await openGateway({
      channels: { stored: () => new OciChannel(store), plain: FIXTURE_CHANNEL },
    });
    const expected = await readFile(join(FIXTURE_CHANNEL, 'noarch', NOARCH_ARCHIVE));
    for (const name of ['stored', 'plain']) {
      const path = `/${name}/noarch/${NOARCH_ARCHIVE}`;
      const head = await get(path, {}, 'HEAD');
      expect(head.headers.get('content-length')).toBe(String(expected.byteLength));
      expect(head.headers.get('etag')).toBe(`"sha256:${sha256(expected)}"`);
      const whole = await get(path);
      expect(whole.headers.get('etag')).toBe(`"sha256:${sha256(expected)}"`);
      expect(await bytesOf(whole)).toEqual(expected);
      const part = await get(path, { range: 'bytes=-7' });
      expect(part.status).toBe(206);
      expect(await bytesOf(part)).toEqual(expected.subarray(-7));
      expect((await get(path, { range: 'bytes=999999999-' })).status).toBe(416);
      expect((await get(`/${name}/linux-64/ferry-lib-1%212.0-h0_1.tar.bz2`)).status).toBe(200);
    }
  });

  test('that are not listed are 404, and that are listed and missing are not', async () => {
    const folder = join(await tempFolder(), 'channel');
    const [kept, lost, unlisted] = [
      smallConda({ name: 'kept' }),
      smallConda({ name: 'lost' }),
      smallTarBz2(),
    ];
    await offer(folder, kept, lost);
    await rm(join(folder, 'noarch', lost.filename));
    await writeFile(join(folder, 'noarch', unlisted.filename), unlisted.bytes);
    const { get } = await openGateway({ channels: { c: folder } });
    expect((await get(`/c/noarch/${kept.filename}`)).status).toBe(200);
    expect((await get('/c/noarch/nowhere-1-0.conda')).status).toBe(404);
    expect((await get('/c/win-64/nowhere-1-0.conda')).status).toBe(404);
    expect((await get(`/c/noarch/${lost.filename}`)).status).toBe(502);
    // What is gone from the index stays fetchable.
    const there = await get(`/c/noarch/${unlisted.filename}`);
    expect(await bytesOf(there)).toEqual(Buffer.from(unlisted.bytes));
  });

  test('with wrong bytes are never given', async () => {
    const folder = join(await tempFolder(), 'channel');
    const archive = smallConda();
    await offer(folder, archive);
    const broken = Buffer.from(archive.bytes);
    broken[10] = (broken[10] ?? 0) ^ 1;
    await writeFile(join(folder, 'noarch', archive.filename), broken);
    const { get } = await openGateway({ channels: { c: folder } });
    const path = `/c/noarch/${archive.filename}`;
    const refused = await get(path);
    expect(refused.status).toBe(502);
    expect(await refused.text()).toContain('DIGEST_MISMATCH');
    await writeFile(join(folder, 'noarch', archive.filename), archive.bytes);
    expect(await bytesOf(await get(path))).toEqual(Buffer.from(archive.bytes));
  });

  test('of which only the md5 is known are checked by that', async () => {
    const folder = join(await tempFolder(), 'channel');
    const [good, bad] = [smallConda({ name: 'good' }), smallConda({ name: 'bad' })];
    await offer(folder, good, bad);
    const file = join(folder, 'noarch', 'repodata.json');
    const repodata = await readFile(file, 'utf8');
    await rm(`${file}.zst`, { force: true });
    await writeFile(
      file,
      repodata.replaceAll(/"sha256": ?"[0-9a-f]{64}",?/g, '').replaceAll(/,(\s*\})/g, '$1'),
    );
    await writeFile(join(folder, 'noarch', bad.filename), good.bytes);
    const { get } = await openGateway({ channels: { c: folder } });
    expect(await bytesOf(await get(`/c/noarch/${good.filename}`))).toEqual(Buffer.from(good.bytes));
    expect((await get(`/c/noarch/${bad.filename}`)).status).toBe(502);
  });

  test('are fetched once for all who ask at the same time', async () => {
    await using server = await serveChannel(FIXTURE_CHANNEL);
    const client = openTestClient();
    const { get } = await openGateway({
      channels: { c: () => new HttpChannel(new URL(server.url), client.send) },
    });
    const path = `/c/noarch/${NOARCH_ARCHIVE}`;
    const all = await Promise.all(Array.from({ length: 200 }, async () => bytesOf(await get(path))));
    const expected = await readFile(join(FIXTURE_CHANNEL, 'noarch', NOARCH_ARCHIVE));
    for (const bytes of all) expect(bytes.equals(expected)).toBe(true);
    const asked = server.requests.filter(({ path: one }) => one.endsWith(NOARCH_ARCHIVE));
    expect(asked).toHaveLength(1);
  });

  test('have their attestation sidecars beside them', async () => {
    const folder = join(await tempFolder(), 'channel');
    const sidecar = Buffer.from('[{"a":"bundle"}]');
    const [archive, other] = [attested(smallConda(), sidecar), smallConda({ name: 'other' })];
    await offer(folder, archive, other);
    await writeSidecars(folder, [archive]);
    const { get } = await openGateway({ channels: { c: folder } });
    const path = `/c/noarch/${archive.filename}.sigs`;
    const named = await get(`${path}.${sha256(sidecar)}`);
    expect(named.headers.get('cache-control')).toContain('immutable');
    expect(await bytesOf(named)).toEqual(sidecar);
    const current = await get(path);
    expect(current.headers.get('cache-control')).toBe('no-cache');
    expect(await bytesOf(current)).toEqual(sidecar);
    expect((await get(`${path}.${'0'.repeat(64)}`)).status).toBe(404);
    expect((await get(`/c/noarch/${other.filename}.sigs`)).status).toBe(404);
    await rm(join(folder, 'noarch', `${archive.filename}.sigs.${sha256(sidecar)}`));
    const { get: again } = await openGateway({ channels: { c: folder } });
    expect((await again(`/c/noarch/${archive.filename}.sigs`)).status).toBe(502);
  });
});

describe('labels', () => {
  test('are channels below their channel, and absent ones are 404', async () => {
    const folder = join(await tempFolder(), 'channel');
    await cp(FIXTURE_CHANNEL, folder, { recursive: true });
    await offer(join(folder, 'label', 'dev'), smallConda({ name: 'next' }));
    const { get, gateway } = await openGateway({ channels: { c: folder } });
    const dev = (await (await get('/c/label/dev/noarch/repodata.json')).json()) as Record<string, object>;
    expect(Object.keys(dev['packages.conda'] ?? {})).toEqual(['next-1.0-0.conda']);
    expect((await get('/c/label/dev/noarch/next-1.0-0.conda')).status).toBe(200);
    expect((await get('/c/label/main/noarch/repodata.json')).status).toBe(200);
    for (let label = 0; label < 100; label += 1)
      expect((await get(`/c/label/l${label}/noarch/repodata.json`)).status).toBe(404);
    expect([...gateway.channels.opened()].length).toBeLessThanOrEqual(33);
  });
});

describe('a channel that cannot be read', () => {
  test('is no empty channel: what may be listed there is 502 or 503', async () => {
    const failing = {
      url: 'https://registry.example.org/c',
      subdirs: () => Promise.reject(new FerryError('DENIED', 'no')),
      openMetadata: () => Promise.reject(new FerryError('DENIED', 'no')),
      openArchive: () => {
        throw new FerryError('DENIED', 'no');
      },
    };
    const { get } = await openGateway({ channels: { c: () => failing } });
    for (const path of ['noarch/repodata.json', 'linux-64/repodata.json', 'noarch/x-1-0.conda'])
      expect([path, (await get(`/c/${path}`)).status]).toEqual([path, 502]);
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(503);
  });

  test('is served as it was last, and says so', async () => {
    const folder = join(await tempFolder(), 'channel');
    await cp(FIXTURE_CHANNEL, folder, { recursive: true });
    let isDown = false;
    await using server = await serveChannel(folder, {
      intercept: (_, response) => {
        if (isDown) response.writeHead(500).end();
        return isDown;
      },
    });
    const client = openTestClient({ maxAttempts: 1 });
    let now = Date.now();
    const { get } = await openGateway({
      channels: { c: () => new HttpChannel(new URL(server.url), client.send) },
      now: () => now,
    });
    const before = await bytesOf(await get('/c/noarch/repodata.json'));
    isDown = true;
    now += 40_000;
    const stale = await get('/c/noarch/repodata.json');
    expect(stale.status).toBe(200);
    expect(await bytesOf(stale)).toEqual(before);
    expect(stale.headers.get('cache-status')).toBe('conda-ferry; hit; ttl=-40; detail=REGISTRY_REFUSED');
    expect(stale.headers.get('cache-control')).toBe('no-cache');
    expect((await get(`/c/noarch/${NOARCH_ARCHIVE}`)).status).toBe(502);
    isDown = false;
    now += 40_000;
    expect((await get('/c/noarch/repodata.json')).headers.get('cache-status')).toBeNull();
    expect((await get(`/c/noarch/${NOARCH_ARCHIVE}`)).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
  });
});

describe('pages for people', () => {
  test('show what is in an archive of any channel', async () => {
    const store = await mirroredFixture();
    const { get, getMade } = await openGateway({
      channels: { stored: () => new OciChannel(store), plain: FIXTURE_CHANNEL },
    });
    for (const name of ['stored', 'plain']) {
      await getMade(`/${name}/noarch/repodata_shards.msgpack.zst`);
      const page = await get(`/${name}/-/ferry-tool/noarch/${NOARCH_ARCHIVE}`, { accept: 'text/html' });
      expect(page.status).toBe(200);
      const text = await page.text();
      expect(text).toContain(sha256(await readFile(join(FIXTURE_CHANNEL, 'noarch', NOARCH_ARCHIVE))));
      expect(text).toMatch(/site-packages|ferry/);
      expect(text).not.toContain('not available');
    }
  });
});

describe('a registry that keeps its blobs elsewhere', () => {
  test('has clients sent there where that is wanted, or where they can be expected to get there', async () => {
    const ghcr = await startGhcr();
    onTestFinished(() => ghcr[Symbol.asyncDispose]());
    const mirror = ghcrStore(ghcr, 'redirected');
    await mirrorFolder(FIXTURE_CHANNEL, mirror);
    const expected = await readFile(join(FIXTURE_CHANNEL, 'noarch', NOARCH_ARCHIVE));
    const path = `/c/noarch/${NOARCH_ARCHIVE}`;
    for (const mode of ['auto', 'proxy'] as const) {
      const { get } = await openGateway({ channels: { c: () => new OciChannel(mirror.store) }, mode });
      // Nobody is sent to an address without TLS unasked.
      expect(await bytesOf(await get(path))).toEqual(expected);
    }
    const { get } = await openGateway({
      channels: { c: () => new OciChannel(mirror.store) },
      mode: 'redirect',
    });
    expect((await get(path, {}, 'HEAD')).headers.get('content-length')).toBe(String(expected.byteLength));
    const sent = await get(path);
    expect(sent.status).toBe(307);
    expect(sent.headers.get('cache-control')).toContain('no-store');
    const elsewhere = sent.headers.get('location') ?? '';
    expect(new URL(elsewhere).host).not.toBe(ghcr.host);
    expect(await bytesOf(await fetch(elsewhere))).toEqual(expected);
    expect((await get('/c/osx-64/repodata.json')).status).toBe(404);
    expect((await get('/c/noarch/current_repodata.json')).status).toBe(404);
  });
});
