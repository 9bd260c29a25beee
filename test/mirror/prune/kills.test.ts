import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatPrunePlan } from '#ferry/mirror/prune/plan-document.js';
import { failingRegistry } from '../../support/failing-registry.js';
import { bz2, conda, day, goingOf, Scene, type Archive } from './scene.js';

const FIRST = [
  conda('a'),
  conda('a', '2'),
  conda('b'),
  bz2('b'),
  conda('e'),
  bz2('e'),
  conda('gone'),
  conda('c'),
];
const LAST = [conda('a', '2'), conda('b'), bz2('e'), conda('c')];
const POLICY = { graceMs: 0, keepGenerations: 1, deleteGenerations: true, scan: true } as const;

test('killed before any of its writes, it leaves a whole channel and an honest ledger, and the next one ends the work', async () => {
  const whole = await Scene.after([1, FIRST], [2, LAST]);
  const doomed = goingOf(await whole.plan(day(3), POLICY));
  expect(doomed).toHaveLength(4);
  await whole.prune(day(3), POLICY);
  let isKilled = true;
  for (let writes = 0; isKilled; writes += 1) {
    const scene = await Scene.after([1, FIRST], [2, LAST]);
    const plan = await scene.plan(day(3), POLICY);
    let left = writes;
    const registry = failingRegistry(scene.registry, () => left-- <= 0);
    const outcome = await scene.apply(plan, registry).then(
      () => 'done',
      (error: unknown) => String(error),
    );
    isKilled = outcome !== 'done';
    if (isKilled) expect(outcome).toContain('killed');
    await scene.expectWhole();
    await scene.prune(day(4), POLICY);
    for (const filename of doomed)
      expect(await scene.holds(filename), `${filename} after ${writes}`).toBe(false);
    expect(await scene.listed()).toEqual(await whole.listed());
    expect(await scene.ledger()).toEqual(await whole.ledger());
    for (const leaf of ['a', 'b', 'c', 'e', 'gone', 'repodata.json'])
      expect(await scene.tags(leaf), leaf).toEqual(await whole.tags(leaf));
  }
});

test('whatever was listed when, and whatever the policy: what is listed resolves, and pinned archives are there', async () => {
  const all: readonly Archive[] = [conda('a'), bz2('a'), conda('b'), conda('b', '2'), conda('c')];
  const scene = await Scene.after(
    [1, all],
    [10, [conda('a'), conda('b'), conda('c')]],
    [20, [bz2('a'), conda('b', '2'), conda('c')]],
  );
  const policy = fc.record({
    days: fc.integer({ min: 0, max: 40 }),
    at: fc.integer({ min: 20, max: 70 }),
    keepGenerations: fc.integer({ min: 1, max: 4 }),
    deleteGenerations: fc.boolean(),
    scan: fc.boolean(),
    pin: fc.subarray(['a', 'b=1', 'b=2']),
  });
  const listed = await scene.listed();
  await fc.assert(
    fc.asyncProperty(policy, async ({ days, at, pin, ...rest }) => {
      const copy = await scene.copy();
      const plan = await copy.plan(day(at), { graceMs: days * 24 * 60 * 60 * 1000, pin, ...rest });
      const going = goingOf(plan);
      expect(going.filter((filename) => listed.includes(filename))).toEqual([]);
      await copy.apply(plan);
      expect(await copy.listed()).toEqual(listed);
      for (const { filename } of all)
        expect(await copy.holds(filename), filename).toBe(!going.includes(filename));
      for (const name of pin) {
        const [packageName = '', version] = name.split('=');
        for (const archive of all) {
          const isPinned = archive.filename.startsWith(`${packageName}-${version ?? ''}`);
          if (isPinned) expect(await copy.holds(archive.filename)).toBe(true);
        }
      }
      // The same again finds nothing more to do.
      expect(
        goingOf(await copy.plan(day(at), { graceMs: days * 24 * 60 * 60 * 1000, pin, ...rest })),
      ).toEqual([]);
      expect(formatPrunePlan(plan)).toContain('"prune_plan_version": 1');
    }),
    { numRuns: 40 },
  );
});
