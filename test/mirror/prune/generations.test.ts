import { describe, expect, test } from 'vitest';
import { parseAnyHistoryTag } from '#ferry/artifact/history-tag.js';
import { pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { GENERATION_FILES, keepGenerations } from '#ferry/mirror/generations/keep-generations.js';
import { listGenerations } from '#ferry/mirror/generations/generations.js';
import { rollBack, type RollBackOptions } from '#ferry/mirror/generations/roll-back.js';
import { failingRegistry } from '../../support/failing-registry.js';
import { conda, day, Scene, type Archive } from './scene.js';

const FIRST = [conda('a'), conda('b'), conda('c')];
const SECOND = [conda('b'), conda('c'), conda('d')];
const tagOf = (number: number): string => `2026.01.0${String(number)}.12.00.00`;

async function goBack(
  scene: Scene,
  generation: string,
  options: Partial<RollBackOptions> = {},
): ReturnType<typeof rollBack> {
  const { workers } = scene;
  const report = await rollBack({ store: scene.store(), workers, generation, now: () => day(9), ...options });
  await scene.expectWhole();
  return report;
}

describe('generations', () => {
  test.each([
    ['2026.11.21.07.35.09', '2026-11-21T07:35:09.000Z'],
    ['2026.11.21.07.35', '2026-11-21T07:35:00.000Z'],
    ['20261121T073509Z', '2026-11-21T07:35:09.000Z'],
    ['2026.02.30.07.35', undefined],
    ['latest', undefined],
  ])('v0/D7, v1/R8: the tag %s is of %s', (tag, time) => {
    expect(parseAnyHistoryTag(tag)?.toISOString()).toBe(time);
  });

  test('all but the newest go; latest, other tags and what they name stay', async () => {
    const scene = await Scene.after([1, FIRST], [2, SECOND], [3, FIRST], [4, [conda('c')]]);
    const repository = scene.registry.repository('c/noarch/repodata.json');
    const second = await repository.resolve(tagOf(2));
    if (second === undefined) throw new Error('no such generation');
    await repository.tag(second, 'good');
    const store = scene.store();
    const [trimmed, ...others] = await keepGenerations(store, 'noarch', GENERATION_FILES, { keep: 2 });
    expect(trimmed).toEqual({
      file: 'repodata.json',
      kept: [tagOf(4), tagOf(3)],
      deleted: [tagOf(1), tagOf(2)],
      left: [],
    });
    expect(others.flatMap(({ deleted }) => deleted)).toEqual([]);
    expect(await scene.tags('repodata.json')).toEqual([tagOf(3), tagOf(4), 'good', 'latest']);
    expect(await repository.resolve('good')).toEqual(second);
    // The first and the third were the same bytes.
    expect(await repository.resolve(tagOf(3))).toBeDefined();
    await scene.expectWhole();
    const generations = await listGenerations(store, 'noarch', 'repodata.json');
    expect(generations.map(({ tag }) => tag)).toEqual([tagOf(4), tagOf(3)]);
  });

  test('where the store removes no single tags, one that shares its manifest with a newer one stays too', async () => {
    const scene = await Scene.after([1, FIRST], [2, SECOND], [3, FIRST], [4, [conda('c')]]);
    Object.assign(scene.registry.repository('c/noarch/repodata.json'), { untag: undefined });
    const trimmed = await keepGenerations(scene.store(), 'noarch', ['repodata.json'], { keep: 2 });
    expect(trimmed).toMatchObject([{ deleted: [tagOf(2)], left: [{ tag: tagOf(1), reason: 'shared' }] }]);
  });

  test('at least one stays', async () => {
    const scene = await Scene.after([1, FIRST]);
    const none = keepGenerations(scene.store(), 'noarch', GENERATION_FILES, { keep: 0 });
    await expect(none).rejects.toMatchObject({ code: 'USAGE' });
  });
});

describe('a rollback', () => {
  test('lists what was listed then, holds the mirror, and is undone by a run that is told to go on', async () => {
    const scene = await Scene.after([1, FIRST], [2, SECOND]);
    const report = await goBack(scene, tagOf(1));
    expect(report).toMatchObject({
      moved: true,
      held: true,
      subdirs: [
        { outcome: 'moved', generation: tagOf(1), records: 3, missing: [], unlisted: ['d-1-0.conda'] },
      ],
    });
    expect(await scene.listed()).toEqual(['a-1-0.conda', 'b-1-0.conda', 'c-1-0.conda']);
    expect(await scene.ledger()).toMatchObject({
      rolled_back: { to: tagOf(1), at: day(9).toISOString() },
      unlisted: { 'd-1-0.conda': day(9).toISOString() },
    });
    expect(Object.keys((await scene.ledger())?.kept ?? {})).toEqual(['d-1-0.conda']);
    await expect(scene.night(day(10), SECOND)).rejects.toMatchObject({ code: 'ROLLED_BACK' });
    expect(await scene.listed()).toContain('a-1-0.conda');
    await scene.night(day(10), SECOND, { resume: true });
    expect(await scene.listed()).toEqual(['b-1-0.conda', 'c-1-0.conda', 'd-1-0.conda']);
    expect(await scene.ledger()).not.toHaveProperty('rolled_back');
    await scene.night(day(11), SECOND);
    await scene.expectWhole();
  });

  test('to the newest generation ends the hold', async () => {
    const scene = await Scene.after([1, FIRST], [2, SECOND]);
    await goBack(scene, tagOf(1));
    expect(await goBack(scene, tagOf(2))).toMatchObject({ moved: true, held: false });
    await scene.night(day(10), SECOND);
    expect(await scene.listed()).toEqual(['b-1-0.conda', 'c-1-0.conda', 'd-1-0.conda']);
  });

  test('moves nothing where an archive is gone, and lists the others if that is wanted', async () => {
    const scene = await Scene.after([1, FIRST], [2, SECOND]);
    const repository = scene.registry.repository('c/noarch/a');
    const gone = await repository.resolve('1-0');
    if (gone !== undefined) await repository.delete?.(gone);
    const refused = await rollBack({ store: scene.store(), workers: scene.workers, generation: tagOf(1) });
    expect(refused).toMatchObject({
      moved: false,
      held: false,
      subdirs: [{ outcome: 'missing', missing: ['a-1-0.conda'] }],
    });
    expect(await scene.listed()).toContain('d-1-0.conda');
    expect(await goBack(scene, tagOf(1), { dropMissing: true })).toMatchObject({ moved: true });
    expect(await scene.listed()).toEqual(['b-1-0.conda', 'c-1-0.conda']);
    await scene.night(day(10), FIRST, { resume: true });
    await scene.expectWhole();
    expect(await scene.listed()).toHaveLength(3);
  });

  test('takes companions of the same tag along, and says which have none', async () => {
    const scene = await Scene.after([1, FIRST], [2, SECOND]);
    const put = async (file: 'run_exports.json' | 'current_repodata.json', text: string, tags: string[]) => {
      const layer = { mediaType: 'application/json', title: file, bytes: Buffer.from(text) };
      return (await pushMetadata(scene.store(), 'noarch', file, [layer], { tags })).digest;
    };
    const old = await put('run_exports.json', '{"old":1}', [tagOf(1)]);
    await put('run_exports.json', '{"new":1}', ['latest']);
    const current = await put('current_repodata.json', '{"new":1}', ['latest']);
    const report = await goBack(scene, tagOf(1));
    expect(report.subdirs[0]).toMatchObject({
      companions: ['run_exports.json'],
      warnings: [expect.stringContaining('current_repodata.json') as string],
    });
    const latestOf = async (file: string) =>
      (await scene.registry.repository(`c/noarch/${file}`).resolve('latest'))?.digest;
    expect(await latestOf('run_exports.json')).toBe(old);
    expect(await latestOf('current_repodata.json')).toBe(current);
  });

  test('killed before any of its writes leaves a whole channel, and the next one ends it', async () => {
    const first: Archive[] = FIRST;
    let isKilled = true;
    for (let writes = 0; isKilled; writes += 1) {
      const scene = await Scene.after([1, first], [2, SECOND]);
      let left = writes;
      const store = scene.store(failingRegistry(scene.registry, () => left-- <= 0));
      isKilled = await rollBack({ store, workers: scene.workers, generation: tagOf(1) }).then(
        () => false,
        () => true,
      );
      await scene.expectWhole();
      expect(await goBack(scene, tagOf(1))).toMatchObject({ held: true });
      expect(await scene.listed()).toEqual(['a-1-0.conda', 'b-1-0.conda', 'c-1-0.conda']);
      expect(Object.keys((await scene.ledger())?.kept ?? {})).toEqual(['d-1-0.conda']);
      expect(await scene.ledger()).not.toHaveProperty('running');
    }
  });

  test('what it unlists is protected from prune by its generation, and by the time', async () => {
    const scene = await Scene.after([1, FIRST], [2, SECOND]);
    await goBack(scene, tagOf(1));
    await scene.prune(day(30), { graceMs: 1000, keepGenerations: 1 });
    expect(await scene.holds('d-1-0.conda')).toBe(true);
    await goBack(scene, tagOf(2));
    await scene.expectWhole();
  });

  test.each([
    ['latest', 'USAGE'],
    ['2020.01.01.00.00.00', 'NOT_FOUND'],
  ])('to %s is refused: %s', async (tag, code) => {
    const scene = await Scene.after([1, FIRST]);
    await expect(goBack(scene, tag)).rejects.toMatchObject({ code });
  });
});
