/** One job of a worker: its tags one after the other, and the answer. */
import type { WorkerPool } from '../artifact/worker-pool.js';
import { CopyError, FerryError, isFerryError, messageOf } from '../errors.js';
import type { TempFolder } from '../io/temp-folder.js';
import type { SettledArchive } from '../mirror/executor.js';
import { mountableSource } from '../mirror/mount-archives.js';
import type { MirrorReporter } from '../mirror/report.js';
import { carryTag } from './carry-tag.js';
import {
  isAllThere,
  ONE,
  parseJob,
  readTag,
  settledRow,
  type JobData,
  type JobFailure,
  type SettledRow,
  type TagRow,
  type Trouble,
} from './job.js';
import type { QueuedJob } from './job-queue.js';
import type { WorkerEnds } from './run-parts.js';

/** What {@link carryJob} works with. */
export interface CarryJobOptions {
  readonly ends: WorkerEnds;
  readonly workers: WorkerPool;
  readonly temp: TempFolder;
  /** Whether one more tag may be begun. */
  readonly mayBegin: () => boolean;
  readonly reporter?: Pick<MirrorReporter, 'archive'> | undefined;
  /** Told of each archive that is done with. */
  readonly onSettled: (archive: SettledArchive) => void;
  /** Told when work on a tag begins and ends. */
  readonly onBusy: (change: 1 | -1) => void;
  /** Aborts when the job is another worker's. */
  readonly signal: AbortSignal;
}

/** What became of a job: its tags, from the first on, and what kept the others from being carried. */
export interface CarriedJob {
  readonly done: SettledRow[][];
  readonly trouble: WorkerTrouble | undefined;
}

/** Why a worker cannot go on: for itself, and for the coordinator. */
export interface WorkerTrouble {
  readonly error: FerryError;
  readonly told: Trouble;
}

/** Makes of whatever was thrown what a coordinator can be told. */
export function troubleOf(thrown: unknown): WorkerTrouble {
  const error = isFerryError(thrown) ? thrown : internal(thrown);
  const side = error instanceof CopyError ? { side: error.side } : {};
  return { error, told: { code: error.code, message: messageOf(error), ...side } };
}

/**
 * Carries the tags of a job. A tag that was tried alone and failed is a job that failed, for all to see: that is thrown.
 * @throws Error for BullMQ; what `signal` aborts with
 */
export async function carryJob(job: QueuedJob, options: CarryJobOptions): Promise<CarriedJob> {
  const data = parseJob(job.data);
  const mayBeThere = data.h === 1 || job.attemptsStarted > 1 || job.stalledCounter > 0;
  const done: SettledRow[][] = [];
  for (const tag of data.t) {
    if (!options.mayBegin()) break;
    try {
      done.push(await carryRow(tag, data, mayBeThere, options));
    } catch (error) {
      options.signal.throwIfAborted();
      return { done, trouble: troubleOf(error) };
    }
  }
  const [rows] = done;
  if (job.name === ONE && rows !== undefined && !isAllThere(rows)) await reject(job, rows);
  return { done, trouble: undefined };
}

async function carryRow(
  tag: TagRow,
  data: JobData,
  mayBeThere: boolean,
  options: CarryJobOptions,
): Promise<SettledRow[]> {
  const { ends, workers, temp, signal, reporter } = options;
  const { source, store } = ends;
  const { work, suspects } = readTag(tag, data.s, store);
  if (data.c === 1) store.rememberConfig(store.packageRepository(data.s, work.place));
  options.onBusy(1);
  try {
    const archives = await carryTag(work, {
      ...{ source, store, mayBeThere, workers, temp, signal },
      mountSource: mountableSource(source, store),
      isSuspect: ({ filename }) => suspects.has(filename),
    });
    for (const archive of archives) {
      options.onSettled(archive);
      const { filename, size = 0 } = archive.record;
      if (archive.outcome === 'added') reporter?.archive?.({ subdir: data.s, filename, bytes: archive.size });
      else {
        const { code, message } = archive;
        reporter?.archive?.({ subdir: data.s, filename, bytes: size, failure: { filename, code, message } });
      }
    }
    return archives.map(settledRow);
  } finally {
    options.onBusy(-1);
  }
}

async function reject(job: QueuedJob, rows: readonly SettledRow[]): Promise<never> {
  const failure: JobFailure = { d: [...rows] };
  await job.updateProgress(failure);
  const texts = rows.flatMap((row) => (row.length === 2 ? [] : [`${row[0]}: ${row[2]} [${row[1]}]`]));
  const error = new Error(texts.join('; '));
  // Where in this program it was made tells nobody anything.
  error.stack = error.message;
  throw error;
}

function internal(cause: unknown): FerryError {
  return new FerryError('INTERNAL', cause instanceof Error ? cause.message : String(cause), { cause });
}
