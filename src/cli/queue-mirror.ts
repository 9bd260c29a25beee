/** `mirror --queue`: this process plans and publishes, and workers carry. Nothing of it is loaded for other runs. */
import { FerryError } from '../errors.js';
import type { HostLimitOptions } from '../http/host-limiter.js';
import { readBundleManifest } from '../mirror/bundle/manifest.js';
import type { MirrorOptions } from '../mirror/mirror.js';
import type { MirrorReport } from '../mirror/report.js';
import type { CommandContext } from './context.js';
import type { Location } from './locations.js';
import { makeEnds, type ParsedEnds } from './queue-ends.js';
import { openQueue, type QueueFlags } from './queue-options.js';
import { VERSION } from './version.js';

/** Flags of `mirror` that concern a queue. */
export interface MirrorQueueFlags extends QueueFlags {
  readonly attempts?: number | undefined;
}

type Requests = Readonly<Record<'source' | 'destination', number>>;

/** The queue of one mirror run. */
export interface MirrorQueue extends AsyncDisposable {
  /** What all that work with the queue share of a registry's patience. */
  readonly sharedBudget: NonNullable<HostLimitOptions['shared']>;
  /** Runs the mirror by workers. @throws FerryError as `mirrorChannel`, and what befalls a queue */
  run(options: MirrorOptions): Promise<MirrorReport>;
  /** Requests of the workers, once the run has ended. */
  readonly requests: Requests;
}

/** Flags of `mirror` that cannot go with a queue, and why. */
const ALONE: Readonly<Record<string, { readonly name: string; readonly why: string }>> = {
  plan: { name: '--plan', why: 'a plan needs no queue' },
  deltaFrom: { name: '--delta-from', why: 'a bundle is written by one process' },
};
const QUEUE_ONLY: Readonly<Record<string, string>> = {
  queueName: '--queue-name',
  queueCaFile: '--queue-ca-file',
  attempts: '--attempts',
};

/**
 * Refuses flags and locations that do not go with a queue, or without one.
 * @throws FerryError `USAGE`
 */
export async function checkMirrorQueue(flags: MirrorQueueFlags, from: Location, to: Location): Promise<void> {
  const given = new Set(
    Object.entries(flags).flatMap(([key, value]) => (value === undefined || value === false ? [] : [key])),
  );
  if (flags.queue === undefined) {
    for (const [key, name] of Object.entries(QUEUE_ONLY))
      if (given.has(key)) throw new FerryError('USAGE', `\`${name}\` goes with --queue`);
    return;
  }
  for (const [key, { name, why }] of Object.entries(ALONE))
    if (given.has(key)) throw new FerryError('USAGE', `\`${name}\` and --queue cannot go together: ${why}`);
  if (to.kind === 'folder') {
    throw new FerryError('USAGE', 'a plain folder cannot be the destination of a run with --queue', {
      hint: 'write oci://host/path, or leave out --queue',
    });
  }
  if (from.kind === 'layout' && (await readBundleManifest(from.path)) !== undefined)
    throw new FerryError('USAGE', 'a bundle is read by one process', { hint: 'leave out --queue' });
}

/**
 * Opens the queue that a mirror asks for; `undefined` where it asks for none.
 * @throws FerryError as {@link openQueue}
 */
export async function openMirrorQueue(
  flags: MirrorQueueFlags,
  ends: ParsedEnds,
  context: CommandContext,
): Promise<MirrorQueue | undefined> {
  if (flags.queue === undefined) return undefined;
  const queue = await openQueue(flags, context);
  const { openBudget } = await import('../queue/budgets.js');
  let requests: Requests = { source: 0, destination: 0 };
  return {
    sharedBudget: (origin, identity) => openBudget(queue, origin, identity),
    run: async (options) => {
      const { mirrorByQueue } = await import('../queue/coordinate.js');
      const done = await mirrorByQueue(options, {
        ...{ queue, version: VERSION, ends: makeEnds(ends) },
        ...(flags.attempts === undefined ? {} : { attempts: flags.attempts }),
      });
      requests = done.requests;
      return done.report;
    },
    get requests() {
      return requests;
    },
    [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose](),
  };
}

/** What both ends were asked, here and by workers. It goes on counting. */
export function sumRequests(
  here: Requests,
  elsewhere: { readonly requests: Requests } | undefined,
): Requests {
  if (elsewhere === undefined) return here;
  return {
    get source() {
      return here.source + elsewhere.requests.source;
    },
    get destination() {
      return here.destination + elsewhere.requests.destination;
    },
  };
}
