import { FerryError, ResponseError, TransportError, isFerryError } from '../errors.js';
import { clockOf } from '../http/clock.js';
import { isWorthWaiting } from '../http/host-limiter.js';
import { pauseBeforeRetry } from '../http/retry.js';
import type { Digest } from '../io/digest.js';
import { Turns } from '../io/turns.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import { encodeJson, parseImageIndex, type ImageIndex } from '../oci/manifest.js';
import { IMAGE_INDEX } from '../oci/media-types.js';
import { referrersTag } from '../oci/referrers.js';
import type { CallOptions } from '../oci/storage.js';
import { headManifest, readManifest, writeManifest } from './manifests.js';
import type { RepositoryContext } from './repository-context.js';

/** Writes of one change, each after reading again; others may write the same tag. */
const MAX_ATTEMPTS = 5;

/** One change to a list of referrers. */
export type ReferrersChange =
  | { readonly kind: 'add'; readonly descriptor: Descriptor }
  | { readonly kind: 'remove'; readonly digest: Digest };

interface PendingChange {
  readonly change: ReferrersChange;
  isDone: boolean;
}

/**
 * Reads the list that stands under a subject's referrers tag; `undefined` where there is none.
 * @throws FerryError `REGISTRY_REFUSED` where the tag names something else
 */
export async function readReferrersIndex(
  context: RepositoryContext,
  subject: Digest,
  options: CallOptions,
): Promise<ImageIndex | undefined> {
  const tag = referrersTag(subject);
  try {
    const stored = await readManifest(context, tag, options);
    if (stored === undefined) return undefined;
    if (stored.descriptor.mediaType === IMAGE_INDEX) return parseImageIndex(stored.bytes);
    throw notAnIndex(context, tag);
  } catch (error) {
    throw isFerryError(error, 'MANIFEST_INVALID') ? notAnIndex(context, tag, error) : error;
  }
}

function notAnIndex(context: RepositoryContext, tag: string, cause?: unknown): FerryError {
  const what = `\`${context.name}:${tag}\` on \`${context.base.host}\``;
  return new FerryError('REGISTRY_REFUSED', `${what} should list referrers, and is no image index`, {
    cause,
  });
}

/**
 * The lists of referrers that registries without the API keep under tags. A change is read, merge, write; there is no
 * condition that registries honour, and the last writer wins. So changes of one subject go one after the other in this
 * process, all that wait in one write; each write is read back, and done again if another process wrote over it. Of two
 * processes that write in the same moment one may still lose, if the other reads before and writes after all that:
 * whoever can should have one writer for a subject.
 * @see distribution-spec v1.1.1, "Referrers Tag Schema"
 */
export class ReferrersIndexes {
  readonly #context: RepositoryContext;
  readonly #turns = new Turns();
  readonly #pending = new Map<Digest, Set<PendingChange>>();

  constructor(context: RepositoryContext) {
    this.#context = context;
  }

  /**
   * Makes a change that stays, as far as can be seen. The list is never deleted, be it empty: another writer may just
   * have read it.
   * @throws FerryError `REGISTRY_REFUSED` where the tag names something else or others keep overwriting it,
   * `MANIFEST_TOO_LARGE`, and what writing a manifest throws
   */
  async change(subject: Digest, change: ReferrersChange, options: CallOptions): Promise<void> {
    const waiting = this.#pending.get(subject) ?? new Set<PendingChange>();
    this.#pending.set(subject, waiting);
    const mine: PendingChange = { change, isDone: false };
    waiting.add(mine);
    const work = async (): Promise<void> => {
      if (mine.isDone) return;
      const batch = [...waiting];
      await this.#write(
        subject,
        batch.map((pending) => pending.change),
        options,
      );
      for (const pending of batch) {
        pending.isDone = true;
        waiting.delete(pending);
      }
    };
    try {
      await this.#turns.run(subject, work, options.signal);
    } finally {
      waiting.delete(mine);
      if (waiting.size === 0 && this.#pending.get(subject) === waiting) this.#pending.delete(subject);
    }
  }

  async #write(subject: Digest, changes: readonly ReferrersChange[], options: CallOptions): Promise<void> {
    let failure = new FerryError(
      'REGISTRY_REFUSED',
      `\`${this.#context.name}:${referrersTag(subject)}\` was overwritten by others ${String(MAX_ATTEMPTS)} times`,
      { hint: 'let one process at a time push what refers to the same manifest' },
    );
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      if (attempt > 1) {
        const floorMs = failure instanceof ResponseError ? failure.retryAfterMs : undefined;
        await pauseBeforeRetry(attempt - 1, floorMs, options.signal, clockOf(this.#context.clock));
      }
      const merged = merge(await readReferrersIndex(this.#context, subject, options), changes);
      if (merged === undefined) return;
      try {
        await this.#put(subject, merged, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!mayPass(error)) throw error;
        failure = error;
        continue;
      }
      const after = await readReferrersIndex(this.#context, subject, options);
      if (merge(after, changes) === undefined) return;
    }
    // The last write may have happened, though its answer did not come.
    if (merge(await readReferrersIndex(this.#context, subject, options), changes) === undefined) return;
    throw failure;
  }

  async #put(subject: Digest, index: ImageIndex, options: CallOptions): Promise<void> {
    try {
      await this.#putOnce(subject, index, options);
    } catch (error) {
      if (!isFerryError(error, 'MANIFEST_BLOB_UNKNOWN')) throw error;
      // Registries take no index that lists what is gone, such as a referrer that another tool deleted.
      const present: Descriptor[] = [];
      for (const descriptor of index.manifests) {
        if ((await headManifest(this.#context, descriptor.digest, options)) !== undefined)
          present.push(descriptor);
      }
      if (present.length === index.manifests.length) throw error;
      await this.#putOnce(subject, { ...index, manifests: present }, options);
    }
  }

  async #putOnce(subject: Digest, index: ImageIndex, options: CallOptions): Promise<void> {
    const bytes = encodeJson(index);
    // Not to be repeated blindly: in the meantime others may have written what a second PUT would take away.
    await writeManifest(
      this.#context,
      { descriptor: describe(IMAGE_INDEX, bytes), bytes },
      referrersTag(subject),
      { ...options, repeatable: false },
    );
  }
}

/** The index with the changes, or `undefined` where it has them already. Fields and entries of others stay. */
function merge(index: ImageIndex | undefined, changes: readonly ReferrersChange[]): ImageIndex | undefined {
  const entries = new Map((index?.manifests ?? []).map((entry) => [entry.digest, entry]));
  let isChanged = false;
  for (const change of changes) {
    if (change.kind === 'remove') isChanged = entries.delete(change.digest) || isChanged;
    else if (!entries.has(change.descriptor.digest)) {
      entries.set(change.descriptor.digest, change.descriptor);
      isChanged = true;
    }
  }
  if (!isChanged) return undefined;
  return { schemaVersion: 2, ...index, mediaType: IMAGE_INDEX, manifests: [...entries.values()] };
}

/** Whether a failed write may have happened, or may succeed after the next look. */
function mayPass(error: unknown): error is FerryError {
  if (error instanceof TransportError) return true;
  if (!(error instanceof ResponseError) || !isWorthWaiting(error.retryAfterMs)) return false;
  return error.code === 'RATE_LIMITED' || error.status >= 500 || [408, 409, 412].includes(error.status);
}
