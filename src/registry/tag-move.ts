import { FerryError, isFerryError, ResponseError, TransportError } from '../errors.js';
import { clockOf } from '../http/clock.js';
import { isWorthWaiting, pauseBeforeRetry } from '../http/retry.js';
import type { CallOptions, ReplacedManifest, StoredManifest } from '../oci/storage.js';
import { headManifest, writeManifest, type WrittenManifest } from './manifests.js';
import type { RepositoryContext } from './repository-context.js';

const MAX_ATTEMPTS = 8;

/**
 * Moves a tag to content that was made out of what it named before. After an answer that was lost the tag is read
 * before anything is written again: a blind second PUT would take away what somebody else wrote in the meantime. There
 * is no condition that registries honour, so a writer of the same moment is not seen.
 * @throws FerryError `TAG_MOVED` where it names something else by now; what writing a manifest throws
 */
export async function moveTag(
  context: RepositoryContext,
  stored: StoredManifest,
  tag: string,
  replaces: ReplacedManifest,
  options: CallOptions,
): Promise<WrittenManifest> {
  const clock = clockOf(context.clock);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await writeManifest(context, stored, tag, { ...options, repeatable: false });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (attempt === MAX_ATTEMPTS || !isOpen(error)) throw error;
      const floorMs = error instanceof ResponseError ? error.retryAfterMs : undefined;
      await pauseBeforeRetry(attempt, floorMs, options.signal, clock);
      const now = (await headManifest(context, tag, options))?.digest ?? 'nothing';
      if (now === stored.descriptor.digest) return { listsReferrers: false };
      if (now !== replaces) {
        throw new FerryError('TAG_MOVED', `\`${context.name}:${tag}\` was written by somebody else`, {
          cause: error,
          hint: 'run the command again: it goes on from what is there now',
        });
      }
    }
  }
}

/** Whether the outcome is open, or the answer "not now". */
function isOpen(error: unknown): boolean {
  if (error instanceof TransportError) return true;
  if (!(error instanceof ResponseError) || !isWorthWaiting(error.retryAfterMs)) return false;
  return error.status >= 500 || error.status === 408 || isFerryError(error, 'RATE_LIMITED');
}
