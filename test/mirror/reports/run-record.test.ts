import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FerryError, TransportError } from '#ferry/errors.js';
import { makeRunRecord } from '#ferry/mirror/reports/make-run-record.js';
import { formatRunRecord, parseRunRecord } from '#ferry/mirror/reports/run-record.js';
import { hostileRecord } from './hostile-record.js';
import { sampleFacts, sampleReport, sampleSubdir } from './sample-run.js';

const failure = { filename: 'bad-1-0.conda', code: 'ARCHIVE_ABSENT', message: 'it is not there' } as const;
const known = new Set(['noarch/bad-1-0.conda']);
const withSubdirs = (...subdirs: ReturnType<typeof sampleSubdir>[]) =>
  sampleFacts({ report: sampleReport({ subdirs }) });

describe('the record of a run', () => {
  test('is this document', () => {
    const facts = withSubdirs(
      sampleSubdir({
        failed: [failure],
        withheld: [{ filename: 'x-1-0.conda', code: 'NAME_UNREPRESENTABLE', message: 'no', clause: 'v0/N1' }],
        leftOut: { 'too-young': 4 },
        warnings: ['look out'],
      }),
    );
    expect(makeRunRecord(facts)).toEqual({
      report_version: 1,
      toolVersion: '1.2.3',
      source: 'https://conda.example.org/ch',
      destination: 'registry.example.org/ch',
      schema: 'v0',
      startedAt: '2026-05-01T02:00:00.000Z',
      endedAt: '2026-05-01T02:01:00.000Z',
      outcome: 'failures',
      isInterrupted: false,
      requests: { source: 4, destination: 1021 },
      totals: {
        listed: 1200,
        there: 1197,
        added: 3,
        addedBytes: 3_400_000,
        artifacts: 2,
        kept: 0,
        gone: 0,
        untried: 0,
        failed: 1,
        acceptedFailures: 0,
        withheld: 1,
        leftOut: 4,
      },
      packages: [
        { name: 'zlib', archives: 2, bytes: 3_000_000 },
        { name: 'jq', archives: 1, bytes: 400_000 },
      ],
      otherPackages: { packages: 0, archives: 0, bytes: 0 },
      subdirs: [
        {
          subdir: 'noarch',
          publishedAs: 'unchanged',
          listed: 1200,
          there: 1197,
          added: 3,
          addedBytes: 3_400_000,
          artifacts: 2,
          kept: 0,
          gone: 0,
          untried: 0,
          failed: 1,
          unknownFailures: 1,
          failures: [failure],
          withheld: 1,
          withheldByCode: { NAME_UNREPRESENTABLE: 1 },
          leftOut: { 'too-young': 4 },
          sourceChangedAt: '2026-05-01T01:45:00.000Z',
          warnings: ['look out'],
        },
      ],
    });
  });

  test('sums packages of all subdirs, and names the hundred largest', () => {
    const packages = (from: number) =>
      Array.from({ length: 70 }, (_, i) => ({ name: `p${i + from}`, archives: 1, bytes: 1000 - i }));
    const record = makeRunRecord(
      withSubdirs(sampleSubdir({ packages: packages(0) }), sampleSubdir({ packages: packages(60) })),
    );
    expect(record.packages).toHaveLength(100);
    expect(record.packages[0]).toEqual({ name: 'p60', archives: 2, bytes: 940 + 1000 });
    expect(record.otherPackages).toMatchObject({ packages: 30, archives: 30 });
  });

  test('names a thousand failures of a subdir, those that nobody accepted first, and counts all', () => {
    const failed = Array.from({ length: 1500 }, (_, i) => ({ ...failure, filename: `p${i}-1-0.conda` }));
    const accepted = new Set(failed.slice(0, 1499).map(({ filename }) => `noarch/${filename}`));
    const record = makeRunRecord({ ...withSubdirs(sampleSubdir({ failed })), accepted });
    expect(record.totals).toMatchObject({ failed: 1500, acceptedFailures: 1499 });
    expect(record.subdirs[0]?.failures).toHaveLength(1000);
    expect(record.subdirs[0]?.failures.slice(0, 2)).toEqual([
      { ...failure, filename: 'p1499-1-0.conda' },
      { ...failure, filename: 'p0-1-0.conda', accepted: true },
    ]);
  });

  test('holds no secrets, control characters or novels', () => {
    const record = makeRunRecord(
      sampleFacts({
        report: undefined,
        source: 'https://user:secret@conda.example.org/t/secret/ch',
        error: new FerryError('NETWORK', `https://h.example/t/secret/x\u001b[2J ${'x'.repeat(9999)}`),
      }),
    );
    expect(JSON.stringify(record)).not.toMatch(/secret|\\u001b/);
    expect(record.error?.message.length).toBeLessThan(600);
  });
});

describe('its outcome', () => {
  test('is ok where all that failed is known to fail', () => {
    const facts = withSubdirs(sampleSubdir({ failed: [failure] }));
    expect(makeRunRecord(facts).outcome).toBe('failures');
    expect(makeRunRecord({ ...facts, accepted: known })).toMatchObject({
      outcome: 'ok',
      totals: { failed: 1, acceptedFailures: 1 },
    });
  });

  test('is interrupted where the run stopped early, whether it says so or throws', () => {
    const stopped = sampleReport({ isInterrupted: true });
    expect(makeRunRecord(sampleFacts({ report: stopped, isStopped: true })).outcome).toBe('interrupted');
    const thrown = sampleFacts({
      report: undefined,
      isStopped: true,
      error: new Error('interrupted by SIGINT'),
    });
    const record = makeRunRecord(thrown);
    expect(record).toMatchObject({ outcome: 'interrupted', isInterrupted: true, subdirs: [] });
    expect(record).not.toHaveProperty('error');
    // A stop that came when all was done.
    expect(makeRunRecord(sampleFacts({ isStopped: true })).outcome).toBe('ok');
  });

  test('is failed with code, message and hint where the run threw', () => {
    const cause = new TransportError('NETWORK', 'no answer', { method: 'GET', url: 'x', attempts: 3 });
    const error = new FerryError('CHANNEL_NOT_FOUND', 'no channel', { cause, hint: 'look there' });
    const facts = sampleFacts({ report: undefined, error });
    expect(makeRunRecord(facts)).toMatchObject({
      outcome: 'failed',
      endedAt: '2026-05-01T02:01:00.000Z',
      error: { code: 'CHANNEL_NOT_FOUND', message: 'no channel: no answer', hint: 'look there' },
      totals: { added: 0 },
    });
    expect(makeRunRecord({ ...facts, hintOf: () => 'or here' }).error?.hint).toBe('or here');
    const system = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    expect(makeRunRecord({ ...facts, error: system }).error?.code).toBe('EACCES');
    expect(makeRunRecord({ ...facts, error: new TypeError('x') }).error?.code).toBe('INTERNAL');
  });

  test('is failed too where it threw when all was published, and what it did stays in it', () => {
    const record = makeRunRecord(sampleFacts({ error: new Error('no room for the list of failures') }));
    expect(record).toMatchObject({ outcome: 'failed', totals: { added: 3 } });
  });
});

describe('its lag', () => {
  const lag = (...subdirs: ReturnType<typeof sampleSubdir>[]) =>
    makeRunRecord(withSubdirs(...subdirs)).lagSeconds;

  test('is the time since the change that was published, of the slowest subdir', () => {
    expect(lag(sampleSubdir())).toBe(16 * 60);
    const older = sampleSubdir({ subdir: 'linux-64', sourceChangedAt: '2026-05-01T01:00:00.000Z' });
    expect(lag(sampleSubdir(), older)).toBe(61 * 60);
  });

  test('is nothing where the source had not changed, however long ago it did', () => {
    expect(lag(sampleSubdir({ publishedAs: 'kept', sourceChangedAt: '2019-01-01T00:00:00.000Z' }))).toBe(0);
    expect(lag(sampleSubdir({ publishedAs: 'kept', sourceChangedAt: undefined }))).toBe(0);
  });

  test('is not known where something is missing, or the source does not say', () => {
    expect(lag(sampleSubdir({ failed: [failure] }))).toBeUndefined();
    expect(lag(sampleSubdir({ untried: 1 }))).toBeUndefined();
    expect(lag(sampleSubdir({ sourceChangedAt: undefined }))).toBeUndefined();
    expect(lag(sampleSubdir({ publishedAs: 'nothing', listed: undefined }))).toBeUndefined();
    expect(lag()).toBeUndefined();
  });

  test('is not below nothing where clocks differ, and takes no absurd year', () => {
    expect(lag(sampleSubdir({ sourceChangedAt: '2026-05-01T03:00:00.000Z' }))).toBe(0);
    expect(lag(sampleSubdir({ sourceChangedAt: new Date(8e15).toISOString() }))).toBeUndefined();
  });

  test('counts what is accepted to fail as done', () => {
    const facts = withSubdirs(sampleSubdir({ failed: [failure] }));
    expect(makeRunRecord({ ...facts, accepted: known }).lagSeconds).toBe(16 * 60);
  });
});

describe('reading it back', () => {
  test('gives the same, whatever is in it', () => {
    fc.assert(
      fc.property(hostileRecord, (record) => {
        expect(parseRunRecord(formatRunRecord(record), 'x.json')).toEqual(record);
      }),
    );
  });

  test('keeps fields of a later version of the same format', () => {
    const record = { ...makeRunRecord(sampleFacts()), mood: 'good' };
    expect(parseRunRecord(JSON.stringify(record), 'x.json')).toEqual(record);
  });

  test.each(['', '{', '[]', '{"report_version":2}', '{"report_version":1}'])('refuses %j', (text) => {
    expect(() => parseRunRecord(text, 'x.json')).toThrow(expect.objectContaining({ code: 'REPORT_INVALID' }));
  });
});
