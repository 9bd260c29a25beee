/** What an export has to do in one subdir: what the source lists, compared with what lies in the folder. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { archiveIdentity, type RepodataRecord } from '../../conda/package-record.js';
import { Repodata } from '../../conda/repodata/repodata.js';
import { openerOf } from '../../io/bytes.js';
import type { Resources } from '../../io/resources.js';
import type { TempFolder } from '../../io/temp-folder.js';
import { FerryError, isFerryError, isSystemError } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import type { Refused } from '../wanted-records.js';
import { foreignRecords } from '../foreign-records.js';
import { checkNotOlder, checkNotVanished, takeSnapshot, type Snapshot } from '../snapshot.js';
import type { Selection } from '../filters/selection.js';
import { readOrUndefined } from '../../publish/folder/put-file.js';
import type { ExportState, SubdirExport } from './state.js';

/** What a subdir is planned with. */
export interface PrepareExportOptions {
  readonly source: ChannelSource;
  /** The channel's folder. */
  readonly folder: string;
  readonly state: ExportState;
  /** Tells which records are wanted. */
  readonly select: (record: RepodataRecord) => boolean;
  readonly workers: WorkerPool;
  readonly temp: TempFolder;
  /** Holds the snapshots until the export ends. */
  readonly resources: Resources;
  readonly concurrency: number;
  readonly deep: boolean;
  readonly allowOlder: boolean;
  readonly merge: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The work in one subdir. */
export interface ExportWork {
  readonly subdir: string;
  readonly snapshot: Snapshot;
  readonly repodata: Repodata;
  /** What the folder listed before. */
  readonly previous: Repodata | undefined;
  /** Archives that the folder lists: file name to identity. */
  readonly listed: ReadonlyMap<string, string>;
  /** Archives that are there, as the folder's own repodata and their sizes say: file name to identity. */
  readonly there: ReadonlyMap<string, string>;
  /** Archives that lie there, but what is in them is not known. */
  readonly toCheck: readonly RepodataRecord[];
  readonly toAdd: readonly RepodataRecord[];
  readonly invalid: readonly Refused[];
  /** Records of others that stay listed. */
  readonly foreign: ReadonlySet<string>;
  /** Records that filters left out, by why. */
  readonly leftOut: Readonly<Record<string, number>>;
  /** When archives that are too young were first seen, for the next run to know. */
  readonly waiting: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** A subdir as it was found at both ends. */
export interface ExportView {
  readonly subdir: string;
  readonly snapshot: Snapshot;
  /** What the folder listed before. */
  readonly previous: Repodata | undefined;
  readonly known: SubdirExport | undefined;
  /** Whether what is known is of the same source. */
  readonly isOurs: boolean;
}

/**
 * Looks at both ends of a subdir; `undefined` where the source has none. Nothing is moved, and no archive is read.
 * @throws FerryError `SOURCE_OLDER`, `SOURCE_VANISHED`, `REPODATA_INVALID`
 */
export async function viewExport(
  subdir: string,
  options: PrepareExportOptions,
): Promise<ExportView | undefined> {
  const { source, folder, state, workers, temp, signal } = options;
  const answer = await takeSnapshot(source, subdir, { workers, temp, signal });
  if (answer.status !== 'found') return undefined;
  const snapshot = options.resources.use(answer.snapshot);
  const known = state.subdirs[subdir];
  const isOurs = known?.source === source.url;
  if (isOurs && !options.allowOlder) checkNotOlder(snapshot, { lastModified: known.last_modified });
  const previous = await readPrevious(join(folder, subdir, 'repodata.json'), subdir, isOurs);
  if (!options.allowOlder) checkNotVanished(snapshot, previous);
  return { subdir, snapshot, previous, known, isOurs };
}

/**
 * Plans a subdir.
 * @param selection what filters let pass; `undefined` for all
 * @throws FerryError `FOREIGN_RECORDS`
 */
export async function prepareExport(
  { subdir, snapshot, previous, known, isOurs }: ExportView,
  selection: Selection | undefined,
  options: PrepareExportOptions,
): Promise<ExportWork> {
  const { folder } = options;
  const { repodata } = snapshot;
  const { wanted, invalid } = sortRecords(
    repodata,
    (record) => options.select(record) && selection?.wants(record.filename) !== false,
  );
  const listed = new Map(previous?.identities());
  const foreign = findForeign(wanted, repodata, { previous, isOurs, known: known?.foreign ?? [] });
  if (foreign.size > 0 && !options.merge && !isOurs) throw foreignError(folder, subdir, foreign);
  return {
    subdir,
    snapshot,
    repodata,
    previous,
    listed,
    ...(await compare([...wanted.values()], listed, join(folder, subdir), options)),
    invalid,
    foreign,
    leftOut: selection === undefined ? {} : Object.fromEntries(selection.leftOut),
    waiting: Object.fromEntries(
      [...(selection?.waiting ?? [])].map(([name, ms]) => [name, new Date(ms).toISOString()]),
    ),
    warnings: repodata.neededChanges().map((change) => `${subdir}: ${change}`),
  };
}

/** Parses repodata. @throws FerryError `REPODATA_INVALID`, which names it */
async function parseListing(bytes: Uint8Array, subdir: string, what: string): Promise<Repodata> {
  try {
    return await Repodata.read(openerOf(bytes), subdir);
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new FerryError(error.code, `\`${what}\` cannot be read`, { cause: error });
  }
}

async function readPrevious(path: string, subdir: string, isOurs: boolean): Promise<Repodata | undefined> {
  const bytes = await readOrUndefined(path);
  if (bytes === undefined) return undefined;
  try {
    return await parseListing(bytes, subdir, path);
  } catch (error) {
    // What is ours is written anew; what others listed would be lost.
    if (isOurs && isFerryError(error)) return undefined;
    throw error;
  }
}

function sortRecords(
  repodata: Repodata,
  select: (record: RepodataRecord) => boolean,
): { readonly wanted: ReadonlyMap<string, RepodataRecord>; readonly invalid: readonly Refused[] } {
  const wanted = new Map<string, RepodataRecord>();
  const invalid: Refused[] = [];
  for (const read of repodata.records()) {
    const { filename } = read;
    if ('error' in read) {
      invalid.push({ filename, code: read.error.code, message: read.error.message });
    } else if (archiveIdentity(read.record) === undefined) {
      const message = `record of \`${filename}\` has neither sha256 nor md5`;
      invalid.push({ filename, code: 'RECORD_INVALID', message });
    } else if (select(read.record)) {
      wanted.set(filename, read.record);
    }
  }
  return { wanted, invalid };
}

interface Before {
  readonly previous: Repodata | undefined;
  readonly isOurs: boolean;
  readonly known: readonly string[];
}

/** Records in the folder that this export did not put there, and that the source does not list. */
function findForeign(
  wanted: ReadonlyMap<string, RepodataRecord>,
  repodata: Repodata,
  { previous, isOurs, known }: Before,
): ReadonlySet<string> {
  const removed = repodata.removed();
  const theirs = new Set(known);
  const foreign = [...(previous?.filenames() ?? [])].filter(
    (filename) => !wanted.has(filename) && (theirs.has(filename) || (!isOurs && !removed.has(filename))),
  );
  return new Set(foreign);
}

function foreignError(folder: string, subdir: string, foreign: ReadonlySet<string>): FerryError {
  return foreignRecords(
    `\`${join(folder, subdir)}\``,
    foreign,
    'this mirror did not put there',
    'pass --merge to keep them listed beside what the source has, or choose an empty folder',
  );
}

/** What the folder's own repodata lists with the same digest, and what has the right size, is not read again. */
async function compare(
  wanted: readonly RepodataRecord[],
  listed: ReadonlyMap<string, string>,
  folder: string,
  { deep, concurrency, signal }: PrepareExportOptions,
): Promise<Pick<ExportWork, 'there' | 'toCheck' | 'toAdd'>> {
  const there = new Map<string, string>();
  const toCheck: RepodataRecord[] = [];
  const toAdd: RepodataRecord[] = [];
  await forEachConcurrently(wanted, { concurrency, signal }, async (record) => {
    const { filename, size } = record;
    const found = await sizeOf(join(folder, filename));
    const identity = archiveIdentity(record);
    if (found === undefined || (size !== undefined && size !== found)) toAdd.push(record);
    else if (deep || identity === undefined || listed.get(filename) !== identity) toCheck.push(record);
    else there.set(filename, identity);
  });
  return { there, toCheck, toAdd };
}

/** Size of a file; `undefined` where there is none. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}
