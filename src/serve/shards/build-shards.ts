import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MessageChannel, Worker } from 'node:worker_threads';
import type { JsonObject } from '../../conda/shards/shard-files.js';
import { FerryError, isSystemError } from '../../errors.js';
import type { OpenBytes } from '../../io/bytes.js';
import { lendBytes } from './lent-bytes.js';
import { bucketsOf, makePack, type MakePackOptions } from './make-pack.js';
import type { PackTable } from './pack-table.js';
import type { ShardAnswer, ShardWork } from './shard-worker.js';

/** What is smaller is done at once: a thread costs more to start than that takes. */
const SMALL_BYTES = 256 * 1024;
/** Enough for one package with all its records, of which there is one at a time; the usual ones need a tenth of it. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 384, maxYoungGenerationSizeMb: 8 };

/** Options of {@link buildShards}. */
export interface BuildShardsOptions {
  /** Opens the repodata's plain text, as the source has it. */
  readonly open: OpenBytes;
  /** Of the plain text, in bytes. @defaultValue not known: a thread is started */
  readonly size?: number | undefined;
  readonly subdir: string;
  /** For the pack, and for temporary files while it is made. */
  readonly folder: string;
  /** What the index says of when it was made. */
  readonly createdAt: Date;
  /**
   * What else `info` of the index says.
   * @defaultValue `repodata_revisions` as the repodata has it, unless that leads elsewhere
   * @see CEP 42, CEP 48
   */
  readonly info?: JsonObject | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Shards as they lie in one file. */
export interface BuiltShards {
  /** Of the pack, a new file in the folder. */
  readonly path: string;
  readonly table: PackTable;
}

/**
 * Makes the shards of a subdir's repodata, of any size in little memory, in a thread of its own. Where that fails, nothing
 * is left in the folder.
 * @throws FerryError `REPODATA_INVALID`, `DISK_FULL`; `SIZE_EXCEEDED` where one package has more than 64 MiB of text; whatever
 * the source fails with
 */
export async function buildShards({
  open,
  folder,
  signal,
  ...rest
}: BuildShardsOptions): Promise<BuiltShards> {
  signal?.throwIfAborted();
  const path = join(folder, `shards-${randomUUID()}.pack`);
  const { size = Number.POSITIVE_INFINITY } = rest;
  const options: MakePackOptions = { ...rest, path };
  if (size <= SMALL_BYTES) return { path, table: await makePack(open({ signal }), options, signal) };
  try {
    return { path, table: await makePackInThread(open, options, signal) };
  } catch (error) {
    // A thread that ran out of memory tidied nothing up.
    await Promise.all([path, bucketsOf(path)].map(async (left) => rm(left, { force: true })));
    throw error;
  }
}

async function makePackInThread(
  open: OpenBytes,
  options: MakePackOptions,
  signal: AbortSignal | undefined,
): Promise<PackTable> {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL('./shard-worker.js', import.meta.url), {
    workerData: { from: port2, options } satisfies ShardWork,
    transferList: [port2],
    resourceLimits: RESOURCE_LIMITS,
  });
  const stop = (): void => {
    worker.postMessage('stop');
  };
  signal?.addEventListener('abort', stop, { once: true });
  const sent = lendBytes(open({ signal }), port1);
  try {
    const answer = await answerOf(worker, options.subdir);
    if ('table' in answer) return answer.table;
    throw new FerryError(answer.failure.code ?? 'INTERNAL', answer.failure.message);
  } catch (error) {
    signal?.throwIfAborted();
    port1.close();
    // What the source failed with is more than what came of it.
    const failure = await sent;
    throw failure === undefined ? error : failure.error;
  } finally {
    signal?.removeEventListener('abort', stop);
    port1.close();
    await sent;
  }
}

/** Waits for the thread's end, so that its memory is free by then. */
async function answerOf(worker: Worker, subdir: string): Promise<ShardAnswer> {
  let answer: ShardAnswer | undefined;
  worker.once('message', (message: ShardAnswer) => (answer = message));
  return new Promise((resolve, reject) => {
    let failure: Error = new FerryError('INTERNAL', 'the thread that makes shards has gone away');
    worker.once('error', (error) => {
      const isTooMuch = isSystemError(error, 'ERR_WORKER_OUT_OF_MEMORY');
      const message = `what the repodata of \`${subdir}\` says of one package does not fit into memory`;
      failure = isTooMuch ? new FerryError('REPODATA_INVALID', message, { cause: error }) : error;
    });
    worker.once('exit', () => {
      if (answer !== undefined) resolve(answer);
      else reject(failure);
    });
  });
}
