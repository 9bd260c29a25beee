import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { makeBadge } from '#ferry/mirror/reports/badge.js';
import { scaleOf } from '#ferry/mirror/reports/bar-chart.js';
import { lastSuccess, newestSubdirs, ongoingFailures } from '#ferry/mirror/reports/history.js';
import { formatMirrorPage } from '#ferry/mirror/reports/mirror-page.js';
import type { RunRecord } from '#ferry/mirror/reports/run-record.js';
import { describeState } from '#ferry/mirror/reports/run-state.js';
import { expectBalanced, tagsOf, textOf, tokenize, type Token } from '../../conformance/reports/markup.js';
import { hostileRecord } from './hostile-record.js';
import { failedRecord, sampleRecord } from './sample-run.js';

const DOCTYPE = '<!doctype html>\n';
const denied = new FerryError('DENIED', '`registry.example.org` takes no uploads', { hint: 'log in' });
const bad = { filename: 'bad-1-0.conda', code: 'ARCHIVE_ABSENT', message: 'it is not there' } as const;
const worse = { filename: 'worse-1-0.conda', code: 'DIGEST_MISMATCH', message: 'other bytes' } as const;

function read(records: readonly [RunRecord, ...RunRecord[]], olderRecords = 0): readonly Token[] {
  const html = formatMirrorPage(records, { toolVersion: '1.2.3', olderRecords });
  expect(html.startsWith(DOCTYPE)).toBe(true);
  const tokens = tokenize(html.slice(DOCTYPE.length));
  expectBalanced(tokens, ['meta']);
  return tokens;
}

describe('the page of a mirror', () => {
  const records = [
    sampleRecord(3, {
      failed: [bad, worse],
      withheld: [{ filename: 'x', code: 'NAME_UNREPRESENTABLE', message: 'no' }],
      leftOut: { 'older-than-latest': 1234, 'too-young': 0 },
      kept: 7,
      warnings: ['noarch: `somebody` else'],
    }),
    failedRecord(2, denied),
    sampleRecord(1, { failed: [bad] }),
    sampleRecord(0, { addedBytes: 9e12, packages: [{ name: 'huge', archives: 9000, bytes: 9e12 }] }),
  ] as const;

  test('says how it stands in one sentence, and what its runs did', () => {
    const text = textOf(read(records, 12));
    for (const part of [
      'Mirror of https://conda.example.org/ch',
      'Mirrored 2026-05-04 02:01 UTC, but 2 archives failed',
      '3 archives (3.4 MB) added in 60 s. Last complete 2026-05-01 02:01 UTC, 3 runs ago.',
      '4 to the source, 1\u00a0021 to the destination',
      'noarch/bad-1-0.condaARCHIVE_ABSENTit is not there2 runs, since 2026-05-02 02:01 UTC',
      'noarch/worse-1-0.condaDIGEST_MISMATCHother bytes1 run, since 2026-05-04 02:01 UTC',
      'largest 9.0 TB (cut)',
      'left out by filters: 1\u00a0234 older than the latest; withheld',
      '1 NAME_UNREPRESENTABLE; stored, and no longer listed: 7',
      'noarch: somebody else',
      'huge9 0009.0 TB',
      '2026-05-03 02:01 UTCfailed DENIED',
      '12 older records in this folder are not shown.',
      'Made by conda-ferry 1.2.3, 2026-05-04T02:01:00Z',
    ]) {
      expect(text).toContain(part);
    }
    expect(text).not.toContain('too young');
  });

  test('draws a bar for each run, with its title, and marks the runs that failed', () => {
    const tokens = read(records);
    const charts = tagsOf(tokens, 'svg');
    expect(charts).toHaveLength(2);
    const ids = tagsOf(tokens, 'title').flatMap((tag) => tag.get('id') ?? []);
    expect(charts.map((tag) => tag.get('aria-labelledby'))).toEqual(ids);
    const shapes = tagsOf(tokens, 'rect').map((tag) => tag.get('class'));
    expect(shapes.slice(0, 7)).toEqual(['slot', 'bar cut', 'slot', 'bar', 'mark', 'slot', 'bar']);
    expect(textOf(tokens)).toContain('2026-05-03 02:01 UTC: 0 B, failed');
  });

  test('is one file that loads nothing and runs nothing', () => {
    const tokens = read(records);
    for (const name of ['script', 'link', 'img', 'iframe', 'object', 'form', 'a', 'image', 'use'])
      expect(tagsOf(tokens, name)).toEqual([]);
    expect(textOf(tokens)).not.toMatch(/url\(|@import/);
    const policy = tagsOf(tokens, 'meta').find((tag) => tag.has('http-equiv'));
    expect(policy?.get('content')).toBe("default-src 'none'; style-src 'unsafe-inline'");
    const ids = tokens.flatMap((token) => ('attributes' in token ? (token.attributes.get('id') ?? []) : []));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('shows a mirror that died, with what it was before', () => {
    const text = textOf(read([failedRecord(5, denied), failedRecord(4, denied), ...records.slice(3)]));
    expect(text).toContain('The run of 2026-05-06 02:01 UTC failed');
    expect(text).toContain(
      'registry.example.org takes no uploads [DENIED]. Log in. Last complete 2026-05-01 02:01 UTC, 2 runs ago.',
    );
    expect(text).toContain('Run of');
  });

  test('of a first run that failed at once is a page too', () => {
    const tokens = read([failedRecord(0, denied)]);
    expect(textOf(tokens)).toContain('The run of 2026-05-01 02:01 UTC failed');
    expect(tagsOf(tokens, 'svg')).toEqual([]);
  });

  test('is whole, whatever names hold', () => {
    const text = formatMirrorPage(records);
    const elements = new Set([...text.matchAll(/<([a-z]\w*)/g)].map(([, name]) => name));
    elements.add('h3');
    fc.assert(
      fc.property(fc.tuple(hostileRecord, hostileRecord), (hostile) => {
        for (const token of read(hostile)) {
          if (token.kind === 'text') continue;
          expect(elements).toContain(token.name);
          if (token.kind !== 'open') continue;
          expect([...token.attributes.keys()].filter((name) => /^(?:on|style|href|src)/.test(name))).toEqual(
            [],
          );
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('several runs together', () => {
  test('a failure counts the runs in a row that it stood in, and skips those that did not come to its subdir', () => {
    const elsewhere = sampleRecord(4, { subdir: 'linux-64' });
    const newestFirst = [
      elsewhere,
      sampleRecord(3, { failed: [bad] }),
      failedRecord(2, denied),
      sampleRecord(1, { failed: [bad] }),
      sampleRecord(0),
      sampleRecord(-1, { failed: [bad] }),
    ];
    expect(ongoingFailures(newestFirst)).toEqual([
      { ...bad, subdir: 'noarch', runs: 2, since: '2026-05-02T02:01:00.000Z' },
    ]);
    expect(newestSubdirs(newestFirst).map(({ subdir, record }) => [subdir.subdir, record.endedAt])).toEqual([
      ['linux-64', '2026-05-05T02:01:00.000Z'],
      ['noarch', '2026-05-04T02:01:00.000Z'],
    ]);
    expect(lastSuccess(newestFirst).runsSince).toBe(0);
  });

  test('what is accepted to fail comes last', () => {
    const record = sampleRecord(0, { failed: [bad, worse] }, { accepted: new Set(['noarch/bad-1-0.conda']) });
    expect(ongoingFailures([record]).map(({ filename }) => filename)).toEqual([worse.filename, bad.filename]);
  });
});

describe('the state in a sentence', () => {
  test.each([
    [
      sampleRecord(),
      'Mirrored 2026-05-01 02:01 UTC',
      '3 archives (3.4 MB) added in 60 s, 16 min behind the source.',
    ],
    [
      sampleRecord(0, { publishedAs: 'kept', added: 0 }),
      'Mirrored 2026-05-01 02:01 UTC',
      'Nothing new in 60 s, level with the source.',
    ],
    [
      sampleRecord(0, { failed: [bad] }, { accepted: new Set(['noarch/bad-1-0.conda']) }),
      'Mirrored 2026-05-01 02:01 UTC',
      '3 archives (3.4 MB) added in 60 s, 16 min behind the source, 1 archive failed that is known to fail.',
    ],
    [
      sampleRecord(0, {}, { report: undefined, isStopped: true }),
      'Interrupted 2026-05-01 02:01 UTC',
      'The next run goes on from there.',
    ],
  ])('is %#', (record, headline, details) => {
    expect(describeState([record])).toMatchObject({ headline, details });
  });

  test('says so where no run was complete', () => {
    const { details } = describeState([failedRecord(1, denied), failedRecord(0, denied)]);
    expect(details).toContain('None of the last 2 runs was complete.');
  });
});

describe('the badge', () => {
  test.each([
    [sampleRecord(), '2026-05-01 02:01 UTC', 'brightgreen', false],
    [sampleRecord(0, { failed: [bad] }), '2026-05-01 02:01 UTC, 1 failed', 'yellow', false],
    [failedRecord(0, denied), '2026-05-01 02:01 UTC, failed', 'red', true],
  ])('tells when and how: %#', (record, message, color, isError) => {
    expect(makeBadge(record)).toEqual({ schemaVersion: 1, label: 'mirror', message, color, isError });
  });
});

test('one bar far above all others is cut, so that these are seen', () => {
  expect(scaleOf([5, 1000, 10])).toEqual({ top: 15, isCut: true });
  expect(scaleOf([5, 30, 10])).toEqual({ top: 30, isCut: false });
  expect(scaleOf([7, 0, 0])).toEqual({ top: 7, isCut: false });
  expect(scaleOf([])).toEqual({ top: 1, isCut: false });
});
