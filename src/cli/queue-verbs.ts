/** What `queue …` does, and how it says so. */
import { cancelRun, drainQueue, pauseQueue, readStatus, resumeQueue, retryFailed } from '../queue/control.js';
import { readRun } from '../queue/run-record.js';
import type { QueueRedis } from '../queue/queue-redis.js';
import type { CommandContext } from './context.js';
import { count, printJson, printLine, say } from './output.js';
import { openQueue, type QueueFlags } from './queue-options.js';
import { makeStatusDocument, printStatus } from './queue-status.js';

/** Flags of `queue status`. */
export interface StatusFlags extends QueueFlags {
  readonly json?: boolean | undefined;
}

/** Flags of `queue drain`. */
export interface DrainFlags extends QueueFlags {
  /** In milliseconds. */
  readonly timeout: number;
}

type Verb<Flags> = (flags: Flags, context: CommandContext) => Promise<void>;

/** This module, as the command line loads it. */
export interface QueueVerbs {
  readonly showStatus: Verb<StatusFlags>;
  readonly pause: Verb<QueueFlags>;
  readonly resume: Verb<QueueFlags>;
  readonly drain: Verb<DrainFlags>;
  readonly cancel: Verb<QueueFlags>;
  readonly retryAll: Verb<QueueFlags>;
}

/** `queue status`. @throws FerryError as `openQueue` and `readStatus` */
export async function showStatus(flags: StatusFlags, context: CommandContext): Promise<void> {
  const { output } = context;
  await using queue = await openQueue(flags, context, { allowFull: true });
  const status = await readStatus(queue);
  const now = new Date();
  if (flags.json === true) printJson(output, makeStatusDocument(status, now));
  else if (status.run === undefined) printLine(output, noRun(queue));
  else printStatus(output, makeStatusDocument(status, now), now);
}

/** `queue pause`. @throws FerryError as `openQueue` */
export async function pause(flags: QueueFlags, context: CommandContext): Promise<void> {
  await using queue = await openQueue(flags, context, { allowFull: true });
  await pauseQueue(queue);
  printLine(
    context.output,
    `${nameOf(queue)} is paused; what is under way is finished${await andNoRun(queue)}`,
  );
}

/** `queue resume`. @throws FerryError as `openQueue` */
export async function resume(flags: QueueFlags, context: CommandContext): Promise<void> {
  await using queue = await openQueue(flags, context, { allowFull: true });
  await resumeQueue(queue);
  printLine(context.output, `${nameOf(queue)} goes on${await andNoRun(queue)}`);
}

/** `queue drain`. @throws FerryError `TIMEOUT`, and as `openQueue` */
export async function drain(flags: DrainFlags, context: CommandContext): Promise<void> {
  const { output, signal } = context;
  await using queue = await openQueue(flags, context, { allowFull: true });
  await drainQueue(queue, {
    timeoutMs: flags.timeout,
    signal,
    onActive: (jobs) => {
      if (flags.quiet !== true) say(output, `waiting for ${count(jobs, 'job')}`);
    },
  });
  printLine(output, `${nameOf(queue)} is paused, and nothing is under way${await andNoRun(queue)}`);
}

/** `queue cancel`. @throws FerryError as `openQueue` */
export async function cancel(flags: QueueFlags, context: CommandContext): Promise<void> {
  const { output } = context;
  await using queue = await openQueue(flags, context, { allowFull: true });
  const done = await cancelRun(queue);
  switch (done.outcome) {
    case 'none':
      printLine(output, noRun(queue));
      break;
    case 'over':
      printLine(output, `the run is over already: ${done.state}`);
      break;
    case 'asked': {
      const { host, pid } = done.coordinator;
      printLine(
        output,
        `asked the coordinator (${host}, process ${String(pid)}) to end; what is done is published`,
      );
      break;
    }
    case 'cancelled':
      printLine(
        output,
        `cancelled; nobody coordinated the run, and ${count(done.removed, 'job')} that waited were removed`,
      );
      printLine(output, 'what is carried but not published yet, the next run of the same mirror finds there');
  }
}

/** `queue retry-failed`. @throws FerryError as `openQueue` */
export async function retryAll(flags: QueueFlags, context: CommandContext): Promise<void> {
  await using queue = await openQueue(flags, context, { allowFull: true });
  const retried = await retryFailed(queue);
  const said = retried === 0 ? 'no job has failed' : `${count(retried, 'failed job')} will be tried again`;
  printLine(context.output, `${said}${await andNoRun(queue)}`);
}

function nameOf({ name }: QueueRedis): string {
  return `queue ${name}`;
}

function noRun({ name, url }: QueueRedis): string {
  return `no run: mirror --queue has not been started with queue ${name} at ${url}`;
}

async function andNoRun(queue: QueueRedis): Promise<string> {
  return (await readRun(queue)) === undefined ? '; there has been no run yet' : '';
}
