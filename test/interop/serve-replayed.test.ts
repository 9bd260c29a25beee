/**
 * Clients that no package registry has, as far as what they ask: conda of two ages and mamba, by http and by `oci://`. Each goes
 * its own way through what is there and what is not, and has to end with all that the source lists.
 */
import { readFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask } from '../support/ask.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import {
  listingOf,
  ReplayedConda,
  ReplayedMamba,
  ReplayedOciMamba,
  type Listing,
} from '../support/clients/replay.js';
import { serveStores, STORES, SUBDIRS, type ServedStores } from '../support/clients/served-stores.js';

let stores: ServedStores;
/** What the sources list, by `<name>/<subdir>`: all of it, and what is in the small repodata where there is one. */
const listed: Record<string, Listing> = {};
const current: Record<string, Listing> = {};
beforeAll(async () => {
  stores = await serveStores();
  for (const store of STORES) await stores.gateways[store].whenSharded(SUBDIRS);
  for (const place of SUBDIRS) {
    const [name = '', subdir = ''] = place.split('/');
    const source = `${stores.sources[name]!.url}/${subdir}`;
    listed[place] = listingOf((await ask(`${source}/repodata.json`)).body);
    const small = await ask(`${source}/current_repodata.json`);
    if (small.status === 200) current[place] = listingOf(small.body);
  }
  expect(Object.keys(current)).toContain('tools/linux-64');
  expect(Object.keys(current)).not.toContain('ferry/linux-64');
});
afterAll(async () => stores[Symbol.asyncDispose]());

const CLASSIC = ['current_repodata.json', 'repodata.json'] as const;

describe.each(STORES)('over a %s', (store) => {
  const channelOf = (name: string): string => `${stores.gateways[store].url}/${name}`;
  const subdirOf = (place: string): readonly [name: string, subdir: string] =>
    place.split('/') as [string, string];

  test.each([true, false])('conda finds what the source lists (zstd: %s)', async (usesZstd) => {
    const form = usesZstd ? '.zst' : '';
    for (const place of SUBDIRS) {
      const [name, subdir] = subdirOf(place);
      const conda = new ReplayedConda(channelOf(name), usesZstd);
      const small = current[place];
      const isSmall = small !== undefined;
      expect(await conda.notices()).toBe(false);
      expect(await conda.listing(subdir, CLASSIC), place).toEqual(small ?? listed[place]);
      const absent = isSmall
        ? []
        : [...(usesZstd ? ['current_repodata.json.zst'] : []), 'current_repodata.json'];
      expect(conda.client.lines.splice(0)).toEqual([
        `GET /${name}/notices.json 404`,
        ...absent.map((file) => `GET /${place}/${file} 404`),
        `GET /${place}/${isSmall ? 'current_repodata.json' : 'repodata.json'}${form} 200`,
      ]);
      // Where the small one does not suffice, it takes the whole.
      const whole = ['repodata.json'];
      expect(await conda.listing(subdir, whole)).toEqual(listed[place]);
      // Later on, it asks whether either changed.
      expect(await conda.listing(subdir, CLASSIC)).toEqual(small ?? listed[place]);
      expect(await conda.listing(subdir, whole)).toEqual(listed[place]);
      const answers = conda.client.lines.filter((line) => !line.endsWith(' 404'));
      expect(answers.map((line) => line.slice(-3))).toEqual([isSmall ? '200' : '304', '304', '304']);
    }
  });

  test('conda is told that a channel lacks a subdir, and a label', async () => {
    for (const channel of [channelOf('tools'), `${channelOf('tools')}/label/dev`, channelOf('nothing')]) {
      const conda = new ReplayedConda(channel, true);
      expect(await conda.listing('linux-ppc64le', CLASSIC)).toBeUndefined();
      expect(conda.client.lines.filter((line) => !line.endsWith(' 404'))).toEqual([]);
      expect(conda.client.lines.length).toBe(4);
    }
  });

  test('mamba takes the shards, and is not misled by the validators of repodata that it sends along', async () => {
    for (const place of SUBDIRS) {
      const [name, subdir] = subdirOf(place);
      const mamba = new ReplayedMamba(channelOf(name));
      expect(await mamba.probe(subdir)).toEqual({ zstd: true, shards: true });
      // As it did before it knew shards, or while there were none.
      expect(await mamba.repodata(subdir, 'zstd')).toEqual(listed[place]);
      const names = [
        ...new Set(Object.keys(listed[place]!).map((filename) => filename.split('-').slice(0, -2).join('-'))),
      ];
      expect(await mamba.shards(subdir, names)).toEqual(listed[place]);
      expect(mamba.client.lines.filter((line) => !line.endsWith(' 200'))).toEqual([]);
    }
  });

  test('mamba takes repodata, and is told when it has not changed', async () => {
    for (const form of ['zstd', 'plain'] as const) {
      for (const place of SUBDIRS) {
        const [name, subdir] = subdirOf(place);
        const mamba = new ReplayedMamba(channelOf(name));
        expect(await mamba.repodata(subdir, form)).toEqual(listed[place]);
        expect(await mamba.repodata(subdir, form)).toBe('unchanged');
        // What it has is of one form, and it asks for the other.
        await mamba.repodata(subdir, form === 'zstd' ? 'plain' : 'zstd');
        expect(mamba.client.lines.map((line) => line.slice(-3))).toEqual(['200', '304', '200']);
      }
    }
  });

  test('mamba is told that a channel lacks a subdir', async () => {
    const mamba = new ReplayedMamba(channelOf('tools'));
    expect(await mamba.probe('linux-ppc64le')).toEqual({ zstd: false, shards: false });
    await expect(mamba.repodata('linux-ppc64le', 'plain')).rejects.toThrow('mamba ends at 404');
  });

  test('probes for patches of repodata are answered with 404, with a range or without', async () => {
    for (const subdir of ['linux-64', 'noarch']) {
      const url = `${channelOf('ferry')}/${subdir}/repodata.jlap`;
      for (const headers of [{}, { range: 'bytes=0-' }, { range: 'bytes=1024-' }])
        expect((await ask(url, { headers })).status).toBe(404);
      expect((await ask(url, { method: 'HEAD' })).status).toBe(404);
    }
  });

  test('mamba finds by `oci://` what the source lists, and every archive of it', async () => {
    for (const place of SUBDIRS) {
      const [name, subdir] = subdirOf(place);
      const mamba = new ReplayedOciMamba(stores.gateways[store].url, name);
      expect(await mamba.has(subdir, 'repodata.json.zst')).toBe(false);
      expect(await mamba.has(subdir, 'repodata_shards.msgpack.zst')).toBe(false);
      expect(await mamba.listing(subdir)).toEqual(listed[place]);
      for (const [filename, sha256] of Object.entries(listed[place]!)) {
        const bytes = await mamba.archive(subdir, filename, sha256);
        expect(createHash('sha256').update(bytes).digest('hex'), filename).toBe(sha256);
      }
      const absent = mamba.client.lines.filter((line) => !line.endsWith(' 200'));
      expect(absent).toEqual([
        `GET /v2/${place}/repodata.json.zst/manifests/latest 404`,
        `GET /v2/${place}/repodata_shards.msgpack.zst/manifests/latest 404`,
      ]);
    }
  });

  test('an archive may be asked for by its name with and without escapes', async () => {
    const filename = 'ferry-lib-1!2.0-h0_1.conda';
    const bytes = await readFile(join(FIXTURE_CHANNEL, 'linux-64', filename));
    for (const name of [filename, filename.replace('!', '%21'), filename.replace('_', '%5F')]) {
      const reply = await ask(`${channelOf('ferry')}/linux-64/${name}`);
      expect(reply.status === 200 ? reply.body.equals(bytes) : reply.status, name).toBe(true);
    }
  });

  // The last one: nobody asks it any more.
  test('it ends in order when it is told to', async () => {
    expect(await stores.gateways[store].stop()).toBe(0);
  });
});
