/** The archives that a subdir stores, as the store itself tells: repositories, their tags, and what stands there. */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { layersOf } from '../../artifact/package-artifact.js';
import type { PackagePlace } from '../../artifact/schema.js';
import { formatArchiveFilename, parseArchiveFilename, type ArchiveName } from '../../conda/names.js';
import { isFerryError } from '../../errors.js';
import { digestHex } from '../../io/digest.js';
import { forEachConcurrently } from '../../io/pool.js';
import { tryParseImageManifest } from '../../oci/manifest.js';
import { isReferrersTag } from '../../oci/referrers.js';

/** With it a tag is longer than the 128 characters that it may have, so that a schema that hashes those says where. */
const LONG_VERSION = '0'.repeat(129);

/** What is found of an archive. */
export interface StoredArchiveName {
  readonly name: ArchiveName;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** What {@link findStored} works with. */
export interface FindStoredOptions {
  readonly store: ChannelStore;
  readonly concurrency: number;
  /** File names that are known: their repositories are looked through where the store does not tell its own. */
  readonly known: Iterable<string>;
  /** Package names to look for besides. */
  readonly names: readonly string[];
  /** Leaves of all repositories of the subdir; `undefined` where the store does not tell. */
  readonly leaves: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Looks through the repositories of a subdir: one request for the tags of each, one for each artifact.
 * @returns archives by file name
 */
export async function findStored(
  subdir: string,
  options: FindStoredOptions,
): Promise<ReadonlyMap<string, StoredArchiveName>> {
  const { store, concurrency, signal } = options;
  const found = new Map<string, StoredArchiveName>();
  await forEachConcurrently(leavesToAsk(options), { concurrency, signal }, async (leaf) => {
    const repository = store.packageRepository(subdir, { repository: leaf });
    for await (const tag of repository.tags({ signal })) {
      if (isReferrersTag(tag)) continue;
      const stored = await repository.fetchManifest(tag, { signal });
      const archives = stored === undefined ? [] : archivesAt(store, { repository: leaf, tag }, stored.bytes);
      for (const archive of archives) found.set(formatArchiveFilename(archive.name), archive);
    }
  });
  return found;
}

/**
 * Looks for archives by their names, whatever lists of tags say: some registries show a tag in them only some time after it was
 * written, and what is listed must not go for that.
 * @returns those that are there
 */
export async function lookUp(
  subdir: string,
  filenames: Iterable<string>,
  { store, concurrency, signal }: Pick<FindStoredOptions, 'store' | 'concurrency' | 'signal'>,
): Promise<ReadonlyMap<string, StoredArchiveName>> {
  const found = new Map<string, StoredArchiveName>();
  await forEachConcurrently(filenames, { concurrency, signal }, async (filename) => {
    const place = placeOf(store, parseArchiveFilename(filename));
    if (place === undefined) return;
    const stored = await store.packageRepository(subdir, place).fetchManifest(place.tag, { signal });
    for (const archive of stored === undefined ? [] : archivesAt(store, place, stored.bytes))
      if (formatArchiveFilename(archive.name) === filename) found.set(filename, archive);
  });
  return found;
}

/** Where an archive would be stored; `undefined` for what has no place, and is not stored. */
function placeOf(
  { schema }: ChannelStore,
  archive: Pick<ArchiveName, 'name' | 'version' | 'build'>,
): PackagePlace | undefined {
  try {
    return schema.placeOf(archive);
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return undefined;
  }
}

function leavesToAsk({ store, known, names, leaves }: FindStoredOptions): ReadonlySet<string> {
  const asked = new Set((leaves ?? []).filter((leaf) => store.schema.readLeaf(leaf).kind === 'package'));
  const add = (archive: Pick<ArchiveName, 'name' | 'version' | 'build'>): void => {
    const place = placeOf(store, archive);
    if (place !== undefined) asked.add(place.repository);
  };
  for (const filename of known) add(parseArchiveFilename(filename));
  for (const name of names) {
    add({ name, version: '0', build: '0' });
    // Builds whose tags are too long stand elsewhere. @see v1/T5
    add({ name, version: LONG_VERSION, build: '0' });
  }
  return asked;
}

/** The archives of an artifact; none where it is something else, which is not ours to judge. */
export function archivesAt(
  store: ChannelStore,
  place: PackagePlace,
  bytes: Uint8Array,
): readonly StoredArchiveName[] {
  const manifest = tryParseImageManifest(bytes);
  if (manifest === undefined) return [];
  try {
    const identity = store.schema.packageAt(place, manifest.annotations);
    return layersOf(manifest).packages.map(({ extension, descriptor }) => {
      return { name: { ...identity, extension }, sha256: digestHex(descriptor.digest) };
    });
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return [];
  }
}
