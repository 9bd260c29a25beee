import fc from 'fast-check';
import type { FerryErrorCode } from '#ferry/errors.js';
import { makeRunRecord } from '#ferry/mirror/reports/make-run-record.js';
import type { RunRecord } from '#ferry/mirror/reports/run-record.js';
import { hostileText } from '../../conformance/reports/hostile.js';
import { sampleFacts, sampleReport, sampleSubdir } from './sample-run.js';

const number = fc.nat(1_000_000_000);

/** Of a code; the one key that no parser takes for a key like any other is none. */
const hostileKey = hostileText.filter((text) => text !== '__proto__');

const hostileSubdir = fc
  .record({
    subdir: fc.constantFrom('noarch', 'linux-64', 'osx-arm64'),
    publishedAs: fc.constantFrom(
      'unchanged' as const,
      'spliced' as const,
      'kept' as const,
      'nothing' as const,
    ),
    listed: fc.option(number, { nil: undefined }),
    added: number,
    addedBytes: number,
    untried: fc.nat(2),
    packages: fc.array(fc.record({ name: hostileText, archives: number, bytes: number }), { maxLength: 3 }),
    failed: fc.array(
      fc.record({
        filename: hostileText,
        code: hostileKey.map((text) => text as FerryErrorCode),
        message: hostileText,
      }),
      { maxLength: 3 },
    ),
    withheld: fc.array(
      fc.record({
        filename: hostileText,
        code: hostileKey.map((text) => text as FerryErrorCode),
        message: hostileText,
      }),
      { maxLength: 2 },
    ),
    leftOut: fc.dictionary(fc.oneof(hostileKey, fc.constant('constructor')), number, { maxKeys: 3 }),
    sourceChangedAt: fc.option(
      fc
        .date({ min: new Date(0), max: new Date('2099-01-01'), noInvalidDate: true })
        .map((date) => date.toISOString()),
      { nil: undefined },
    ),
    warnings: fc.array(hostileText, { maxLength: 2 }),
  })
  .map(sampleSubdir);

/** A record in which every name is chosen by somebody who means harm. */
export const hostileRecord: fc.Arbitrary<RunRecord> = fc
  .record({
    source: hostileText,
    destination: hostileText,
    schema: hostileText,
    subdirs: fc.array(hostileSubdir, { maxLength: 3 }),
    error: fc.option(
      hostileText.map((text) => Object.assign(new Error(text), { code: text })),
      { nil: undefined },
    ),
    isStopped: fc.boolean(),
  })
  .map(({ source, destination, schema, subdirs, error, isStopped }) =>
    makeRunRecord(
      sampleFacts({
        report: sampleReport({ source, destination, schema, subdirs, isInterrupted: isStopped }),
        isStopped,
        ...(error === undefined ? {} : { error }),
      }),
    ),
  );
