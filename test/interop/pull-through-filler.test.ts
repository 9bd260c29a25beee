import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger, writeLedger } from '#ferry/artifact/ledger.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { readChannelRecords } from '#ferry/mirror/read-channel.js';
import { verifyChannel } from '#ferry/mirror/verify/verify.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import type { FillableArchive } from '#ferry/serve/pull-through/fill-list.js';
import { PullThroughSource } from '#ferry/serve/pull-through/pull-through-source.js';
import { StoreFiller } from '#ferry/serve/pull-through/store-filler.js';
import { rejection } from '../contracts/artifacts.js';
import { faultsOf, layoutReader, listedRecords, registryReader } from '../support/audit.js';
import { HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { failingRegistry } from '../support/failing-registry.js';
import { shardsOf, writeShards } from '../support/shards.js';
import { tempFolder } from '../support/temp.js';
import { watchedRegistry } from '../support/watched-registry.js';
import { mirrorChannel, workers } from '../support/workers.js';
import { conda, noteOf, Scene, type Archive, type Subdirs } from '../serve/pull-through/scene.js';

const [aa, bb, cc] = [conda('aa'), conda('bb'), conda('cc')];
const here = (...archives: readonly Archive[]): Subdirs => ({ noarch: archives });

async function mirror(scene: Scene, options: object = {}): Promise<void> {
  await mirrorChannel({
    source: scene.upstream(),
    destination: scene.store(),
    subdirs: ['noarch'],
    ...options,
  });
}

describe('what was served is put into the store', () => {
  test('with the records of the upstream, bytes and all, and an audit finds nothing', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    const { filler, events } = scene.filler();
    filler.note(noteOf(aa));
    filler.note(noteOf(cc));
    await filler.flush();
    expect(events).toEqual(['filled noarch: 2']);
    expect(await scene.listed()).toEqual([aa.filename, cc.filename]);
    const upstream = JSON.parse(await scene.upstreamText()) as Listing;
    const published = JSON.parse(await scene.published()) as Listing;
    for (const { filename } of [aa, cc])
      expect(JSON.stringify(published['packages.conda'][filename])).toBe(
        JSON.stringify(upstream['packages.conda'][filename]),
      );
    expect(await scene.faults('noarch')).toEqual([]);
    expect(filler.stats).toEqual({ waiting: 0, put: 2, failed: 0, failedRuns: 0, forgotten: 0 });
    const ledger = await readLedger(scene.store(), 'noarch');
    expect(ledger?.role).toEqual({ kind: 'mirror', source: scene.server.url });
    expect(ledger?.complete).toBe(true);
  });

  test('after five quiet seconds, and thirty seconds after the first at the latest', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    const { filler, events, clock, until } = scene.filler();
    const filled = until('filled');
    filler.note(noteOf(aa));
    for (let second = 0; second < 29; second += 4) {
      await clock.advance(4_000);
      filler.note(noteOf(conda(`x${String(second)}`)));
      if (second < 24) expect(scene.registry.lines).toEqual([]);
    }
    await clock.advance(1_000);
    await filled;
    expect(events.at(-1)).toBe('filled noarch: 1');
    expect(clock.now()).toBeLessThanOrEqual(34_000);
    const quiet = scene.filler();
    quiet.filler.note(noteOf(bb));
    const before = scene.registry.lines.length;
    await quiet.clock.advance(4_999);
    expect(scene.registry.lines).toHaveLength(before);
    const again = quiet.until('filled');
    await quiet.clock.advance(1);
    expect(await again).toBe('filled noarch: 1');
  });

  test('at once where a whole batch waits', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    const { filler, until } = scene.filler({ maxBatch: 2 });
    const filled = until('filled');
    filler.note(noteOf(aa));
    filler.note(noteOf(bb));
    expect(await filled).toBe('filled noarch: 2');
  });

  test('noarch is published beside the first platform, since clients cannot do without it', async () => {
    const lib = conda('lib', 'linux-64');
    const scene = await Scene.open({ noarch: [aa], 'linux-64': [lib] });
    const { filler } = scene.filler();
    filler.note(noteOf(lib, 'linux-64'));
    await filler.flush();
    expect(await scene.listed('linux-64')).toEqual([lib.filename]);
    expect(JSON.parse(await scene.published('noarch'))).toMatchObject({ 'packages.conda': {} });
    expect(await scene.faults('noarch', 'linux-64')).toEqual([]);
  });

  test('out of the cache: the upstream is asked for an archive once', async () => {
    const scene = await Scene.open(here(aa, bb));
    const { filler } = scene.filler();
    const source = new PullThroughSource({
      upstream: scene.upstream(),
      store: scene.store(),
      onFetched: (archive) => {
        filler.note(archive);
      },
    });
    for (const archive of [aa, bb]) {
      for await (const _ of source.openArchive(noteOf(archive)));
      scene.hold(archive);
    }
    await filler.flush();
    expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
    const once = [`noarch/${aa.filename}`, `noarch/${bb.filename}`];
    await expect.poll(() => scene.fetched().sort()).toEqual(once);
    for await (const _ of source.openArchive(noteOf(aa)));
    expect(scene.fetched()).toHaveLength(2);
  });

  test('from upstream, where the cache does not have it any more', async () => {
    const scene = await Scene.open(here(aa));
    const { filler } = scene.filler({ content: () => Promise.reject(new Error('the folder is gone')) });
    filler.note(noteOf(aa));
    await filler.flush();
    expect(await scene.listed()).toEqual([aa.filename]);
  });

  test('nothing is uploaded twice', async () => {
    const scene = await Scene.open(here(aa, bb));
    const first = scene.filler();
    first.filler.note(noteOf(aa));
    await first.filler.flush();
    scene.registry.reset();
    first.filler.note(noteOf(aa));
    await first.filler.flush();
    expect(scene.registry.lines).toEqual([]);
    const second = scene.filler();
    second.filler.note(noteOf(aa));
    await second.filler.flush();
    expect(scene.writes()).toEqual([]);
    second.filler.note(noteOf(bb));
    await second.filler.flush();
    expect(scene.writes().filter((line) => line.includes('/noarch/aa/'))).toEqual([]);
    expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
  });

  test('the upstream is read by its shards where it has them', async () => {
    const scene = await Scene.open(here(aa, bb));
    const repodata = JSON.parse(await scene.upstreamText()) as Parameters<typeof shardsOf>[1];
    await writeShards(join(scene.folder, 'noarch'), shardsOf('noarch', repodata));
    const { filler } = scene.filler();
    for (const archive of [aa, bb]) {
      filler.note(noteOf(archive));
      await filler.flush();
    }
    expect(scene.server.requests.filter(({ path }) => /\/repodata\.json/.test(path))).toEqual([]);
    expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test('repodata of the upstream is read once as long as it does not change', async () => {
    const scene = await Scene.open(here(aa, bb));
    const { filler } = scene.filler();
    for (const archive of [aa, bb]) {
      filler.note(noteOf(archive));
      await filler.flush();
    }
    const reads = (): number[] =>
      scene.server.requests
        .filter(({ path }) => path.endsWith('/noarch/repodata.json.zst'))
        .map(({ status }) => status);
    await expect.poll(reads).toEqual([200, 304]);
    expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
  });
});

interface Listing {
  readonly 'packages.conda': Readonly<Record<string, unknown>>;
}

describe('a store that is a mirror already', () => {
  test('a full mirror stays full, and has the bytes of the upstream again once all is there', async () => {
    const scene = await Scene.open(here(aa, bb));
    await mirror(scene);
    expect(await scene.published()).toBe(await scene.upstreamText());
    const dd = conda('dd');
    await scene.offer(here(aa, bb, cc, dd));
    const { filler } = scene.filler();
    filler.note(noteOf(cc));
    await filler.flush();
    expect(await scene.listed()).toEqual([aa.filename, bb.filename, cc.filename]);
    expect(await scene.faults('noarch')).toEqual([]);
    filler.note(noteOf(dd));
    await filler.flush();
    expect(await scene.published()).toBe(await scene.upstreamText());
  });

  test('a full run goes on from what was filled, and moves only the rest', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    const { filler } = scene.filler();
    filler.note(noteOf(bb));
    await filler.flush();
    scene.registry.reset();
    await mirror(scene);
    expect(await scene.published()).toBe(await scene.upstreamText());
    expect(scene.writes().filter((line) => line.includes('/noarch/bb/'))).toEqual([]);
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test('what the upstream replaced is replaced, and what it removed stays stored', async () => {
    const scene = await Scene.open(here(aa, bb));
    await mirror(scene);
    const other = conda('aa', 'noarch', 'other bytes');
    await scene.offer(here(other, cc));
    const { filler, events } = scene.filler();
    filler.note(noteOf(other));
    filler.note(noteOf(cc));
    await filler.flush();
    expect(events.filter((event) => /^(?:failed|refused)/.test(event))).toEqual([]);
    expect(await scene.listed()).toEqual([aa.filename, cc.filename]);
    expect(await scene.published()).toContain(noteOf(other).sha256);
    expect((await readLedger(scene.store(), 'noarch'))?.kept).toHaveProperty([bb.filename]);
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test('keeps doing without the uncompressed repodata', async () => {
    const scene = await Scene.open(here(aa, bb));
    await mirror(scene, { plainJson: false, filters: undefined });
    await scene.offer(here(aa, bb, cc));
    const { filler } = scene.filler();
    filler.note(noteOf(cc));
    await filler.flush();
    expect(await scene.published()).toBe('');
    const report = await verifyChannel({ channel: scene.store(), subdirs: ['noarch'], workers });
    expect(report.subdirs.map(({ listed }) => listed)).toEqual([3]);
  });
});

describe('two gateways on one store', () => {
  test('both list what they put, at the same time', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    const [one, two] = [scene.filler(), scene.filler()];
    one.filler.note(noteOf(aa));
    two.filler.note(noteOf(bb));
    for (let round = 0; round < 6; round += 1) {
      await Promise.all([one.filler.flush(), two.filler.flush()]);
      await Promise.all([one.clock, two.clock].map(async (clock) => clock.advance(70_000)));
      await Promise.all([one.filler.flush(), two.filler.flush()]);
    }
    expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
    expect([one.filler.stats.waiting, two.filler.stats.waiting]).toEqual([0, 0]);
    expect(await scene.faults('noarch')).toEqual([]);
  });

  /** A store in which somebody does something between the first write to it and the next. */
  function interrupted(scene: Scene, meanwhile: () => Promise<void>): ChannelStore {
    let isBetween = false;
    const registry = watchedRegistry(scene.store().registry, {
      after: async () => {
        if (isBetween) return;
        isBetween = true;
        await meanwhile();
      },
    });
    return new ChannelStore(registry, 'c', schemaV0);
  }

  const [dd, ee] = [conda('dd'), conda('ee')];

  test('who comes second looks again, and takes nothing away that the other listed', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    await mirror(scene);
    await scene.offer(here(aa, bb, cc, dd, ee));
    const first = scene.filler();
    const store = interrupted(scene, async () => {
      first.filler.note(noteOf(dd));
      await first.filler.flush();
    });
    const second = scene.filler({ store });
    second.filler.note(noteOf(ee));
    await second.filler.flush();
    expect(first.events).toEqual(['filled noarch: 1']);
    expect(second.events.at(-1)).toBe('failed noarch: TAG_MOVED, again in 5000');
    expect(await scene.listed()).toContain(dd.filename);
    const filled = second.until('filled');
    await second.clock.advance(5_000);
    await filled;
    expect(await scene.published()).toBe(await scene.upstreamText());
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test('a mirror run that ends meanwhile loses nothing that it listed', async () => {
    const scene = await Scene.open(here(aa));
    await mirror(scene);
    await scene.offer(here(aa, bb, cc, dd, ee));
    const { filler, clock } = scene.filler({ store: interrupted(scene, async () => mirror(scene)) });
    filler.note(noteOf(bb));
    await filler.flush();
    expect(await scene.published()).toBe(await scene.upstreamText());
    // What it looks at is whole by then, so nothing is left to do.
    await clock.advance(5_000);
    await expect.poll(() => filler.stats.waiting).toBe(0);
    expect(await scene.published()).toBe(await scene.upstreamText());
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test('what another took off the list by writing at the same moment is put there again', async () => {
    const scene = await Scene.open(here(aa, bb));
    const { filler, clock } = scene.filler();
    filler.note(noteOf(bb));
    await filler.flush();
    const repository = scene.registry.repositories.get('c/noarch/repodata.json');
    const before = repository?.tags.get('latest') ?? '';
    filler.note(noteOf(aa));
    await filler.flush();
    // The other one had read the list before.
    repository?.tags.set('latest', before);
    await clock.advance(60_000);
    await filler.flush();
    expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test("somebody else's run is waited for, but not for ever", async () => {
    const scene = await Scene.open(here(aa, bb));
    let writes = 0;
    const dying = new ChannelStore(
      failingRegistry(scene.store().registry, ({ repository }) => {
        writes += repository.endsWith('/repodata_ledger.json') ? 1 : 0;
        return writes > 4;
      }),
      'c',
      schemaV0,
    );
    await rejection(mirrorChannel({ source: scene.upstream(), destination: dying, subdirs: ['noarch'] }));
    expect((await readLedger(scene.store(), 'noarch'))?.running).toBeDefined();
    const { filler, events, clock, until } = scene.filler();
    filler.note(noteOf(bb));
    await filler.flush();
    expect(events).toEqual(['waits noarch']);
    const filled = until('filled');
    await clock.run(filled);
    expect(clock.now()).toBeGreaterThan(30 * 60_000);
    expect(await scene.faults('noarch')).toEqual([]);
    expect((await readLedger(scene.store(), 'noarch'))?.running).toBeUndefined();
  });
});

describe('what goes wrong', () => {
  test('a store that is down is tried again with growing pauses, and gets all when it is back', async () => {
    const scene = await Scene.open(here(aa, bb));
    const { filler, events, clock, until } = scene.filler();
    scene.registry.schedule = () => '503';
    filler.note(noteOf(aa));
    for (const pause of [5_000, 10_000, 20_000]) {
      const failed = until('failed');
      await clock.advance(pause === 5_000 ? 5_000 : pause / 2);
      expect(await failed).toBe(`failed noarch: REGISTRY_REFUSED, again in ${String(pause)}`);
    }
    filler.note(noteOf(bb));
    expect(filler.stats).toMatchObject({ waiting: 2, put: 0, failedRuns: 3 });
    scene.registry.schedule = undefined;
    const filled = until('filled');
    await clock.advance(20_000);
    expect(await filled).toBe('filled noarch: 2');
    expect(events.filter((event) => event.startsWith('failed'))).toHaveLength(3);
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test.each(Array.from({ length: 15 }, (_, at) => at))(
    'a gateway killed at its write number %i: the next one goes on, and nothing is listed that is not there',
    async (at) => {
      const scene = await Scene.open(here(aa, bb));
      const before = scene.filler();
      before.filler.note(noteOf(bb));
      await before.filler.flush();
      let writes = 0;
      const registry = failingRegistry(scene.store().registry, () => (writes += 1) > at);
      const killed = scene.filler({ store: new ChannelStore(registry, 'c', schemaV0) });
      killed.filler.note(noteOf(aa));
      await killed.filler.flush();
      expect(writes).toBeGreaterThan(at);
      expect(await faultsOf(registryReader(scene.registry.host), 'c/noarch')).toEqual([]);
      scene.registry.reset();
      const { filler, clock, events } = scene.filler();
      filler.note(noteOf(aa));
      await filler.flush();
      if (events.includes('waits noarch')) {
        await clock.advance(40 * 60_000);
        await filler.flush();
      }
      expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
      expect(await scene.faults('noarch')).toEqual([]);
    },
  );

  test('an archive that cannot be mirrored is left for an hour, and holds up no other', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    await rm(join(scene.folder, 'noarch', aa.filename));
    await writeFile(join(scene.folder, 'noarch', bb.filename), 'no archive');
    const { filler, events, clock } = scene.filler();
    for (const archive of [aa, bb, cc]) filler.note(noteOf(archive));
    await filler.flush();
    expect(events.slice().sort()).toEqual([
      'filled noarch: 1',
      `refused noarch/${aa.filename}: ARCHIVE_ABSENT`,
      `refused noarch/${bb.filename}: SIZE_MISMATCH`,
    ]);
    expect(await scene.listed()).toEqual([cc.filename]);
    await scene.offer(here(aa, bb, cc));
    filler.note(noteOf(aa));
    expect(filler.stats).toMatchObject({ waiting: 0, put: 1, failed: 2 });
    await clock.advance(60 * 60_000);
    filler.note(noteOf(aa));
    await filler.flush();
    expect(await scene.listed()).toEqual([aa.filename, cc.filename]);
  });

  test('an archive that the upstream does not list is refused', async () => {
    const scene = await Scene.open(here(aa));
    const { filler, events } = scene.filler();
    filler.note(noteOf(aa));
    filler.note(noteOf(bb));
    await filler.flush();
    expect(events).toEqual([`refused noarch/${bb.filename}: NOT_FOUND`, 'filled noarch: 1']);
  });

  test('a subdir that cannot be mirrored holds up no other', async () => {
    const lib = conda('lib', 'linux-64');
    const scene = await Scene.open({ noarch: [aa, bb], 'linux-64': [lib] });
    const { filler, events, clock, until } = scene.filler();
    for (const file of ['repodata.json', 'repodata.json.zst'])
      await writeFile(join(scene.folder, 'linux-64', file), '{');
    filler.note(noteOf(aa));
    filler.note(noteOf(lib, 'linux-64'));
    await filler.flush();
    expect(events).toEqual(['failed noarch linux-64: REPODATA_INVALID, again in 5000']);
    const filled = until('filled');
    await clock.advance(5_000);
    expect(await filled).toBe('filled noarch: 1');
    filler.note(noteOf(bb));
    await filler.flush();
    expect(await scene.listed()).toEqual([aa.filename, bb.filename]);
    expect(filler.stats.waiting).toBe(1);
  });

  test('of too many that wait, the oldest are forgotten', async () => {
    const scene = await Scene.open(here(aa, bb, cc));
    const { filler, events } = scene.filler({ maxWaiting: 2 });
    for (const archive of [aa, bb, cc]) filler.note(noteOf(archive));
    expect(events).toEqual(['forgot 1']);
    expect(filler.stats).toMatchObject({ waiting: 2, forgotten: 1 });
    await filler.flush();
    filler.note(noteOf(aa));
    await filler.flush();
    expect(await scene.listed()).toEqual([aa.filename, bb.filename, cc.filename]);
  });
});

describe('the end', () => {
  test('what waits is put in a last run, and nothing is taken in after that', async () => {
    const scene = await Scene.open(here(aa, bb));
    const { filler } = scene.filler();
    filler.note(noteOf(aa));
    await filler.close();
    filler.note(noteOf(bb));
    expect(filler.stats).toMatchObject({ waiting: 0, put: 1 });
    expect(await scene.listed()).toEqual([aa.filename]);
  });

  test('a transfer that hangs is not waited for, and what is there is published', async () => {
    const scene = await Scene.open(here(aa, bb));
    const directory = new DirectoryChannel(scene.folder);
    const { filler } = scene.filler({
      stopGraceMs: 50,
      upstream: {
        url: directory.url,
        subdirs: async () => directory.subdirs(),
        openMetadata: async (path, options) => directory.openMetadata(path, options),
        openArchive: async function* (archive, options = {}) {
          if (archive.filename === bb.filename)
            await new Promise((_, reject) => {
              options.signal?.addEventListener('abort', () => {
                reject(options.signal?.reason as Error);
              });
            });
          yield* directory.openArchive(archive, options);
        },
      },
    });
    filler.note(noteOf(aa));
    filler.note(noteOf(bb));
    await filler.close(1_000);
    expect(await scene.listed()).toEqual([aa.filename]);
    expect(filler.stats).toMatchObject({ put: 1, failedRuns: 0 });
    expect(await scene.faults('noarch')).toEqual([]);
  });

  test('without anything to do it comes at once', async () => {
    const scene = await Scene.open(here(aa));
    const { filler } = scene.filler();
    await filler.close();
    expect(scene.registry.lines).toEqual([]);
  });
});

describe('before anything is served', () => {
  test('an empty store will do, and a mirror of the upstream', async () => {
    const scene = await Scene.open(here(aa));
    await scene.filler().filler.check();
    await mirror(scene);
    await scene.filler().filler.check();
  });

  test('a mirror of another channel will not', async () => {
    const scene = await Scene.open(here(aa));
    await mirrorChannel({ source: new DirectoryChannel(scene.folder), destination: scene.store() });
    expect(await rejection(scene.filler().filler.check())).toMatchObject({ code: 'FOREIGN_RECORDS' });
  });

  test('nor a channel that packages are published to', async () => {
    const scene = await Scene.open(here(aa));
    await mirror(scene);
    const store = scene.store();
    const ledger = await readLedger(store, 'noarch');
    if (ledger === undefined) throw new Error('no ledger');
    await writeLedger(store, { ...ledger, role: { kind: 'published' } });
    expect(await rejection(scene.filler().filler.check())).toMatchObject({ code: 'ROLE_MISMATCH' });
  });

  test('nor one of which no ledger speaks', async () => {
    const scene = await Scene.open(here(aa));
    await mirror(scene);
    scene.registry.repositories.delete('c/noarch/repodata_ledger.json');
    expect(await rejection(scene.filler().filler.check())).toMatchObject({ code: 'FOREIGN_RECORDS' });
  });

  test('nor one that cannot be reached', async () => {
    const scene = await Scene.open(here(aa));
    scene.registry.schedule = () => '503';
    expect(await rejection(scene.filler().filler.check())).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });
});

/** Some archives of each subdir, as the repodata lists them. */
async function realArchives(upstream: DirectoryChannel): Promise<FillableArchive[]> {
  const found: FillableArchive[] = [];
  for await (const { subdir, records } of readChannelRecords(upstream, { workers }))
    for (const { filename, sha256, size } of [...records].slice(0, 8))
      if (existsSync(join(realChannel('conda-format'), subdir, filename)))
        found.push({ subdir, filename, sha256, size });
  return found;
}

test.runIf(HAS_REAL_CHANNELS)('a real channel, filled into image layouts archive by archive', async () => {
  const upstream = new DirectoryChannel(realChannel('conda-format'));
  const folder = await tempFolder();
  const store = new ChannelStore(openLayoutRegistry(folder), '', schemaV0);
  const failures: unknown[] = [];
  const filler = new StoreFiller({
    upstream,
    store,
    workers,
    content: () => Promise.resolve(undefined),
    reporter: { runFailed: ({ error }) => failures.push(error), refused: (_, why) => failures.push(why) },
  });
  const archives = await realArchives(upstream);
  expect(archives.length).toBeGreaterThan(0);
  for (const archive of archives) {
    filler.note(archive);
    await filler.flush();
  }
  await filler.close();
  expect(failures).toEqual([]);
  expect(filler.stats).toMatchObject({ waiting: 0, put: archives.length });
  for (const subdir of new Set(archives.map((archive) => archive.subdir))) {
    expect(await faultsOf(layoutReader(folder), subdir)).toEqual([]);
    const listed = await listedRecords(layoutReader(folder), subdir);
    expect(listed).toHaveLength(archives.filter((archive) => archive.subdir === subdir).length);
  }
  const report = await verifyChannel({ channel: store, against: upstream, depth: 'deep', workers });
  const codes = report.subdirs.flatMap(({ findings }) => findings.map(({ code }) => code));
  // It was not asked for everything.
  expect(codes.filter((code) => code !== 'NOT_MIRRORED')).toEqual([]);
});
