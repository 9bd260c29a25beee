/**
 * Index: brings the repodata of a channel in a store in line with what is stored. Records that are there stay as they are;
 * what is listed and not stored goes, what is stored and not listed comes, unless it was taken off the list on purpose.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { Ledger } from '../../artifact/ledger.js';
import { OciChannel } from '../../artifact/oci-channel.js';
import { checkSubdirs, isSubdir } from '../../conda/names.js';
import { FerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import type { CommitOptions } from '../commit.js';
import type { PatchSource } from '../read-patches.js';
import { writeChanneldata, writeSubdirCompanions } from './companions.js';
import { indexSubdir, type IndexedSubdir } from './index-subdir.js';

/** Options of {@link indexChannel}. */
export interface IndexOptions extends CommitOptions {
  readonly store: ChannelStore;
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /** Make every record anew out of its artifact. @defaultValue false */
  readonly fromArtifacts?: boolean | undefined;
  /** Do that in a mirror too, whose upstream's patches and times of indexing go. @defaultValue false */
  readonly force?: boolean | undefined;
  /** Patch instructions. @defaultValue those that the channel was published with */
  readonly patches?: PatchSource | undefined;
  /** Whether the files beside the repodata are made too, of a channel that is published to. @defaultValue true */
  readonly companions?: boolean | undefined;
  /** Packages to look for where the store does not tell its repositories. @defaultValue those that are listed */
  readonly names?: readonly string[] | undefined;
  /** @defaultValue 16 */
  readonly concurrency?: number | undefined;
  readonly reporter?: { readonly warning?: (message: string) => void } | undefined;
}

/** An archive that could not be indexed; the others are. */
export interface IndexFailure {
  readonly filename: string;
  readonly error: FerryError;
}

/** What was done in one subdir. */
export interface SubdirIndex {
  readonly subdir: string;
  readonly role: Ledger['role']['kind'] | undefined;
  /** Archives that are listed now. */
  readonly records: number;
  /** Archives that were stored and are listed from now on, those among them that patch instructions no longer remove. */
  readonly added: readonly string[];
  /** Archives that were listed and are not stored. */
  readonly dropped: readonly string[];
  /** Archives that patch instructions took off the list; they stay to be fetched. */
  readonly removed: readonly string[];
  /** Records that were made anew or patched, and say something else than before. */
  readonly rewritten: readonly string[];
  readonly failed: readonly IndexFailure[];
  /** The history tag of the state that is in force, where it has one. */
  readonly generation: string | undefined;
  /** Operations that were merged into it and are no longer in the log. */
  readonly compacted: number;
  /** Whether anything was written. */
  readonly isChanged: boolean;
}

/** What an index did. */
export interface IndexReport {
  readonly channel: string;
  readonly schema: string;
  readonly subdirs: readonly SubdirIndex[];
  /** Files beside the repodata that were written, such as `noarch/run_exports.json`. */
  readonly companions: readonly string[];
}

/**
 * Indexes a channel. Costs a request for each artifact. A mirror lists what its source does, so there only what is not stored
 * goes off the list.
 * @throws FerryError `CHANNEL_NOT_FOUND` (also for a subdir that was asked for), `ROLE_MISMATCH` (records of a mirror made anew, without `force`), `RUN_UNFINISHED`,
 * `ROLLED_BACK`, `LEDGER_INVALID`, `OPERATION_INVALID`, `TAG_MOVED`, `USAGE`
 */
export async function indexChannel(options: IndexOptions): Promise<IndexReport> {
  const { store, signal } = options;
  checkSubdirs(options.subdirs);
  const repositories = await store.registry.repositories({ signal });
  const leaves = leavesBySubdir(store, repositories);
  // Where the store tells, that is all: metadata too has its leaves.
  const subdirs = options.subdirs ?? [
    ...(leaves?.keys() ?? (await new OciChannel(store).subdirs({ signal }))),
  ];
  if (subdirs.length === 0)
    throw new FerryError('CHANNEL_NOT_FOUND', `there is no channel at \`${store.location}\``);
  if (leaves === undefined && (options.names ?? []).length === 0) {
    options.reporter?.warning?.(
      'the registry does not tell its repositories: those of listed packages are looked through; --names adds others',
    );
  }
  const indexed: IndexedSubdir[] = [];
  for (const subdir of [...new Set(subdirs)].sort(compareText))
    indexed.push(
      await indexSubdir(subdir, leaves === undefined ? undefined : (leaves.get(subdir) ?? []), options),
    );
  const companions: string[] = [];
  const inputs = indexed.flatMap((subdir) => subdir.companions ?? []);
  for (const input of inputs) {
    const files = await writeSubdirCompanions(input, options);
    companions.push(...files.map((file) => `${input.subdir}/${file}`));
  }
  // It speaks of the whole channel, or not at all.
  const published = indexed.filter(({ isPublished }) => isPublished);
  const isWhole = options.subdirs === undefined && inputs.length === published.length && inputs.length > 0;
  if (isWhole && (await writeChanneldata(inputs, options))) companions.push('channeldata.json');
  return {
    channel: store.location,
    schema: store.schema.id,
    subdirs: indexed.map(({ report }) => report),
    companions,
  };
}

function leavesBySubdir(
  store: ChannelStore,
  repositories: readonly string[] | undefined,
): ReadonlyMap<string, readonly string[]> | undefined {
  if (repositories === undefined) return undefined;
  const leaves = new Map<string, string[]>();
  const prefix = store.path === '' ? '' : `${store.path}/`;
  for (const name of repositories) {
    const [subdir = '', leaf, ...below] = name.startsWith(prefix) ? name.slice(prefix.length).split('/') : [];
    if (leaf === undefined || below.length > 0 || !isSubdir(subdir)) continue;
    if (store.schema.readLeaf(leaf).kind === 'other') continue;
    leaves.set(subdir, [...(leaves.get(subdir) ?? []), leaf]);
  }
  return leaves;
}
