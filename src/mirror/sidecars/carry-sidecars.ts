/**
 * Attestation sidecars: fetched, checked and stored before the repodata that names them is published. Each is an artifact
 * of its own, under its SHA-256 as the tag; identical ones are one.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { metadataMediaType } from '../../artifact/media-types.js';
import { pushMetadata } from '../../artifact/metadata-artifact.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { sidecarFilename } from '../../conda/sidecar.js';
import { CopyError, FerryError, isFerryError, messageOf } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { forEachConcurrently } from '../../io/pool.js';
import type { Failure } from '../report.js';
import { isSourceGone } from '../transfer.js';
import type { AttestedRecord } from './attested-records.js';
import { fetchSidecar } from './fetch-sidecar.js';

/** What {@link carrySidecars} works with; a run's context has all but the last two. */
export interface SidecarContext {
  readonly source: ChannelSource;
  readonly store: ChannelStore;
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
  readonly subdir: string;
  /** SHA-256 of sidecars that are there: what is listed now names them, and the ledger says that they are there. */
  readonly known?: ReadonlySet<string> | undefined;
  /**
   * Whether others may be there too, since a run was killed or nothing is known: then the repository's tags are read.
   * @defaultValue false
   */
  readonly asksFirst?: boolean | undefined;
}

/** What became of the sidecars of a subdir. */
export interface CarriedSidecars {
  /** Sidecars that were stored, and their bytes in sum. */
  readonly added: number;
  readonly addedBytes: number;
  /** Records whose sidecar is not there: they must not be listed, or they would promise it. Sorted by file name. */
  readonly failed: readonly Failure[];
}

/**
 * Carries the sidecars of records that name one. A sidecar that is missing at the source or wrong is a failure of its
 * record, and does not mean that the archive is missing.
 * @throws CopyError (destination), FerryError where nobody answers at the source: what ends the whole run
 * @see cep142/order, cep142/bytes-kept, cep142/mirror-infers
 */
export async function carrySidecars(
  records: Iterable<AttestedRecord>,
  context: SidecarContext,
): Promise<CarriedSidecars> {
  const { known, concurrency, signal } = context;
  const wanted = new Map<string, AttestedRecord[]>();
  for (const record of records) {
    const { attestationsSha256: sha256 } = record;
    if (known?.has(sha256) === true) continue;
    const sharers = wanted.get(sha256);
    if (sharers === undefined) wanted.set(sha256, [record]);
    else sharers.push(record);
  }
  if (wanted.size === 0) return { added: 0, addedBytes: 0, failed: [] };
  for (const sha256 of context.asksFirst === true ? await storedTags(context) : []) wanted.delete(sha256);

  let added = 0;
  let addedBytes = 0;
  const failed: Failure[] = [];
  await forEachConcurrently(wanted.values(), { concurrency, signal }, async (sharers) => {
    const fetched = await fetchAny(sharers, context);
    failed.push(...fetched.failed);
    if (fetched.bytes === undefined) return;
    await pushSidecar(sharers, fetched.bytes, context);
    added += 1;
    addedBytes += fetched.bytes.byteLength;
  });
  return { added, addedBytes, failed: failed.toSorted((a, b) => compareText(a.filename, b.filename)) };
}

async function storedTags({ store, subdir, signal }: SidecarContext): Promise<readonly string[]> {
  const tags: string[] = [];
  try {
    for await (const tag of store.metadataRepository(subdir, 'attestations').tags({ signal })) tags.push(tag);
  } catch (error) {
    throw atDestination('its attestation sidecars cannot be listed', error);
  }
  return tags;
}

/** Beside any of the archives that share it, it is the same. */
async function fetchAny(
  sharers: readonly AttestedRecord[],
  context: SidecarContext,
): Promise<{ readonly bytes: Uint8Array | undefined; readonly failed: readonly Failure[] }> {
  const failed: Failure[] = [];
  for (const record of sharers) {
    try {
      return { bytes: await fetchSidecar(record, context), failed: [] };
    } catch (error) {
      if (!isFerryError(error) || error.code === 'INTERNAL' || isSourceGone(error, context.source))
        throw error;
      failed.push({ filename: record.filename, code: error.code, message: messageOf(error) });
    }
  }
  return { bytes: undefined, failed };
}

async function pushSidecar(
  sharers: readonly AttestedRecord[],
  bytes: Uint8Array,
  { store, subdir, signal }: SidecarContext,
): Promise<void> {
  // The same title whatever the order in which a run comes to them.
  const [first] = sharers.toSorted((a, b) => compareText(a.filename, b.filename));
  if (first === undefined) throw new FerryError('INTERNAL', 'a sidecar of no record');
  const { filename, attestationsSha256: sha256 } = first;
  const title = sidecarFilename(filename, sha256);
  const layer = { mediaType: metadataMediaType('attestations'), title, bytes };
  try {
    await pushMetadata(store, subdir, 'attestations', [layer], { tags: [sha256], signal });
  } catch (error) {
    throw atDestination(`the destination did not take \`${title}\``, error);
  }
}

/** What is no error of ours (an abort) stays as it is. */
function atDestination(message: string, error: unknown): unknown {
  return isFerryError(error) && !(error instanceof CopyError)
    ? new CopyError('destination', message, error)
    : error;
}
