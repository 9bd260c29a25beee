import type { PackageIdentity } from '#ferry/artifact/schema.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import type { RepodataRecord } from '#ferry/conda/package-record.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { SettledArchive } from '#ferry/mirror/executor.js';
import type { PlanItem } from '#ferry/mirror/plan.js';
import {
  firstFilename,
  isAllThere,
  parseFailure,
  parseJob,
  parseResult,
  readSettled,
  readTag,
  settledRow,
  tagRow,
  type TagRow,
} from '#ferry/queue/job.js';

const store = new ChannelStore(new MemoryRegistry(), 'channel', schemaV0);

const hex = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes).toString('hex'));
const name = fc.stringMatching(/^[a-z][a-z0-9]{0,12}(?:[-_.][a-z0-9]{1,4})?$/);
const version = fc.stringMatching(/^(?:[1-9]!)?[0-9]{1,3}(?:\.[a-z0-9]{1,4}){0,3}$/);
const build = fc.stringMatching(/^[a-z0-9_]{1,12}$/);
/** Record's own URL, as sources have it; what it holds of secrets is taken out, so these hold none. */
const url = fc.constantFrom(
  'https://example.org/a.conda',
  '../elsewhere/a.conda',
  'https://example.org/%2B/a',
);

const other = fc.record({ name, version, build });

function recordOf(
  filename: string,
  more: Pick<RepodataRecord, 'sha256' | 'md5' | 'size' | 'url'>,
  told?: { readonly name: string; readonly version: string; readonly build: string },
): RepodataRecord {
  return { ...parseArchiveFilename(filename), ...told, ...more, filename, listedIn: 'noarch' };
}

const known = fc.record({
  sha256: fc.option(hex(32), { nil: undefined }),
  md5: fc.option(hex(16), { nil: undefined }),
  size: fc.option(fc.nat({ max: 2 ** 40 }), { nil: undefined }),
  url: fc.option(url, { nil: undefined }),
});

function hasPlace(identity: PackageIdentity): boolean {
  try {
    store.schema.placeOf(identity);
    return true;
  } catch {
    return false;
  }
}

/** One or two archives to add, and their twin where there is one. */
const item: fc.Arbitrary<PlanItem> = fc
  .record({
    ...{ name, version, build, first: known, second: known },
    told: fc.option(other, { nil: undefined, freq: 5 }),
    kind: fc.constantFrom('one', 'both', 'meets', 'meets a stranger'),
    isConda: fc.boolean(),
  })
  // What the schema has no place for is in no plan.
  .filter(({ name, version, build, told }) => hasPlace(told ?? { name, version, build }))
  .map(({ name, version, build, first, second, told, kind, isConda }) => {
    const stem = `${name}-${version}-${build}`;
    const names = [`${stem}.conda`, `${stem}.tar.bz2`];
    const [here = '', twin = ''] = isConda ? names : names.reverse();
    const record = recordOf(here, first, told);
    const twinRecord = recordOf(twin, second, told);
    return {
      subdir: 'noarch',
      place: store.schema.placeOf(record),
      add: kind === 'both' ? [record, twinRecord] : [record],
      replaces: false,
      displaced: undefined,
      twin: kind.startsWith('meets')
        ? { filename: twin, record: kind === 'meets' ? twinRecord : undefined }
        : undefined,
    };
  });

describe('rows of jobs', () => {
  test('hold the work on a tag, whatever it is', () => {
    fc.assert(
      fc.property(item, fc.boolean(), (work, isSuspect) => {
        const row = tagRow(work, () => isSuspect);
        const sent = parseJob(JSON.parse(JSON.stringify({ s: 'noarch', t: [row] })));
        const { subdir, place, add, twin } = work;
        const [back] = sent.t.map((tag) => readTag(tag, sent.s, store));
        expect(back).toEqual({
          work: { subdir, place, add, twin },
          suspects: new Set(isSuspect ? add.map(({ filename }) => filename) : []),
        });
        expect(firstFilename(row)).toBe(add[0]?.filename);
      }),
      { numRuns: 500 },
    );
  });

  test('hold what became of an archive', () => {
    const settled = fc.oneof(
      fc.record({ outcome: fc.constant('added' as const), size: fc.nat() }),
      fc.record({
        outcome: fc.constant('failed' as const),
        code: fc.constantFrom('DIGEST_MISMATCH' as const, 'NOT_FOUND' as const, 'WORKER_LOST' as const),
        message: fc.string(),
        mayHaveWritten: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(item, fc.array(settled, { minLength: 3, maxLength: 3 }), (work, outcomes) => {
        const records = [...work.add, ...(work.twin?.record === undefined ? [] : [work.twin.record])];
        const archives = records.map(
          (record, at) => ({ ...outcomes[at], record }) as unknown as SettledArchive,
        );
        const answer = { d: [archives.map(settledRow)], q: [1, 2], w: 'host:1' };
        const { d } = parseResult(JSON.parse(JSON.stringify(answer)));
        expect(readSettled(d[0] ?? [], work)).toEqual(archives);
        expect(isAllThere(d[0] ?? [])).toBe(archives.every(({ outcome }) => outcome === 'added'));
      }),
    );
  });

  test('of an archive take little more than its name and digest', () => {
    const filename = 'a-package-of-usual-length-1.2.3-py312h0123456_0.conda';
    const record = recordOf(filename, {
      ...{ sha256: 'ab'.repeat(32), md5: undefined, size: 12_345_678, url: undefined },
    });
    const row = tagRow({ add: [record], twin: undefined }, () => false);
    expect(JSON.stringify(row).length).toBeLessThan(filename.length + 43 + 24);
  });

  test.each([
    'https://user:secret@example.org/ch/a-1-0.conda',
    'https://example.org/t/secret/ch/a-1-0.conda',
    'https://example.org/t/a/t/secret/ch/a-1-0.conda',
    'https://example.org/t//t/secret/a-1-0.conda',
    'https://example.org/a-1-0.conda?X-Amz-Signature=secret',
    'https://example.org/a-1-0.conda#token=secret',
    'https:\\\\user:secret@example.org/a-1-0.conda',
    '../t/secret/a-1-0.conda',
    '//user:secret@example.org/a-1-0.conda',
    '/t/secret/a-1-0.conda',
    'a-1-0.conda?token=secret',
  ])('hold no secret of %s', (url) => {
    const record = recordOf('a-1-0.conda', { sha256: 'ab'.repeat(32), md5: undefined, size: 1, url });
    const works = [
      { add: [record], twin: undefined },
      { add: [recordOf('a-1-0.tar.bz2', record)], twin: { filename: record.filename, record } },
    ];
    for (const work of works) expect(JSON.stringify(tagRow(work, () => false))).not.toContain('secret');
  });

  test('that another version wrote are told from broken ones by their code', () => {
    const strange: unknown[] = [undefined, null, 'x', {}, { s: 'noarch', t: [] }, { s: 1, t: [[]] }];
    for (const data of strange) {
      expect(() => parseJob(data)).toThrow(expect.objectContaining({ code: 'VERSION_MISMATCH' }));
      expect(() => parseResult(data)).toThrow(expect.objectContaining({ code: 'VERSION_MISMATCH' }));
      expect(parseFailure(data)).toBeUndefined();
    }
    const unknown = { d: [[['a-1-0.conda', 'NO_SUCH_CODE', '', 0]]], q: [0, 0], w: '' };
    expect(() => parseResult(unknown)).toThrow(expect.objectContaining({ code: 'VERSION_MISMATCH' }));
    const empty: TagRow = [{ w: 'a-1-0.conda' }];
    expect(() => readTag(empty, 'noarch', store)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });
});
