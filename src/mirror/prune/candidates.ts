/** Archives that may be stored without being listed, and where each of them stands. */
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { Ledger } from '../../artifact/ledger.js';
import type { PackagePlace } from '../../artifact/schema.js';
import { formatArchiveFilename, parseArchiveFilename, type ArchiveName } from '../../conda/names.js';
import type { Repodata } from '../../conda/repodata/repodata.js';
import { FerryError } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import { isReferrersTag } from '../../oci/referrers.js';
import { archivesAt } from '../../publish/index-store/find-stored.js';

/** An archive that is not listed. */
export interface Candidate {
  readonly filename: string;
  readonly name: ArchiveName;
  readonly place: PackagePlace;
  /** Such as `sha256:…`, where the ledger tells. */
  readonly identity: string | undefined;
}

/** Finds where an archive stands; `undefined` for what is no archive, or has no place in the schema. */
export function candidateOf(store: ChannelStore, filename: string, identity?: string): Candidate | undefined {
  try {
    const name = parseArchiveFilename(filename);
    return { filename, name, place: store.schema.placeOf(name), identity };
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    return undefined;
  }
}

/** What the ledger knows to be stored, or to have been, without being listed; each once. */
export function candidatesOf(
  store: ChannelStore,
  ledger: Ledger | undefined,
  published: Repodata,
): Map<string, Candidate> {
  const candidates = new Map<string, Candidate>();
  const kept = ledger?.kept ?? {};
  for (const filename of [...Object.keys(kept), ...Object.keys(ledger?.unlisted ?? {})]) {
    if (published.has(filename)) continue;
    const candidate = candidateOf(
      store,
      filename,
      Object.hasOwn(kept, filename) ? kept[filename] : undefined,
    );
    if (candidate !== undefined) candidates.set(filename, candidate);
  }
  // Of a channel that is published to nothing but `removed` tells what was yanked.
  for (const filename of ledger?.role.kind === 'published' ? published.removed() : []) {
    const candidate =
      candidates.has(filename) || published.has(filename) ? undefined : candidateOf(store, filename);
    if (candidate !== undefined) candidates.set(filename, candidate);
  }
  return candidates;
}

/** What {@link scanStore} works with. */
export interface ScanOptions {
  readonly store: ChannelStore;
  readonly subdir: string;
  readonly published: Repodata;
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Looks through the repositories of a subdir for artifacts at places where nothing is listed: one request for the tags of
 * each repository, one for each such artifact. A registry that does not tell its repositories is asked only for those of
 * which something is listed.
 * @returns the archives found, and whether all repositories were looked through
 */
export async function scanStore({
  store,
  subdir,
  published,
  concurrency,
  signal,
}: ScanOptions): Promise<{ readonly found: readonly Candidate[]; readonly isWhole: boolean }> {
  const listed = new Map<string, Set<string>>();
  for (const filename of published.filenames()) {
    const place = candidateOf(store, filename)?.place;
    if (place === undefined) continue;
    const tags = listed.get(place.repository) ?? new Set<string>();
    listed.set(place.repository, tags.add(place.tag));
  }
  const prefix = store.repositoryName(subdir, '');
  const names = await store.registry.repositories({ signal });
  const leaves =
    names === undefined
      ? [...listed.keys()]
      : names.filter((name) => name.startsWith(`${prefix}/`)).map((name) => name.slice(prefix.length + 1));
  const packages = leaves.filter((leaf) => store.schema.readLeaf(leaf).kind === 'package');
  const found: Candidate[] = [];
  await forEachConcurrently(packages, { concurrency, signal }, async (leaf) => {
    const repository = store.packageRepository(subdir, { repository: leaf });
    for await (const tag of repository.tags({ signal })) {
      if (isReferrersTag(tag) || listed.get(leaf)?.has(tag) === true) continue;
      const stored = await repository.fetchManifest(tag, { signal });
      if (stored === undefined) continue;
      const place = { repository: leaf, tag };
      for (const { name, sha256 } of archivesAt(store, place, stored.bytes))
        found.push({ filename: formatArchiveFilename(name), name, place, identity: `sha256:${sha256}` });
    }
  });
  return { found, isWhole: names !== undefined };
}
