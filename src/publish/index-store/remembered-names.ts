import type { Ledger } from '../../artifact/ledger.js';
import { isArchiveFilename } from '../../conda/names.js';
import { compareText } from '../../io/compare-text.js';
import type { CommitOptions } from '../commit.js';
import { readStateAt } from '../head.js';
import type { MergedState } from '../merge.js';

/** Older ones tell hardly a name that these do not. */
const MAX_GENERATIONS = 3;

/**
 * File names that a subdir has listed or stored at some time, as far as it remembers: what its list, its ledger and its newest
 * generations say. Where a store does not tell its repositories, these are looked through.
 * @throws FerryError `REPODATA_INVALID`, `MANIFEST_INVALID`
 */
export async function rememberedNames(
  subdir: string,
  { listing }: MergedState,
  ledger: Ledger | undefined,
  options: CommitOptions,
): Promise<ReadonlySet<string>> {
  const { store, signal } = options;
  const names = new Set<string>([
    ...listing.filenames(),
    ...listing.removed,
    ...Object.keys(ledger?.kept ?? {}),
    ...Object.keys(ledger?.unlisted ?? {}),
  ]);
  const tags: string[] = [];
  for await (const tag of store.metadataRepository(subdir, 'repodata.json').tags({ signal }))
    if (store.schema.parseHistoryTag(tag) !== undefined) tags.push(tag);
  for (const tag of tags.sort(compareText).slice(-MAX_GENERATIONS)) {
    const state = await readStateAt(subdir, tag, options);
    for (const filename of state?.listing.filenames() ?? []) names.add(filename);
  }
  return new Set([...names].filter(isArchiveFilename));
}
