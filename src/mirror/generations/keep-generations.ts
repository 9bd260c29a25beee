import type { ChannelStore } from '../../artifact/channel-store.js';
import { LATEST } from '../../artifact/metadata-artifact.js';
import { METADATA_FILES, type MetadataFile } from '../../artifact/schema.js';
import { FerryError } from '../../errors.js';
import { deleteTags, type KeptTag } from '../../oci/delete-tags.js';
import type { CallOptions } from '../../oci/storage.js';
import { deletionRefused } from '../prune/deletion-refused.js';
import { withSweep } from '../prune/sweep-blobs.js';
import { listGenerations } from './generations.js';

/** Metadata of a subdir that is published generation by generation. */
export const GENERATION_FILES: readonly MetadataFile[] = METADATA_FILES.filter(
  (file) =>
    file !== 'ledger' && file !== 'attestations' && file !== 'channeldata.json' && file !== 'notices.json',
);

/** Options of {@link keepGenerations}. */
export interface KeepGenerationsOptions extends CallOptions {
  /** How many of the newest generations stay, at least 1. */
  readonly keep: number;
}

/** What became of the generations of one metadata file. */
export interface TrimmedGenerations {
  readonly file: MetadataFile;
  /** History tags that stay because they are among the newest. */
  readonly kept: readonly string[];
  /** History tags that are gone. */
  readonly deleted: readonly string[];
  /** Older ones that are still there: a tag that stays names the same manifest, and the store removes no single tags. */
  readonly left: readonly KeptTag[];
}

/**
 * Deletes all but the newest generations of some metadata files of a subdir. All that stays, `latest` and tags that are
 * no history tags too, is resolved before anything is deleted, and no manifest goes that one of them names. Where there
 * is nothing to delete this costs one request for each file.
 * @example await keepGenerations(store, 'noarch', GENERATION_FILES, { keep: 14, signal })
 * @throws FerryError `USAGE` for less than one; `UNSUPPORTED` where the registry deletes nothing
 */
export async function keepGenerations(
  store: ChannelStore,
  subdir: string,
  files: readonly MetadataFile[],
  options: KeepGenerationsOptions,
): Promise<readonly TrimmedGenerations[]> {
  const trimmed: TrimmedGenerations[] = [];
  for (const file of files) trimmed.push(await pruneGenerations(store, subdir, file, options));
  return trimmed;
}

/** As {@link keepGenerations}, for one file. */
async function pruneGenerations(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  { keep, signal }: KeepGenerationsOptions,
): Promise<TrimmedGenerations> {
  checkKeep(keep);
  const tags = (await listGenerations(store, subdir, file, { signal })).map(({ tag }) => tag);
  const kept = tags.slice(0, keep);
  const old = tags.slice(keep);
  return { file, kept, ...(await deleteGenerations(store, subdir, file, old, { kept, signal })) };
}

/** Deletes some generations of a metadata file, by their tags. @throws FerryError `UNSUPPORTED` */
export async function deleteGenerations(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  tags: readonly string[],
  { kept = [], signal }: CallOptions & { readonly kept?: readonly string[] } = {},
): Promise<Pick<TrimmedGenerations, 'deleted' | 'left'>> {
  if (tags.length === 0) return { deleted: [], left: [] };
  const repository = store.metadataRepository(subdir, file);
  // A list of tags may be short, but `latest` is known to be there.
  const keep = [LATEST, ...kept];
  const {
    deleted,
    untagged,
    kept: left,
  } = await withSweep(repository, tags, () => deleteTags(repository, tags, { keep, signal }), { signal });
  const refused = left.find(({ reason }) => reason === 'alone');
  if (refused !== undefined) throw deletionRefused(store, refused.cause);
  return { deleted: [...deleted.flatMap((manifest) => manifest.tags), ...untagged].sort(), left };
}

/** @throws FerryError `USAGE` */
export function checkKeep(keep: number): void {
  if (Number.isInteger(keep) && keep >= 1) return;
  throw new FerryError('USAGE', `at least one generation has to stay, not ${String(keep)}`);
}
