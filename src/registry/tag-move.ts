import { ResponseError, TransportError } from '../errors.js';
import { clockOf } from '../http/clock.js';
import { isWorthWaiting } from '../http/host-limiter.js';
import { pauseBeforeRetry } from '../http/retry.js';
import type { CallOptions, ReplacedManifest, StoredManifest } from '../oci/storage.js';
import { tagMoved } from '../oci/tag-moved.js';
import { headManifest, readManifest, writeManifest, type WrittenManifest } from './manifests.js';
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
      const found = await findOut(context, stored, tag, replaces, options);
      if (found === 'moved') throw tagMoved(context.name, tag, error);
      // What the lost answer said of the subject is lost too; so its list is looked after as if nobody did.
      if (found === 'stored') return { listsReferrers: false };
    }
  }
}

/** What became of a write without an answer. */
async function findOut(
  context: RepositoryContext,
  stored: StoredManifest,
  tag: string,
  replaces: ReplacedManifest,
  options: CallOptions,
): Promise<'stored' | 'untouched' | 'moved'> {
  const told = (await headManifest(context, tag, options))?.digest ?? 'nothing';
  if (told === stored.descriptor.digest) return 'stored';
  if (told === replaces) return 'untouched';
  // Some registries tell another digest than that of the bytes, or one of another algorithm.
  const read = await readManifest(context, tag, options);
  if (read !== undefined && Buffer.from(read.bytes).equals(stored.bytes)) return 'stored';
  return (read?.descriptor.digest ?? 'nothing') === replaces ? 'untouched' : 'moved';
}

/** Whether the outcome is open. What a rate limit turned away was not done, and was repeated often enough below. */
function isOpen(error: unknown): boolean {
  if (error instanceof TransportError) return true;
  if (!(error instanceof ResponseError) || !isWorthWaiting(error.retryAfterMs)) return false;
  return error.status >= 500 || error.status === 408 || error.status === 499;
}
