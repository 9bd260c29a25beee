import { expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { rollBack } from '#ferry/mirror/generations/roll-back.js';
import { lockDestination } from '#ferry/mirror/lock-destination.js';
import { migrateChannel } from '#ferry/mirror/migrate/migrate.js';
import { mirrorChannel, type MirrorOptions } from '#ferry/mirror/mirror.js';
import { applyPrune } from '#ferry/mirror/prune/apply-prune.js';
import { verifyChannel } from '#ferry/mirror/verify/verify.js';
import { FIXTURE_CHANNEL } from '../../support/channels.js';
import { tempFolder } from '../../support/temp.js';
import { conda, day, Scene } from './scene.js';

/** What a mirror run deletes at its end, and who is kept out meanwhile. */

const nights = [
  [1, [conda('a')]],
  [2, [conda('a'), conda('b')]],
  [3, [conda('b')]],
] as const;
const tagOf = (number: number): string => `2026.01.0${String(number)}.12.00.00`;

test('a run keeps the newest generations, with news and without, and everything that is listed', async () => {
  const scene = await Scene.after(...nights);
  await scene.night(day(4), [conda('c')], { keepGenerations: 3 });
  expect(await scene.tags('repodata.json')).toEqual([tagOf(2), tagOf(3), tagOf(4), 'latest']);
  await scene.night(day(5), [conda('c')], { keepGenerations: 1 });
  expect(await scene.tags('repodata.json')).toEqual([tagOf(4), 'latest']);
  await scene.expectWhole();
  await scene.night(day(6), [conda('c'), conda('d')]);
  expect(await scene.tags('repodata.json')).toEqual([tagOf(4), tagOf(6), 'latest']);
});

test('a registry that deletes nothing is a warning, since the mirror is there', async () => {
  const scene = await Scene.after(...nights);
  const repository = scene.registry.repository('c/noarch/repodata.json');
  Object.assign(repository, { delete: undefined, untag: undefined });
  const warnings: string[] = [];
  await scene.night(day(4), [conda('c')], {
    keepGenerations: 1,
    reporter: { warning: (text) => warnings.push(text) },
  });
  expect(warnings).toContainEqual(expect.stringMatching(/^noarch: old generations are still there: /));
  expect(await scene.tags('repodata.json')).toContain(tagOf(4));
  await scene.expectWhole();
});

test('at least one generation stays, which is said before anything moves', async () => {
  const scene = await Scene.open();
  await expect(scene.night(day(1), [conda('a')], { keepGenerations: 0 })).rejects.toMatchObject({
    code: 'USAGE',
  });
  expect(await scene.tags('repodata.json')).toEqual([]);
});

test('whoever writes to a channel keeps the others of this machine out, and nobody who reads', async () => {
  const scene = await Scene.after(...nights);
  const { workers } = scene;
  const store = scene.store();
  const plan = await scene.plan(day(100));
  const lockFolder = await tempFolder();
  const destination = new ChannelStore(scene.registry, 'other', schemaV1);
  const source = new DirectoryChannel(FIXTURE_CHANNEL);
  const mirror: MirrorOptions = { source, destination: store, workers, lockFolder };
  {
    await using _ = await lockDestination(store, { lockFolder });
    await using __ = await lockDestination(destination, { lockFolder });
    const writing = [
      () => applyPrune(plan, { store, workers, lockFolder }),
      () => rollBack({ store, workers, lockFolder, generation: tagOf(2) }),
      () => verifyChannel({ channel: store, workers, against: source, repair: { lockFolder } }),
      () => migrateChannel({ source: store, destination, workers, lockFolder }),
      () => mirrorChannel(mirror),
    ];
    for (const write of writing) await expect(write()).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    expect((await verifyChannel({ channel: store, workers })).findings).toEqual([]);
    await scene.plan(day(100));
  }
  await expect(applyPrune(plan, { store, workers, lockFolder })).resolves.toBeDefined();
});
