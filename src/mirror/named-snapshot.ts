/** A snapshot of the packages that filters name, out of shards, where it tells as much as all of the repodata would. */
import type { ChannelSource } from '../conda/channel-source.js';
import { Repodata } from '../conda/repodata/repodata.js';
import { SHARD_INDEX } from '../conda/shards/shard-files.js';
import { isFerryError, type FerryErrorCode } from '../errors.js';
import { openerOf } from '../io/bytes.js';
import type { TempFolder } from '../io/temp-folder.js';
import { takeShardSnapshot } from './shard-snapshot.js';
import type { Snapshot, SnapshotOrigin } from './snapshot.js';
import { spoolBlob } from './spooled-text.js';

/** So many shards are cheaper than the repodata of a large channel, which weighs as much as some hundred of them. */
export const MAX_NAMES = 200;

/** What is wrong with the shards alone, so that the repodata can still be read. */
const SHARD_FAULTS: ReadonlySet<FerryErrorCode> = new Set([
  'REPODATA_INVALID',
  'DIGEST_MISMATCH',
  'SIZE_EXCEEDED',
  'SIZE_MISMATCH',
  'UNSUPPORTED',
]);

/** What {@link takeNamedSnapshot} works with. */
export interface NamedSnapshotOptions {
  /** Names that are asked for, in lower case. */
  readonly asked: ReadonlySet<string>;
  /**
   * Names of all that the destination lists or keeps, in lower case; `undefined` where they cannot be told or are too many.
   * What became of them at the source has to be known too. Asked only if the shards changed.
   */
  readonly atHand: () => Promise<ReadonlySet<string> | undefined>;
  /** Ask only whether the shards changed, if these were what was read. */
  readonly unless?: SnapshotOrigin | undefined;
  readonly temp: TempFolder;
  readonly signal?: AbortSignal | undefined;
}

/** Answer to {@link takeNamedSnapshot}. */
export type NamedSnapshotAnswer =
  /** All of the repodata has to be read. */
  | { readonly status: 'unfit'; readonly warning?: string }
  | { readonly status: 'unchanged' }
  | { readonly status: 'found'; readonly snapshot: Snapshot };

/** Whether a ledger's snapshot was made of shards. */
export function isOfShards(origin: SnapshotOrigin | undefined): boolean {
  return origin?.file === SHARD_INDEX;
}

/**
 * Takes a snapshot from shards, unless the source has none, they cannot be read, or something at the destination is of a
 * package that the source no longer has: only the repodata can tell whether that was removed on purpose.
 * @throws what the source throws where it does not answer
 * @see CEP 16
 */
export async function takeNamedSnapshot(
  source: ChannelSource,
  subdir: string,
  { asked, atHand, unless, temp, signal }: NamedSnapshotOptions,
): Promise<NamedSnapshotAnswer> {
  if (asked.size > MAX_NAMES) return { status: 'unfit' };
  const validators = isOfShards(unless) ? unless?.validators : undefined;
  try {
    const answer = await takeShardSnapshot(source, subdir, asked, {
      unless: validators,
      required: atHand,
      maxNames: MAX_NAMES,
      signal,
    });
    if (answer.status === 'unchanged') return { status: 'unchanged' };
    if (answer.status !== 'found') return { status: 'unfit' };
    const snapshot = await spool(subdir, answer.bytes, {
      origin: { file: SHARD_INDEX, validators: answer.validators },
      packages: answer.packages,
      temp,
      signal,
    });
    return { status: 'found', snapshot };
  } catch (error) {
    if (!isFerryError(error) || !SHARD_FAULTS.has(error.code)) throw error;
    return { status: 'unfit', warning: `${subdir}: read without its shards: ${error.message}` };
  }
}

interface SpoolOptions extends Pick<NamedSnapshotOptions, 'temp' | 'signal'> {
  readonly origin: SnapshotOrigin;
  readonly packages: number;
}

async function spool(
  subdir: string,
  bytes: Uint8Array,
  { origin, packages, temp, signal }: SpoolOptions,
): Promise<Snapshot> {
  const blob = await spoolBlob(openerOf(bytes)(), temp);
  try {
    const repodata = await Repodata.read(blob.open, subdir, { signal });
    return {
      ...{ subdir, origin, repodata, open: blob.open, zst: undefined, digest: repodata.digest },
      ...{ part: { packages }, lastModified: origin.validators.lastModified, warnings: [] },
      [Symbol.asyncDispose]: () => blob[Symbol.asyncDispose](),
    };
  } catch (error) {
    await blob[Symbol.asyncDispose]();
    throw error;
  }
}
