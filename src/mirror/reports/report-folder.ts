import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FerryError, isFerryError, isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { compareText } from '../../io/compare-text.js';
import { makeBadge } from './badge.js';
import { formatMirrorPage } from './mirror-page.js';
import { formatRunRecord, parseRunRecord, type RunRecord } from './run-record.js';

/** Runs that a page shows: three months of nightly ones. */
export const DEFAULT_RUNS_SHOWN = 90;
/** A record is some kB; this is one that is none. */
const MAX_RECORD_BYTES = 16 * 1024 * 1024;
/** Such as `20260501T120000.250Z.json`, and `…Z-2.json` for a second one of the same moment. */
const RECORD_NAME = /^(?<moment>\d{8}T\d{6}\.\d{3}Z)(?:-(?<number>\d+))?\.json$/;

/** Options of {@link writeReportFolder}. */
export interface ReportFolderOptions {
  /** Runs shown. @defaultValue 90 */
  readonly runs?: number | undefined;
  readonly toolVersion?: string | undefined;
  /** Hears of records that cannot be read, and of those of other mirrors. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/**
 * Adds a record to a folder of them, and makes its page, `index.html`, its badge, `badge.json`, and `latest.json` anew out
 * of the newest records. Older ones stay where they are. The record is written first: whatever fails later, it is kept.
 * @throws FerryError `REPORT_UNWRITABLE`, `DISK_FULL`
 */
export async function writeReportFolder(
  folder: string,
  record: RunRecord,
  { runs = DEFAULT_RUNS_SHOWN, toolVersion, onWarning }: ReportFolderOptions = {},
): Promise<void> {
  const text = formatRunRecord(record);
  await writeReport(join(folder, await freeName(folder, record)), text);
  await writeReport(join(folder, 'latest.json'), text);
  await writeReport(join(folder, 'badge.json'), `${JSON.stringify(makeBadge(record))}\n`);
  const { records, others } = await readReportFolder(folder, { runs, onWarning });
  const own = records.filter(({ destination }) => destination === record.destination);
  if (own.length < records.length)
    onWarning?.(`\`${folder}\` has records of other mirrors too; give each a folder of its own`);
  const [newest = record, ...older] = own;
  const page = formatMirrorPage([newest, ...older], { toolVersion, olderRecords: others });
  await writeReport(join(folder, 'index.html'), page);
}

/**
 * Reads the newest records of a folder, newest first. Files that are none are passed over with a warning.
 * @returns also how many others there are
 */
export async function readReportFolder(
  folder: string,
  { runs = DEFAULT_RUNS_SHOWN, onWarning }: ReportFolderOptions = {},
): Promise<{ readonly records: readonly RunRecord[]; readonly others: number }> {
  const names = (await readdir(folder)).filter((name) => RECORD_NAME.test(name)).sort(byMoment);
  const records: RunRecord[] = [];
  let seen = 0;
  for (const name of names) {
    if (records.length === runs) break;
    seen += 1;
    const path = join(folder, name);
    try {
      const { size } = await stat(path);
      if (size > MAX_RECORD_BYTES)
        throw new FerryError('REPORT_INVALID', `\`${path}\` is too large for a record`);
      records.push(parseRunRecord(await readFile(path, 'utf8'), path));
    } catch (error) {
      // Somebody may tidy up meanwhile.
      if (isSystemError(error, 'ENOENT')) continue;
      if (!isFerryError(error, 'REPORT_INVALID') && !isSystemError(error, 'EACCES', 'EISDIR', 'EIO'))
        throw error;
      onWarning?.(`${error instanceof Error ? error.message : path}; left out of the page`);
    }
  }
  records.sort((a, b) => Date.parse(b.endedAt) - Date.parse(a.endedAt));
  return { records, others: names.length - seen };
}

/** Writes a file whole, or not at all. @throws FerryError `REPORT_UNWRITABLE`, `DISK_FULL` */
export async function writeReport(path: string, text: string): Promise<void> {
  try {
    await writeFileAtomic(path, Buffer.from(text));
  } catch (cause) {
    if (isFerryError(cause)) throw cause;
    throw new FerryError('REPORT_UNWRITABLE', `\`${path}\` cannot be written`, { cause });
  }
}

async function freeName(folder: string, { startedAt }: RunRecord): Promise<string> {
  const moment = startedAt.replace(/[-:]/g, '');
  const taken = new Set(
    await readdir(folder).catch((error: unknown): string[] => {
      if (isSystemError(error, 'ENOENT')) return [];
      throw new FerryError('REPORT_UNWRITABLE', `\`${folder}\` cannot be read`, { cause: error });
    }),
  );
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? `${moment}.json` : `${moment}-${String(number)}.json`;
    if (!taken.has(name)) return name;
  }
}

/** Newest first. */
function byMoment(a: string, b: string): number {
  const [x, y] = [RECORD_NAME.exec(a)?.groups, RECORD_NAME.exec(b)?.groups];
  return (
    compareText(y?.['moment'] ?? '', x?.['moment'] ?? '') ||
    Number(y?.['number'] ?? 1) - Number(x?.['number'] ?? 1)
  );
}
