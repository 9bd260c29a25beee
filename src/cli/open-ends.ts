import type { RunEnds } from '../queue/run-record.js';
import type { WorkerEnds } from '../queue/run-parts.js';
import type { CommandContext } from './context.js';
import { withFallbacks } from './fallbacks.js';
import type { ConnectionFlags } from './options.js';
import { parseEnds } from './queue-ends.js';
import { Session, type SessionOptions } from './session.js';

/** What a worker brings along to open the ends of runs. */
export interface Opening extends Pick<SessionOptions, 'sharedBudget' | 'readPassword'> {
  /** The worker's own; what the run says counts more. */
  readonly flags: ConnectionFlags;
  readonly context: CommandContext;
  readonly warn: (message: string) => void;
}

/**
 * Opens source and destination of a run with the credentials of this machine. To be closed.
 * @throws FerryError `VERSION_MISMATCH` for ends that another version wrote
 */
export async function openEnds(
  ends: RunEnds,
  { flags, context, warn, sharedBudget, readPassword }: Opening,
): Promise<WorkerEnds> {
  const parsed = parseEnds(ends);
  const session = new Session(context, { ...flags, ...parsed.flags }, { sharedBudget, readPassword });
  try {
    const { source, destination } = session.openMirror(parsed.source, parsed.destination);
    return {
      source: withFallbacks(source, parsed.fallbacks, { session, warn }),
      store: destination,
      requests: () => ({ ...session.requests }),
      [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
    };
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}
