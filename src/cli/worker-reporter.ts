import type { QueueRedis } from '../queue/queue-redis.js';
import type { RunDescription, RunState } from '../queue/run-record.js';
import type { WorkerReporter } from '../queue/worker.js';
import { count, formatBytes, type OutputFlags } from './output.js';
import { failureLine } from './progress.js';
import { runWords } from './queue-words.js';

/** What a worker has done. */
export interface Carried {
  readonly archives: number;
  readonly bytes: number;
  readonly failed: number;
  readonly requests: number;
}

/** `12 archives (3.4 MB), 1 failed, 56 requests` */
export function formatCarried({ archives, bytes, failed, requests }: Carried): string {
  return [
    `${count(archives, 'archive')} (${formatBytes(bytes)})`,
    ...(failed === 0 ? [] : [`${String(failed)} failed`]),
    count(requests, 'request'),
  ].join(', ');
}

/** Says one line where it waits, one where it takes part, one where that is over, and one for each archive if asked to. */
export function createWorkerReporter(
  { verbose }: Pick<OutputFlags, 'verbose'>,
  parts: {
    readonly queue: Pick<QueueRedis, 'name' | 'url'>;
    /** Requests of the run that it takes part in. */
    readonly asked: () => number;
    readonly talk: (line: string) => void;
  },
): WorkerReporter {
  const { queue, asked, talk } = parts;
  let isWaiting = false;
  let carried = { archives: 0, bytes: 0, failed: 0 };
  return {
    waiting: () => {
      if (!isWaiting) talk(`waiting for a run: queue ${queue.name} at ${queue.url}`);
      isWaiting = true;
    },
    run: ({ id, ends }: RunDescription) => {
      isWaiting = false;
      carried = { archives: 0, bytes: 0, failed: 0 };
      talk(`taking part in run ${id}: ${runWords(ends)}`);
    },
    ended: ({ id }: RunDescription, state: RunState) => {
      talk(`run ${id}: ${state}; carried here: ${formatCarried({ ...carried, requests: asked() })}`);
    },
    archive: ({ subdir, filename, bytes, failure }) => {
      if (failure === undefined) {
        carried.archives += 1;
        carried.bytes += bytes;
      } else carried.failed += 1;
      if (verbose !== true) return;
      if (failure !== undefined) talk(failureLine(subdir, failure));
      else talk(`done: ${subdir}/${filename} (${formatBytes(bytes)})`);
    },
    warning: (text) => {
      talk(`warning: ${text}`);
    },
  };
}
