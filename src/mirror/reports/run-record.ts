/**
 * The record of one run, as a document: what was mirrored, what failed and why, and how far the mirror is behind its
 * source. Everything else in this folder is made of such records.
 */
import { z } from 'zod';
import { FerryError } from '../../errors.js';
import { isSubdir } from '../../conda/names.js';

/** How runs end, best first. */
export const OUTCOMES = ['ok', 'failures', 'interrupted', 'failed'] as const;

/**
 * How a run ended, as its exit status says. `ok`: 0, all is there but what is known to fail; `failures`: 1, archives
 * failed that no list names; `interrupted`: 130; `failed`: all else, the run could not go on or could not begin.
 */
export type Outcome = (typeof OUTCOMES)[number];

const number = z.int().nonnegative();
const numbers = z.record(z.string(), number);
const moment = z.iso.datetime();

const packageTotal = z.looseObject({ name: z.string(), archives: number, bytes: number });

const recordedFailure = z.looseObject({
  filename: z.string(),
  code: z.string(),
  message: z.string(),
  /** Whether a list of known failures names it. */
  accepted: z.boolean().optional(),
});

const recordedSubdir = z.looseObject({
  subdir: z.string().refine(isSubdir),
  publishedAs: z.enum(['unchanged', 'spliced', 'kept', 'nothing']),
  /** Absent where the source has no such subdir. */
  listed: number.optional(),
  there: number,
  added: number,
  addedBytes: number,
  artifacts: number,
  kept: number,
  gone: number,
  untried: number,
  /** Archives that failed, also those that `failures` leaves out. */
  failed: number,
  /** Those of them that no list of known failures names. */
  unknownFailures: number,
  failures: z.array(recordedFailure),
  /** Records that the schema or the registry cannot hold. */
  withheld: number,
  /** The same by error code. */
  withheldByCode: numbers,
  /** Records that filters left out, by why. */
  leftOut: numbers,
  sourceChangedAt: moment.optional(),
  lagSeconds: number.optional(),
  warnings: z.array(z.string()),
});

const runRecord = z.looseObject({
  report_version: z.literal(1),
  /** Version of conda-ferry. */
  toolVersion: z.string().optional(),
  source: z.string(),
  destination: z.string(),
  schema: z.string(),
  startedAt: moment,
  endedAt: moment,
  outcome: z.enum(OUTCOMES),
  isInterrupted: z.boolean(),
  /** Why the run could not go on. */
  error: z.looseObject({ code: z.string(), message: z.string(), hint: z.string().optional() }).optional(),
  /** Requests sent, by side. */
  requests: z.looseObject({ source: number, destination: number }).optional(),
  /** How far the mirror was behind its source when the run ended; absent where that is not known. */
  lagSeconds: number.optional(),
  /** Sums over all subdirs. */
  totals: z.looseObject({
    listed: number,
    there: number,
    added: number,
    addedBytes: number,
    artifacts: number,
    kept: number,
    gone: number,
    untried: number,
    failed: number,
    acceptedFailures: number,
    withheld: number,
    leftOut: number,
  }),
  /** What was added of each package, largest first. */
  packages: z.array(packageTotal),
  /** What was added of all packages beyond these. */
  otherPackages: z.looseObject({ packages: number, archives: number, bytes: number }),
  /** Empty where the run did not come to its end. */
  subdirs: z.array(recordedSubdir),
});

/** A run as a file; unknown fields stay. */
export type RunRecord = z.infer<typeof runRecord>;

/** What a record says of a subdir. */
export type RecordedSubdir = RunRecord['subdirs'][number];

/** A failure in a record. */
export type RecordedFailure = RecordedSubdir['failures'][number];

/** The sums of a record. */
export type RunTotals = RunRecord['totals'];

/** Reads a record back. @throws FerryError `REPORT_INVALID` */
export function parseRunRecord(text: string, name: string): RunRecord {
  try {
    return runRecord.parse(JSON.parse(text));
  } catch (cause) {
    throw new FerryError('REPORT_INVALID', `\`${name}\` is no record of a run`, { cause });
  }
}

/** Writes a record as the text of a file. */
export function formatRunRecord(record: RunRecord): string {
  return `${JSON.stringify(record, undefined, 1)}\n`;
}
