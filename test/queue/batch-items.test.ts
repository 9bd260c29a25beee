import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import type { PlanItem } from '#ferry/mirror/plan.js';
import { batchItems, tagsPerJob } from '#ferry/queue/batch-items.js';

/** The work on a tag of a package, with archives of these sizes. */
function itemOf(name: string, build: number, sizes: readonly (number | undefined)[]): PlanItem {
  const extensions = ['conda', 'tar.bz2'];
  const add = sizes.map((size, at) => {
    const filename = `${name}-1-${String(build)}.${String(extensions[at])}`;
    const told = parseArchiveFilename(filename);
    return { ...told, filename, size, listedIn: 'noarch', sha256: undefined, md5: undefined, url: undefined };
  });
  const place = { repository: name, tag: `1-${String(build)}` };
  return { subdir: 'noarch', place, add, replaces: false, displaced: undefined, twin: undefined };
}

const size = fc.option(fc.nat({ max: 2000 }), { nil: undefined });
const items = fc
  .array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.array(size, { minLength: 1, maxLength: 2 })))
  .map((list) => list.map(([name, sizes], at) => itemOf(name, at, sizes)));

function bytesOf(batch: readonly PlanItem[]): number {
  return batch.flatMap(({ add }) => add).reduce((sum, record) => sum + (record.size ?? 0), 0);
}

test('jobs hold all items in their order, each of one repository, and are no larger than they may be', () => {
  const bounds = fc.record({ maxTags: fc.integer({ min: 1, max: 5 }), maxBytes: fc.nat({ max: 4000 }) });
  fc.assert(
    fc.property(items, bounds, (work, options) => {
      const batches = [...batchItems(work, options)];
      // The items themselves: a tag with its twin is one, and so is never split.
      expect(batches.flat()).toEqual(work);
      for (const [at, batch] of batches.entries()) {
        expect(new Set(batch.map(({ place }) => place.repository)).size).toBe(1);
        expect(batch.length).toBeLessThanOrEqual(options.maxTags);
        if (batch.length > 1) expect(bytesOf(batch)).toBeLessThanOrEqual(options.maxBytes);
        // None is smaller than it has to be.
        const next = batches[at + 1]?.[0];
        if (next === undefined || next.place.repository !== batch[0]?.place.repository) continue;
        const isFull = batch.length === options.maxTags || bytesOf([...batch, next]) > options.maxBytes;
        expect(isFull).toBe(true);
      }
    }),
  );
});

test('items are asked for as jobs are: a plan of millions is never held', () => {
  let asked = 0;
  function* endless(): Generator<PlanItem> {
    for (;;) yield itemOf('a', (asked += 1), [1]);
  }
  const batches = batchItems(endless(), { maxTags: 10 });
  for (let taken = 1; taken <= 3; taken += 1) {
    expect(batches.next().value).toHaveLength(10);
    expect(asked).toBe(taken * 10 + 1);
  }
});

test('small plans make small jobs, so that all workers have some; large ones no larger than 64 tags', () => {
  expect([0, 1, 256, 257, 2000, 16_384, 4_000_000].map(tagsPerJob)).toEqual([1, 1, 1, 2, 8, 64, 64]);
});
