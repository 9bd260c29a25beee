import { z } from 'zod';
import { ERROR_CODES, FerryError, type FerryErrorCode } from '../../errors.js';
import type { MigrationEnds, MigrationReport } from './report.js';

const failuresSchema = z.looseObject({
  failures_version: z.literal(1),
  source: z.string(),
  destination: z.string(),
  from: z.enum(['v0', 'v1']),
  to: z.enum(['v0', 'v1']),
  failures: z.array(
    z.looseObject({
      subdir: z.string(),
      filename: z.string(),
      code: z.custom<FerryErrorCode>((code) => typeof code === 'string' && Object.hasOwn(ERROR_CODES, code)),
      message: z.string(),
    }),
  ),
});

/** What failed in a migration, as a file keeps it for the next one. */
export type MigrationFailures = z.infer<typeof failuresSchema>;

/** Lists what failed in a migration. */
export function failuresOf(report: MigrationReport): MigrationFailures {
  const { source, destination, from, to, subdirs } = report;
  const failures = subdirs.flatMap(({ subdir, failed }) =>
    failed.map(({ filename, code, message }) => ({ subdir, filename, code, message })),
  );
  return { failures_version: 1, source, destination, from, to, failures };
}

/** Writes a file that {@link parseFailures} reads. */
export function formatFailures(failures: MigrationFailures): string {
  return `${JSON.stringify(failures, undefined, 2)}\n`;
}

/**
 * Reads a file of failures.
 * @param what names the file
 * @throws FerryError `USAGE`
 */
export function parseFailures(text: string, what: string): MigrationFailures {
  try {
    return failuresSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new FerryError('USAGE', `${what} is no list of what failed in a migration`, { cause });
  }
}

/** @throws FerryError `USAGE` where failures are those of another migration */
export function checkSameMigration(failures: MigrationFailures, ends: MigrationEnds): void {
  for (const key of ['source', 'destination', 'from', 'to'] as const) {
    if (failures[key] === ends[key]) continue;
    throw new FerryError(
      'USAGE',
      `what is to be tried again failed in another migration: ${key} \`${failures[key]}\`, not \`${ends[key]}\``,
    );
  }
}
