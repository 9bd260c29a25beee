import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergeMarkAnnotation, NOTHING_MERGED, readMergeMark } from '#ferry/artifact/merge-mark.js';
import type { LoggedOperation, OperationEntry, PublishedRecord } from '#ferry/artifact/operation-log.js';
import { Listing } from '#ferry/publish/listing.js';
import { mergeOperations, revisionOf, type MergedState } from '#ferry/publish/merge.js';

const FILENAMES = ['a-1-0.conda', 'a-1-0.tar.bz2', 'b-2-0.conda'] as const;
const SHA256 = ['a', 'b', 'c'].map((letter) => letter.repeat(64));
const RUNS = { numRuns: 400 };

const filename = fc.constantFrom(...FILENAMES);
const revision = fc.nat(3);
const record = fc
  .record({
    sha256: fc.constantFrom(...SHA256),
    time: fc.nat(2),
    note: fc.constantFrom('x', 'y', 'ü', '"\\'),
  })
  .map(({ sha256, time, note }): PublishedRecord => {
    return { name: 'n', version: '1', build: '0', note, sha256, indexed_timestamp: time };
  });
const entry: fc.Arbitrary<OperationEntry> = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), filename, revision, record }),
  fc.record({
    kind: fc.constant('replace' as const),
    filename,
    revision,
    record,
    replaces: fc.constantFrom(...SHA256),
  }),
  fc.record({ kind: fc.constant('remove' as const), filename, revision, yank: fc.boolean() }),
);
/** Each with a tag of its own. */
const operations = fc
  .array(fc.array(entry, { maxLength: 3 }), { maxLength: 8 })
  .map((all) => all.map((entries, i): LoggedOperation => logged(entries, i)));

/** Repodata that others made: without times, removed and listed at once, with members of its own. */
const base = fc
  .record({
    listed: fc.uniqueArray(fc.tuple(filename, fc.option(fc.nat(2), { nil: undefined })), {
      selector: ([name]) => name,
    }),
    removed: fc.uniqueArray(filename),
    revisions: fc.dictionary(filename, fc.integer({ min: 2, max: 3 })),
  })
  .map(({ listed, removed, revisions }): MergedState => {
    const section = (extension: string): object =>
      Object.fromEntries(
        listed
          .filter(([name]) => name.endsWith(extension))
          .map(([name, time]) => [
            name,
            { sha256: SHA256[1], ...(time === undefined ? {} : { indexed_timestamp: time }) },
          ]),
      );
    const text = JSON.stringify({
      'packages.conda': section('.conda'),
      packages: section('.tar.bz2'),
      removed,
      extra: { kept: [1.0, 1e400, 'ü'] },
    });
    return { listing: Listing.parse(Buffer.from(text), 'noarch'), mark: { ...NOTHING_MERGED, revisions } };
  });

function logged(entries: readonly OperationEntry[], i: number): LoggedOperation {
  const tag = `op-20260101t000000000z-${i.toString(16).padStart(12, '0')}`;
  const at = '2026-01-01T00:00:00.000Z';
  return {
    tag,
    operation: { operation_version: 1, subdir: 'noarch', at, based_on: null, entries: [...entries] },
  };
}

function shown({ listing, mark }: MergedState): string {
  return `${Buffer.from(listing.write()).toString()}${JSON.stringify(mergeMarkAnnotation(mark))}`;
}

/** As it comes back when it was published. */
function published({ listing, mark }: MergedState): MergedState {
  return {
    listing: Listing.parse(listing.write(), 'noarch'),
    mark: readMergeMark(mergeMarkAnnotation(mark)),
  };
}

describe('the merge of operations', () => {
  test('is the same in any order, any groups and any repetition, and when it is published in between', () => {
    fc.assert(
      fc.property(base, operations, fc.infiniteStream(fc.nat(1000)), (state, all, numbers) => {
        const next = (below: number): number => Number(numbers.next().value) % below;
        const atOnce = shown(mergeOperations(state, all));
        const open = [...all, ...all.filter(() => next(3) === 0)];
        let merged = state;
        while (open.length > 0) {
          const group = Array.from({ length: 1 + next(3) }, () => open.splice(next(open.length), 1)).flat();
          merged = mergeOperations(merged, group);
          if (next(2) === 0) merged = published(merged);
        }
        expect(shown(merged)).toBe(atOnce);
      }),
      RUNS,
    );
  });

  test('of states that each lack some is the same from either', () => {
    fc.assert(
      fc.property(
        base,
        operations,
        fc.array(fc.nat(2), { minLength: 8, maxLength: 8 }),
        (state, all, sides) => {
          // Some only here, some only there, some in both.
          const here = all.filter((_, i) => sides[i] !== 0);
          const there = all.filter((_, i) => sides[i] !== 1);
          const fromHere = mergeOperations(published(mergeOperations(state, here)), there);
          const fromThere = mergeOperations(published(mergeOperations(state, there)), here);
          expect(shown(fromHere)).toBe(shown(fromThere));
        },
      ),
      RUNS,
    );
  });

  test('is what the strongest claim says: revision, removal, time, digest', () => {
    fc.assert(
      fc.property(operations, (all) => {
        const state = mergeOperations(empty(), all);
        for (const name of FILENAMES) {
          const claims = all
            .flatMap(({ operation }) => operation.entries)
            .filter((one) => one.filename === name);
          const strongest = claims.toSorted(byStrength)[0];
          const { listing } = state;
          expect(listing.get(name)?.['sha256']).toBe(
            strongest !== undefined && 'sha256' in (strongest.record ?? {}) && strongest.kind !== 'remove'
              ? strongest.record.sha256
              : undefined,
          );
          expect(listing.removed.has(name)).toBe(strongest?.kind === 'remove' && strongest.yank);
          expect(revisionOf(state, name)).toBe(strongest?.revision ?? 0);
        }
      }),
      RUNS,
    );
  });

  test('never undoes a removal by an add of the same revision, or a lower one', () => {
    fc.assert(
      fc.property(base, operations, filename, (state, all, name) => {
        const removal = logged([{ kind: 'remove', filename: name, revision: 3, yank: true }], 99);
        const merged = mergeOperations(mergeOperations(state, [removal]), all);
        expect(merged.listing.has(name)).toBe(false);
        expect(merged.listing.removed.has(name)).toBe(true);
      }),
      RUNS,
    );
  });

  test('keeps the earliest time of an archive', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { minLength: 1, maxLength: 5 }), (times) => {
        const all = times.map((time, i) =>
          logged([{ kind: 'add', filename: 'a-1-0.conda', revision: 0, record: recordAt(time) }], i),
        );
        const listed = mergeOperations(empty(), all).listing.get('a-1-0.conda');
        expect(listed?.['indexed_timestamp']).toBe(Math.min(...times));
      }),
    );
  });

  test('leaves a record without a time as it stands, and all that nobody touches byte for byte', () => {
    const text =
      '{"packages.conda":{"a-1-0.conda":{ "sha256":"x" },"z-1-0.conda":{"size":1e2 , "b":1.0}},"u":1.50}';
    const state = { listing: Listing.parse(Buffer.from(text), 'noarch'), mark: NOTHING_MERGED };
    const add = logged([{ kind: 'add', filename: 'a-1-0.conda', revision: 0, record: recordAt(1) }], 1);
    const merged = Buffer.from(mergeOperations(state, [add]).listing.write()).toString();
    for (const kept of ['{ "sha256":"x" }', '{"size":1e2 , "b":1.0}', '"u":1.50'])
      expect(merged).toContain(kept);
  });

  test('gives the state itself where nothing is new', () => {
    const add = logged([{ kind: 'add', filename: 'a-1-0.conda', revision: 0, record: recordAt(1) }], 1);
    const merged = mergeOperations(empty(), [add]);
    expect(mergeOperations(merged, [add])).toBe(merged);
    expect(mergeOperations(merged, [])).toBe(merged);
  });

  test('writes the same record whoever read it from the log, in whatever order its keys came', () => {
    const { name, ...others } = recordAt(1);
    const one = logged([{ kind: 'add', filename: 'a-1-0.conda', revision: 0, record: recordAt(1) }], 1);
    const other = logged(
      [{ kind: 'add', filename: 'a-1-0.conda', revision: 0, record: { ...others, name } }],
      1,
    );
    expect(shown(mergeOperations(empty(), [one]))).toBe(shown(mergeOperations(empty(), [other])));
  });

  test('says no more of an archive that was removed and is held back since', () => {
    const removed = logged([{ kind: 'remove', filename: 'a-1-0.conda', revision: 1, yank: true }], 1);
    const held = logged([{ kind: 'remove', filename: 'a-1-0.conda', revision: 2, yank: false }], 2);
    const state = mergeOperations(empty(), [removed, held]);
    expect([...state.listing.removed]).toEqual([]);
    expect(shown(mergeOperations(empty(), [held, removed]))).toBe(shown(state));
    expect(revisionOf(state, 'a-1-0.conda')).toBe(2);
  });
});

function empty(): MergedState {
  return { listing: Listing.empty('noarch'), mark: NOTHING_MERGED };
}

function recordAt(time: number): PublishedRecord {
  return { name: 'a', version: '1', build: '0', sha256: 'a'.repeat(64), indexed_timestamp: time };
}

function byStrength(a: OperationEntry, b: OperationEntry): number {
  if (a.revision !== b.revision) return b.revision - a.revision;
  const [ra, rb] = [rank(a), rank(b)];
  if (ra !== rb) return rb - ra;
  if (a.kind === 'remove' || b.kind === 'remove') return 0;
  const time = a.record.indexed_timestamp - b.record.indexed_timestamp;
  return time === 0
    ? a.record.sha256 < b.record.sha256
      ? -1
      : a.record.sha256 > b.record.sha256
        ? 1
        : 0
    : time;
}

function rank(entry: OperationEntry): number {
  return entry.kind !== 'remove' ? 0 : entry.yank ? 2 : 1;
}
