/** `worker`: opens the ends of each run with the credentials of this machine, and says what becomes of it. */
import { WorkerPool } from '../artifact/worker-pool.js';
import type { SharedState } from '../io/shared-state.js';
import { openBudget } from '../queue/budgets.js';
import type { WorkerEnds } from '../queue/run-parts.js';
import { runWorker } from '../queue/worker.js';
import type { CommandContext } from './context.js';
import { readSecret } from './network.js';
import { openEnds } from './open-ends.js';
import type { ConnectionFlags } from './options.js';
import { say, type OutputFlags } from './output.js';
import { openQueue, type QueueFlags } from './queue-options.js';
import { VERSION } from './version.js';
import { createWorkerReporter, formatCarried } from './worker-reporter.js';

const EXIT_INTERRUPTED = 130;
const STOPPING =
  'stopping: what is under way is finished, the rest is handed back; a second signal ends it at once';

const CREDENTIALS_HINT =
  "a worker takes the credentials of its own machine: for registries conda-ferry login, for other channels netrc or rattler's credentials.json";

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
  // Of the run that it takes part in; they count on.
  let current: Pick<WorkerEnds, 'requests'> | undefined;
  const asked = (): number => {
    const { source, destination } = current?.requests() ?? { source: 0, destination: 0 };
    return source + destination;
  };
  const warn = (message: string): void => {
    talk(`warning: ${message}`);
  };
  const sharedBudget = (origin: string, identity: string | undefined): SharedState =>
    openBudget(queue, origin, identity);
  context.hints.set('UNAUTHORIZED', CREDENTIALS_HINT);
  const onStop = (): void => {
    talk(STOPPING);
  };
  signal.addEventListener('abort', onStop, { once: true });
  try {
    const { archives, failed, bytes, requests } = await runWorker({
      ...{ queue, workers, version: VERSION, concurrency: flags.concurrency },
      openEnds: async (ends) => {
        const opened = await openEnds(ends, { flags, context, warn, sharedBudget, readPassword });
        current = opened;
        return opened;
      },
      tempDir: flags.tempDir,
      tempLimitBytes: flags.tempLimit,
      untilDone: flags.untilDone,
      stop: signal,
      stopGraceMs: flags.stopGrace === undefined ? undefined : flags.stopGrace * 1000,
      reporter: createWorkerReporter(flags, { queue, asked, talk }),
    });
    const all = requests.source + requests.destination;
    talk(`carried in all: ${formatCarried({ archives, bytes, failed, requests: all })}`);
  } finally {
    signal.removeEventListener('abort', onStop);
  }
  if (signal.aborted) context.setExitCode(EXIT_INTERRUPTED);
}

/** Stdin gives its password once, and each run has a session of its own. */
function rememberPassword(context: CommandContext): () => Promise<string> {
  let password: Promise<string> | undefined;
  return () => (password ??= readSecret(context));
}
