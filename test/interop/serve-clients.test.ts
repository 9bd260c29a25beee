/** rattler, in Python and in WebAssembly, of today and of 2024, against the gateway: what it solves, installs and asks for. */
import { join } from 'node:path';
import { simpleSolve, type Platform } from '@conda-org/rattler';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HAS_REAL_CHANNELS } from '../support/channels.js';
import { clientPython, type ClientPython } from '../support/clients/python.js';
import {
  RATTLER_RELEASES,
  rattlerInstalls,
  type ChosenPackage,
  type RattlerJob,
} from '../support/clients/rattler-installer.js';
import {
  serveStores,
  STORES,
  SUBDIRS,
  type ServedStores,
  type Store,
} from '../support/clients/served-stores.js';
import { TOOLS_CHOSEN, TOOLS_FILES, TOOLS_SPECS } from '../support/clients/tools-channel.js';
import type { SeenByGateway } from '../support/gateway.js';
import { tempFolder } from '../support/temp.js';

const PLATFORMS = ['linux-64', 'noarch'] as const satisfies readonly Platform[];

/** Solved one by one: the channels, first one first, and the specs. */
const PROBLEMS: readonly (readonly [channels: readonly string[], specs: readonly string[]])[] = [
  [['tools'], TOOLS_SPECS],
  [['tools'], ['tools-app <2']],
  [
    ['tools', 'ferry'],
    ['tools-app', 'ferry-lib', 'ferry-data'],
  ],
  [['ferry'], ['ferry-lib <1!0']],
  [['ferry'], ['_ferry_mutex', 'ferry.dotted_name', 'ferry-local', 'ferry-links']],
  ...(HAS_REAL_CHANNELS
    ? [
        [
          ['recipes', 'ferry'],
          ['dependent', 'small-executable', 'ferry-lib'],
        ] as const,
      ]
    : []),
];

let stores: ServedStores;
const pythons: Record<string, ClientPython> = {};
beforeAll(async () => {
  stores = await serveStores();
  for (const release of RATTLER_RELEASES)
    pythons[release] = await clientPython(join(stores.folder, release), [release]);
  for (const store of STORES) await stores.gateways[store].whenSharded(SUBDIRS);
});
afterAll(async () => stores[Symbol.asyncDispose]());

const [today, middle, old] = RATTLER_RELEASES;
const install = async (release: string, job: RattlerJob) => rattlerInstalls(pythons[release]!, job);
const urlsOf = (store: Store, channels: readonly string[]): string[] =>
  channels.map((name) => `${stores.gateways[store].url}/${name}`);
const sourcesOf = (channels: readonly string[]): string[] =>
  channels.map((name) => stores.sources[name]!.url);
const withoutUrl = (chosen: readonly ChosenPackage[]) => chosen.map(({ url: _, ...others }) => others);

/** Requests as `GET /path 200`, sorted: they go out at once, in no order. */
const linesOf = (requests: readonly SeenByGateway[]): string[] =>
  requests.map(({ method, path, status }) => `${method} ${decodeURIComponent(path)} ${status}`).sort();

/** An archive may be answered itself, or with where it is. */
const isArchive = ({ path }: SeenByGateway): boolean => /\.(?:conda|tar\.bz2)$/.test(path);

/** What is no archive, as lines; of the archives, each was asked for once and was had. */
function metadataLines(requests: readonly SeenByGateway[], chosen: readonly ChosenPackage[]): string[] {
  const archives = requests.filter(isArchive);
  expect(archives.map(({ path }) => decodeURIComponent(path.replace(/^.*\//, ''))).sort()).toEqual(
    chosen.map(({ filename }) => filename).sort(),
  );
  for (const { status } of archives) expect([200, 307]).toContain(status);
  return linesOf(requests.filter((request) => !isArchive(request)));
}

describe.each(STORES)('over a %s', (store) => {
  test('rattler for JavaScript solves as it does from the source', async () => {
    for (const [channels, specs] of PROBLEMS) {
      const solve = async (urls: readonly string[]) => {
        const packages = await simpleSolve([...specs], [...urls], [...PLATFORMS], []);
        return packages
          .map(({ filename, subdir, sha256 }) => ({ filename, subdir, sha256 }))
          .sort(byFilename);
      };
      expect(await solve(urlsOf(store, channels)), specs.join()).toEqual(await solve(sourcesOf(channels)));
    }
  });

  test.each([
    [today, true],
    [today, false],
    [middle, true],
    [old, false],
  ])('%s installs what it does from the source (sharded: %s)', async (release, sharded) => {
    for (const [channels, specs] of PROBLEMS) {
      const served = urlsOf(store, channels);
      const [here, there] = [
        await install(release, { channels: served, specs, sharded }),
        await install(release, { channels: sourcesOf(channels), specs, sharded }),
      ];
      expect(withoutUrl(here.chosen), specs.join()).toEqual(withoutUrl(there.chosen));
      expect(here.files).toEqual(there.files);
      expect(here.meta).toEqual(there.meta);
      expect(here.chosen.length).toBeGreaterThan(0);
      for (const { url } of here.chosen) expect(served.some((base) => url.startsWith(`${base}/`))).toBe(true);
    }
  });

  test('an installed prefix has the files of the packages, byte for byte', async () => {
    const outcome = await install(today, { channels: urlsOf(store, ['tools']), specs: TOOLS_SPECS });
    expect(outcome.chosen.map(({ filename }) => filename)).toEqual(TOOLS_CHOSEN);
    expect(outcome.files).toEqual(TOOLS_FILES);
    expect(outcome.meta).toEqual(
      TOOLS_CHOSEN.map((filename) => filename.replace(/\.(?:conda|tar\.bz2)$/, '')),
    );
  });

  test('with shards it asks for the index of each subdir and a shard for each name', async () => {
    const { gateways } = stores;
    gateways[store].take();
    const { chosen } = await install(today, { channels: urlsOf(store, ['tools']), specs: TOOLS_SPECS });
    const lines = metadataLines(gateways[store].take(), chosen);
    const shards = lines.filter((line) => / \/tools\/[^/]+\/.*[0-9a-f]{64}\.msgpack\.zst 200$/.test(line));
    expect(shards.length).toBe(TOOLS_CHOSEN.length);
    expect(new Set(shards).size).toBe(shards.length);
    expect(lines.filter((line) => !shards.includes(line))).toEqual([
      'GET /tools/linux-64/repodata_shards.msgpack.zst 200',
      'GET /tools/noarch/repodata_shards.msgpack.zst 200',
    ]);
  });

  test('without shards it probes for compressed repodata, takes zstd, and is told what is not there', async () => {
    const { gateways } = stores;
    const job = { channels: urlsOf(store, ['tools']), specs: TOOLS_SPECS, sharded: false };
    for (const [release, probes] of [
      [today, ['repodata.json.bz2']],
      [old, ['repodata.jlap', 'repodata.json.bz2']],
    ] as const) {
      gateways[store].take();
      const { chosen } = await install(release, job);
      const lines = metadataLines(gateways[store].take(), chosen);
      const expected = ['linux-64', 'noarch'].flatMap((subdir) => [
        `GET /tools/${subdir}/repodata.json.zst 200`,
        `HEAD /tools/${subdir}/repodata.json.zst 200`,
        ...probes.map((file) => `HEAD /tools/${subdir}/${file} 404`),
      ]);
      expect(lines, release).toEqual(expected.sort());
    }
  });

  test('of a subdir that the channel does not have, each probe is told so', async () => {
    const { gateways } = stores;
    gateways[store].take();
    const platforms = ['linux-aarch64', 'noarch'];
    const channels = urlsOf(store, ['tools']);
    const { chosen } = await install(today, { channels, specs: ['tools-data'], platforms });
    expect(chosen.map(({ filename }) => filename)).toEqual(['tools-data-2.0-0.conda']);
    const lines = metadataLines(gateways[store].take(), chosen);
    expect(lines.filter((line) => line.includes('/linux-aarch64/'))).toEqual([
      'GET /tools/linux-aarch64/repodata.json 404',
      'GET /tools/linux-aarch64/repodata_shards.msgpack.zst 404',
      'HEAD /tools/linux-aarch64/repodata.json.bz2 404',
      'HEAD /tools/linux-aarch64/repodata.json.zst 404',
    ]);
  });

  test('a second run has its repodata in its cache, and asks for none of it again', async () => {
    const { gateways } = stores;
    const channels = urlsOf(store, ['tools']);
    for (const sharded of [true, false]) {
      const cache = await tempFolder();
      const job = { channels, specs: TOOLS_SPECS, sharded, cache };
      const first = await install(today, job);
      gateways[store].take();
      const second = await install(today, job);
      expect(second.chosen).toEqual(first.chosen);
      const lines = metadataLines(gateways[store].take(), second.chosen);
      // It may ask whether anything changed, and nothing did.
      expect(lines.filter((line) => !line.endsWith(' 304'))).toEqual([]);
    }
  });

  test('the access log has every request of all of them, and none that failed', async () => {
    const { log, seen } = await stores.gateways[store].logged();
    expect(seen.length).toBeGreaterThan(100);
    expect(linesOf(log)).toEqual(linesOf(seen));
    expect(linesOf(log).filter((line) => !/ (?:200|206|304|307|404)$/.test(line))).toEqual([]);
  });
});

function byFilename(a: { readonly filename: string }, b: { readonly filename: string }): number {
  return a.filename < b.filename ? -1 : 1;
}
