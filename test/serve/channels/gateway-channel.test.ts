import { cp, rename, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { openerOf } from '#ferry/io/bytes.js';
import { FIXTURE_CHANNEL } from '../../support/channels.js';
import { openTestClient } from '../../support/http.js';
import { layoutStore, mirrorFolder } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import { openGateway } from '../open-gateway.js';

const TIMES = { freshMs: 1000, patienceMs: 10_000, firstMs: 10_000, retryMs: 0, limitMs: 20_000 };

/** A clock that the test moves. */
function clock() {
  let passedMs = 0;
  return { now: () => Date.now() + passedMs, pass: (ms: number) => (passedMs += ms) };
}

/** A channel of one subdir whose repodata is told anew each time it is asked for. */
function tellingSource(tell: () => object): ChannelSource {
  return {
    url: 'memory:c',
    subdirs: async () => Promise.resolve(['noarch']),
    openMetadata: async (path) => {
      if (path !== 'noarch/repodata.json') return Promise.resolve({ status: 'absent' });
      const text = Buffer.from(JSON.stringify(tell()));
      return Promise.resolve({ status: 'found', body: openerOf(text)(), validators: {} });
    },

    openArchive: async function* () {
      throw await Promise.resolve(new Error('nobody asks for archives'));
    },
  };
}

/** Repodata of some megabytes, which takes a while to compress. */
function largeRepodata(build: number): object {
  const packages = Object.fromEntries(
    Array.from({ length: 12_000 }, (_, index) => [
      `p${String(index)}-1-${String(build)}.tar.bz2`,
      { name: `p${String(index)}`, version: '1', build: String(build), build_number: build, depends: [] },
    ]),
  );
  return { info: { subdir: 'noarch' }, packages, 'packages.conda': {} };
}

describe('repodata that is replaced while somebody waits for a form of it', () => {
  test('is answered for all the same', { timeout: 60_000 }, async () => {
    let build = 0;
    const { now, pass } = clock();
    const source = tellingSource(() => largeRepodata(build));
    const { get, gateway } = await openGateway({ channels: { c: () => source }, times: TIMES, now });
    expect((await get('/c/noarch/repodata.json')).status).toBe(200);
    const channel = gateway.channels.get('c', undefined);
    await (await channel?.generation('noarch'))?.whenSharded();
    const waiting = get('/c/noarch/repodata.json', { 'accept-encoding': 'gzip' });
    build = 1;
    pass(2000);
    const next = get('/c/noarch/repodata.json');
    const [old, fresh] = await Promise.all([waiting, next]);
    expect([old.status, fresh.status]).toEqual([200, 200]);
    await Promise.all([old.arrayBuffer(), fresh.arrayBuffer()]);
  });
});

describe('a channel that vanishes as a whole', () => {
  test('in a folder keeps what was there', async () => {
    const folder = join(await tempFolder(), 'channel');
    await cp(FIXTURE_CHANNEL, folder, { recursive: true });
    const { now, pass } = clock();
    const { get } = await openGateway({ channels: { c: folder }, times: TIMES, now });
    for (const subdirs of [['noarch'], ['noarch', 'linux-64']]) {
      const before = await Promise.all(
        subdirs.map(async (subdir) => (await get(`/c/${subdir}/repodata.json`)).text()),
      );
      await rename(folder, `${folder}.away`);
      pass(5000);
      for (const [index, subdir] of subdirs.entries()) {
        const response = await get(`/c/${subdir}/repodata.json`);
        expect(response.status).toBe(200);
        expect(response.headers.get('warning')).toMatch(/^111 /);
        expect(await response.text()).toBe(before[index]);
      }
      await rename(`${folder}.away`, folder);
      pass(5000);
      expect((await get('/c/noarch/repodata.json')).headers.get('warning')).toBeNull();
    }
  });

  test('in a folder of layouts keeps what was there', async () => {
    const folder = join(await tempFolder(), 'store');
    const mirror = layoutStore(folder);
    await mirrorFolder(FIXTURE_CHANNEL, mirror);
    const { now, pass } = clock();
    const { get } = await openGateway({
      channels: { c: () => new OciChannel(mirror.store) },
      times: TIMES,
      now,
    });
    const before = await (await get('/c/noarch/repodata.json')).text();
    await rename(folder, `${folder}.away`);
    pass(5000);
    const response = await get('/c/noarch/repodata.json');
    expect(response.headers.get('warning')).toMatch(/^111 /);
    expect(await response.text()).toBe(before);
  });
});

test('a subdir that is gone from a channel that is there is gone', async () => {
  const folder = join(await tempFolder(), 'channel');
  await cp(FIXTURE_CHANNEL, folder, { recursive: true });
  const { now, pass } = clock();
  const { get } = await openGateway({ channels: { c: folder }, times: TIMES, now });
  await (await get('/c/noarch/repodata.json')).text();
  await (await get('/c/linux-64/repodata.json')).text();
  await rm(join(folder, 'linux-64'), { recursive: true });
  pass(5000);
  expect((await get('/c/linux-64/repodata.json')).status).toBe(404);
});

test('an answer of the channel that is only looked at does not keep its connection', async () => {
  let open = 0;
  const server = createServer((request, response) => {
    if (request.url !== '/linux-64/repodata.json') {
      response.writeHead(404).end();
      return;
    }
    open += 1;
    response.once('close', () => (open -= 1));
    // More than the line takes at once.
    response.writeHead(200, { etag: '"1"' });
    response.write(Buffer.alloc(8_000_000, ' '));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const base = new URL(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`);
  const { send } = openTestClient();
  const { get } = await openGateway({ channels: { c: () => new HttpChannel(base, send) }, times: TIMES });
  const response = await get('/c/noarch/repodata.json');
  expect(await response.json()).toMatchObject({ info: { subdir: 'noarch' } });
  await expect.poll(() => open).toBe(0);
});

describe('a label that had to make room', () => {
  test('is opened again for those who still ask it', async () => {
    const folder = join(await tempFolder(), 'channel');
    await cp(FIXTURE_CHANNEL, folder, { recursive: true });
    await cp(FIXTURE_CHANNEL, join(folder, 'label', 'dev'), { recursive: true });
    const { gateway } = await openGateway({ channels: { c: folder } });
    const channel = gateway.channels.get('c', 'dev');
    await channel?.close();
    // What nobody would let go any more is not begun.
    await expect(channel?.generation('noarch')).rejects.toThrow();
    await expect(channel?.companion('channeldata.json')).rejects.toThrow();
    expect([...(channel?.known() ?? [])]).toEqual([]);
  });

  test('does not fail who waits for it', async () => {
    let open: (() => void) | undefined;
    const held = new Promise<void>((resolve) => (open = resolve));
    const told = tellingSource(() => largeRepodata(0));
    const slow: ChannelSource = {
      ...told,
      openMetadata: async (path, options) => {
        await Promise.race([
          held,
          new Promise((_, reject) => {
            const fail = (): void => {
              reject(options?.signal?.reason as Error);
            };
            options?.signal?.addEventListener('abort', fail, { once: true });
          }),
        ]);
        return told.openMetadata(path, options);
      },
    };
    const { get, gateway } = await openGateway({
      channels: { c: (label) => (label === 'dev' ? slow : told) },
    });
    const waiting = get('/c/label/dev/noarch/repodata.json');
    for (let index = 0; index < 32; index += 1) gateway.channels.get('c', `made-up-${String(index)}`);
    open?.();
    const response = await waiting;
    expect(response.status).toBe(200);
    await response.arrayBuffer();
  });
});

test('who makes up subdirs does not make a channel forget what is being read', async () => {
  let open: (() => void) | undefined;
  const held = new Promise<void>((resolve) => (open = resolve));
  const told = tellingSource(() => largeRepodata(0));
  const slow: ChannelSource = {
    ...told,
    openMetadata: async (path, options) => {
      if (path === 'noarch/repodata.json') await held;
      return told.openMetadata(path, options);
    },
  };
  const { gateway } = await openGateway({ channels: { c: () => slow } });
  const channel = gateway.channels.get('c', undefined);
  const waiting = channel?.generation('noarch');
  for (let index = 0; index < 500; index += 1) await channel?.generation(`made-up${String(index)}`);
  open?.();
  await waiting;
  expect([...(channel?.known() ?? [])].map(({ subdir }) => subdir)).toEqual(['noarch']);
});
