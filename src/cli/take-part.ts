/** `worker`: opens the ends of each run with the credentials of this machine, and says what becomes of it. */
import { WorkerPool } from '../artifact/worker-pool.js';
import { openBudget } from '../queue/budgets.js';
import type { QueueRedis } from '../queue/queue-redis.js';
import type { RunDescription, RunEnds, RunState } from '../queue/run-record.js';
import type { WorkerEnds } from '../queue/run-parts.js';
import { runWorker, type WorkerReporter } from '../queue/worker.js';
import type { CommandContext } from './context.js';
import { withFallbacks } from './fallbacks.js';
import { readSecret } from './network.js';
import type { ConnectionFlags } from './options.js';
import { count, formatBytes, say, type OutputFlags } from './output.js';
import { failureLine } from './progress.js';
import { parseEnds } from './queue-ends.js';
import { openQueue, type QueueFlags } from './queue-options.js';
import { runWords } from './queue-words.js';
import { Session } from './session.js';
import { VERSION } from './version.js';

const EXIT_INTERRUPTED = 130;
const STOPPING =
  'stopping: what is under way is finished, the rest is handed back; a second signal ends it at once';

/** Flags of `worker`. */
export interface WorkerFlags extends ConnectionFlags, QueueFlags, Pick<OutputFlags, 'verbose'> {
  readonly concurrency: number;
  readonly untilDone?: boolean | undefined;
  readonly tempDir?: string | undefined;
  /** In bytes. */
  readonly tempLimit?: number | undefined;
  /** In seconds. */
  readonly stopGrace?: number | undefined;
  readonly quiet?: boolean | undefined;
}

/**
 * Works until it is stopped, or until the run is done.
 * @throws FerryError `USAGE`, `VERSION_MISMATCH`, `DISK_FULL`, and what befalls a queue or the credentials of this machine
 */
export async function takePart(flags: WorkerFlags, context: CommandContext): Promise<void> {
  const { output, signal } = context;
  const talk = (line: string): void => {
    if (flags.quiet !== true) say(output, line);
  };
  const readPassword = rememberPassword(context);
  await using queue = await openQueue(flags, context);
  await using workers = new WorkerPool();
  const open = new Set<WorkerEnds>();
  const onStop = (): void => {
    talk(STOPPING);
  };
  signal.addEventListener('abort', onStop, { once: true });
  try {
    const { archives, failed, bytes, requests } = await runWorker({
      ...{ queue, workers, version: VERSION, concurrency: flags.concurrency },
      openEnds: (ends) =>
        Promise.resolve(openEnds(ends, { flags, context, queue, readPassword, open, talk })),
      tempDir: flags.tempDir,
      tempLimitBytes: flags.tempLimit,
      untilDone: flags.untilDone,
      stop: signal,
      stopGraceMs: flags.stopGrace === undefined ? undefined : flags.stopGrace * 1000,
      reporter: createReporter(flags, { queue, open, talk }),
    });
    const asked = requests.source + requests.destination;
    talk(`carried in all: ${formatCarried({ archives, bytes, failed, requests: asked })}`);
  } finally {
    signal.removeEventListener('abort', onStop);
  }
  if (signal.aborted) context.setExitCode(EXIT_INTERRUPTED);
}

/** What the ends of a run are opened with. */
interface Opening {
  readonly flags: WorkerFlags;
  readonly context: CommandContext;
  readonly queue: QueueRedis;
  readonly readPassword: () => Promise<string>;
  /** Where open ends are noted. */
  readonly open: Set<WorkerEnds>;
  readonly talk: (line: string) => void;
}

function openEnds(ends: RunEnds, opening: Opening): WorkerEnds {
  const { flags, context, queue, readPassword, open, talk } = opening;
  const parsed = parseEnds(ends);
  const session = new Session(
    context,
    { ...flags, ...parsed.flags },
    { readPassword, sharedBudget: (origin, identity) => openBudget(queue, origin, identity) },
  );
  const { source, destination } = session.openMirror(parsed.source, parsed.destination);
  const warn = (message: string): void => {
    talk(`warning: ${message}`);
  };
  const opened: WorkerEnds = {
    source: withFallbacks(source, parsed.fallbacks, { session, warn }),
    store: destination,
    requests: () => ({ ...session.requests }),
    [Symbol.asyncDispose]: async () => {
      open.delete(opened);
      await session[Symbol.asyncDispose]();
    },
  };
  open.add(opened);
  return opened;
}

/** Stdin gives its password once, and each run has a session of its own. */
function rememberPassword(context: CommandContext): () => Promise<string> {
  let password: Promise<string> | undefined;
  return () => (password ??= readSecret(context));
}

interface Carried {
  readonly archives: number;
  readonly bytes: number;
  readonly failed: number;
  readonly requests: number;
}

/** `12 archives (3.4 MB), 1 failed, 56 requests` */
function formatCarried({ archives, bytes, failed, requests }: Carried): string {
  return [
    `${count(archives, 'archive')} (${formatBytes(bytes)})`,
    ...(failed === 0 ? [] : [`${String(failed)} failed`]),
    count(requests, 'request'),
  ].join(', ');
}

/** Says one line where it waits, one where it takes part, one where that is over, and one for each archive if asked to. */
function createReporter(
  { verbose }: WorkerFlags,
  { queue, open, talk }: Pick<Opening, 'queue' | 'open' | 'talk'>,
): WorkerReporter {
  let isWaiting = false;
  let carried = { archives: 0, bytes: 0, failed: 0 };
  let before = 0;
  const asked = (): number =>
    [...open].reduce((sum, ends) => sum + ends.requests().source + ends.requests().destination, 0);
  return {
    waiting: () => {
      if (!isWaiting) talk(`waiting for a run: queue ${queue.name} at ${queue.url}`);
      isWaiting = true;
    },
    run: (run: RunDescription) => {
      isWaiting = false;
      carried = { archives: 0, bytes: 0, failed: 0 };
      before = asked();
      talk(`taking part in run ${run.id}: ${runWords(run.ends)}`);
    },
    ended: ({ id }: RunDescription, state: RunState) => {
      const requests = Math.max(0, asked() - before);
      talk(`run ${id}: ${state}; carried here: ${formatCarried({ ...carried, requests })}`);
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
