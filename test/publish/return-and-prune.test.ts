import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { listOperations } from '#ferry/artifact/operation-log.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { rollBack } from '#ferry/mirror/generations/roll-back.js';
import { mirrorChannel } from '#ferry/mirror/mirror.js';
import { applyPrune } from '#ferry/mirror/prune/apply-prune.js';
import { planPrune } from '#ferry/mirror/prune/plan-prune.js';
import { verifyChannel } from '#ferry/mirror/verify/verify.js';
import { readHead } from '#ferry/publish/head.js';
import { indexChannel } from '#ferry/publish/index-store/index-channel.js';
import { pushArchives } from '#ferry/publish/push.js';
import { yankArchives } from '#ferry/publish/yank.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { tempFolder } from '../support/temp.js';

/** What other commands do to a channel that is published to: go back, delete, mirror into it. */

const TOOL = 'ferry-tool-2.1.0-py_0.conda';
const TWIN = 'ferry-tool-2.1.0-py_0.tar.bz2';
const DATA = 'ferry-data-1.0+abc-0.conda';
const MUTEX = '_ferry_mutex-1.0-main.conda';

class Scene {
  readonly store: ChannelStore;
  readonly workers = new WorkerPool(1);

  constructor(folder: string) {
    this.store = new ChannelStore(openLayoutRegistry(folder), '', schemaV0);
  }

  static async open(): Promise<Scene> {
    const scene = new Scene(await tempFolder());
    onTestFinished(async () => {
      await scene.workers[Symbol.asyncDispose]();
      await scene.store.registry[Symbol.asyncDispose]();
    });
    return scene;
  }

  get shared() {
    return { store: this.store, workers: this.workers };
  }

  async push(hour: number, ...filenames: string[]) {
    const archives = filenames.map((filename) => join(FIXTURE_CHANNEL, 'noarch', filename));
    const report = await pushArchives({ ...this.shared, archives, now: () => at(hour) });
    return report.failed.map(({ error }) => error.code);
  }

  async index(hour: number) {
    const report = await indexChannel({ ...this.shared, now: () => at(hour) });
    return report.subdirs[0];
  }

  async listed() {
    const { listing } = await readHead('noarch', this.shared);
    return { listed: [...listing.filenames()].sort(), removed: [...listing.removed].sort() };
  }

  async tags(): Promise<string[]> {
    const tags: string[] = [];
    for await (const tag of this.store.metadataRepository('noarch', 'repodata.json').tags()) tags.push(tag);
    return tags.sort();
  }

  async expectWhole() {
    const { subdirs } = await verifyChannel({ channel: this.store });
    expect(subdirs.flatMap(({ findings }) => findings)).toEqual([]);
  }
}

function at(hour: number): Date {
  return new Date(Date.UTC(2026, 0, 1, hour));
}

test('going back is an operation: what came since is yanked, what was yanked comes back, and pushes go on', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL, DATA);
  await scene.index(2);
  await yankArchives({ ...scene.shared, specs: [DATA], now: () => at(3) });
  await scene.push(3, MUTEX);
  await scene.index(4);
  const report = await rollBack({ ...scene.shared, generation: '2026.01.01.02.00.00', now: () => at(5) });
  expect(report).toMatchObject({ moved: true, held: false });
  expect(await scene.listed()).toEqual({ listed: [DATA, TOOL], removed: [MUTEX] });

  expect(await scene.push(6, TWIN)).toEqual([]);
  expect(await scene.listed()).toEqual({ listed: [DATA, TOOL, TWIN], removed: [MUTEX] });
  const { generation } = (await scene.index(7))!;
  expect(await scene.listed()).toEqual({ listed: [DATA, TOOL, TWIN], removed: [MUTEX] });
  await rollBack({ ...scene.shared, generation: '2026.01.01.04.00.00', now: () => at(8) });
  expect(await scene.listed()).toEqual({ listed: [MUTEX, TOOL], removed: [DATA, TWIN] });
  await rollBack({ ...scene.shared, generation: generation!, now: () => at(9) });
  expect(await scene.listed()).toEqual({ listed: [DATA, TOOL, TWIN], removed: [MUTEX] });
  await scene.expectWhole();
});

test('a record that comes back keeps the time at which it was first indexed', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL);
  await scene.index(2);
  await yankArchives({ ...scene.shared, specs: [TOOL], now: () => at(3) });
  await rollBack({ ...scene.shared, generation: '2026.01.01.02.00.00', now: () => at(5) });
  const { listing } = await readHead('noarch', scene.shared);
  expect(listing.get(TOOL)).toMatchObject({ indexed_timestamp: at(1).getTime() });
});

test('a record that a rollback took away keeps that time too, when it is listed again', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL);
  await scene.index(2);
  await scene.push(3, DATA);
  await rollBack({ ...scene.shared, generation: '2026.01.01.02.00.00', now: () => at(5) });
  expect(await scene.listed()).toEqual({ listed: [TOOL], removed: [DATA] });
  await yankArchives({ ...scene.shared, specs: [DATA], undo: true, now: () => at(6) });
  const { listing } = await readHead('noarch', scene.shared);
  expect(listing.get(DATA)).toMatchObject({ indexed_timestamp: at(3).getTime() });
});

test('what was yanked is deleted on request only, and no push brings it back', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL, DATA, MUTEX);
  await yankArchives({ ...scene.shared, specs: [DATA], now: () => at(2) });
  await scene.index(3);
  const plan = (removed: boolean, hour: number) =>
    planPrune({ ...scene.shared, removed, graceMs: 0, keepGenerations: 1, now: () => at(hour) });
  expect((await plan(false, 5)).subdirs[0]?.artifacts).toEqual([]);
  const wanted = await plan(true, 5);
  expect(wanted.subdirs[0]?.artifacts.flatMap(({ archives }) => archives)).toMatchObject([
    { filename: DATA },
  ]);
  const report = await applyPrune(wanted, scene.shared);
  expect(report.subdirs[0]?.deleted).toEqual([DATA]);
  expect(await scene.push(6, DATA)).toEqual(['ARCHIVE_REMOVED']);
  expect(await scene.push(6, TWIN)).toEqual([]);
  await scene.index(7);
  expect(await scene.listed()).toEqual({ listed: [MUTEX, TOOL, TWIN], removed: [DATA] });
  await scene.expectWhole();
});

test('prune takes old operations out of the log, but for those that an undo needs', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL);
  await scene.push(1, DATA);
  await scene.index(1);
  await yankArchives({ ...scene.shared, specs: [DATA], now: () => at(2) });
  expect(await listOperations(scene.store, 'noarch')).toHaveLength(3);
  await applyPrune(await planPrune({ ...scene.shared, now: () => at(9) }), scene.shared);
  expect(await listOperations(scene.store, 'noarch')).toHaveLength(1);
  expect((await readLedger(scene.store, 'noarch'))?.epoch?.number).toBeGreaterThan(0);

  await yankArchives({ ...scene.shared, specs: [DATA], undo: true, now: () => at(10) });
  const { listing } = await readHead('noarch', scene.shared);
  expect(listing.get(DATA)).toMatchObject({ indexed_timestamp: at(1).getTime() });
  expect(await scene.listed()).toEqual({ listed: [DATA, TOOL], removed: [] });
  await scene.expectWhole();
});

test('a prune that has nothing to do writes nothing', async () => {
  const scene = await Scene.open();
  await pushArchives({ ...scene.shared, archives: [join(FIXTURE_CHANNEL, 'noarch', TOOL)] });
  const before = await scene.tags();
  await applyPrune(await planPrune(scene.shared), scene.shared);
  expect(await scene.tags()).toEqual(before);
});

test('a mirror into a channel that is published to is refused, whatever it is told', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL);
  const source = new DirectoryChannel(FIXTURE_CHANNEL);
  for (const merge of [false, true]) {
    const mirror = mirrorChannel({ source, destination: scene.store, merge, workers: scene.workers });
    await expect(mirror).rejects.toMatchObject({ code: 'ROLE_MISMATCH' });
  }
  expect(await scene.listed()).toEqual({ listed: [TOOL], removed: [] });
});

test('a repair of a channel that is published to is left to index', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL, DATA);
  const repository = scene.store.packageRepository('noarch', { repository: 'ferry-data' });
  const found = await repository.resolve('1.0__p__abc-0');
  await repository.delete?.(found!);
  const repair = { openSource: () => new DirectoryChannel(FIXTURE_CHANNEL), dropMissing: true };
  await expect(verifyChannel({ channel: scene.store, repair })).rejects.toMatchObject({ code: 'USAGE' });
  expect(await scene.index(2)).toMatchObject({ dropped: [DATA] });
  expect(await scene.listed()).toEqual({ listed: [TOOL], removed: [] });
  await scene.expectWhole();
});

test('cep47/server-time: a record says when the channel first listed it, and not when it was built', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL);
  const { listing } = await readHead('noarch', scene.shared);
  expect(listing.get(TOOL)).toMatchObject({
    timestamp: 1_700_000_000_000,
    indexed_timestamp: at(1).getTime(),
  });
});

test('cep47/not-recomputed: neither a later index nor records made anew change that time', async () => {
  const scene = await Scene.open();
  await scene.push(1, TOOL);
  await scene.index(5);
  await indexChannel({ ...scene.shared, fromArtifacts: true, now: () => at(6) });
  const { listing } = await readHead('noarch', scene.shared);
  expect(listing.get(TOOL)).toMatchObject({ indexed_timestamp: at(1).getTime() });
});

test('a store that does not tell its repositories is looked through for what older generations list', async () => {
  const scene = await Scene.open();
  Object.assign(scene.store.registry, { repositories: () => Promise.resolve(undefined) });
  const archives = [join(FIXTURE_CHANNEL, 'noarch', DATA)];
  await scene.push(1, TOOL, DATA);
  await scene.index(2);
  const repository = scene.store.packageRepository('noarch', { repository: 'ferry-data' });
  await repository.delete?.((await repository.resolve('1.0__p__abc-0'))!);
  await scene.index(3);
  expect(await scene.listed()).toEqual({ listed: [TOOL], removed: [] });
  await pushArchives({ ...scene.shared, archives, storeOnly: true });
  expect(await scene.index(9)).toMatchObject({ added: [DATA] });
  expect(await scene.listed()).toEqual({ listed: [DATA, TOOL], removed: [] });
  await scene.expectWhole();
});
