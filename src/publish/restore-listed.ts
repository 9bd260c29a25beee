import type { ChannelStore } from '../artifact/channel-store.js';
import {
  listOperations,
  readOperation,
  type ListingEntry,
  type LoggedOperation,
} from '../artifact/operation-log.js';
import { layersOf } from '../artifact/package-artifact.js';
import { formatArchiveFilename, parseArchiveFilename, type ArchiveName } from '../conda/names.js';
import { digestHex } from '../io/digest.js';
import { tryParseImageManifest } from '../oci/manifest.js';
import type { CallOptions, StoredManifest } from '../oci/storage.js';
import { readHead, type Head, type HeadOptions } from './head.js';
import { restoreArtifact } from './restore-artifact.js';

/** How often a tag is looked at against other writers of it. */
const MAX_LOOKS = 5;

/** The file name of the same build in the other format. */
export function twinOf(filename: string): string {
  const name = parseArchiveFilename(filename);
  return formatArchiveFilename({ ...name, extension: name.extension === 'conda' ? 'tar.bz2' : 'conda' });
}

/**
 * Makes sure that the tag of an archive holds what is listed under its name, and under that of its twin. A writer that did
 * not see another one may have taken its layer away; whoever comes to know of both, when both are logged, puts that right.
 * @param known operations that were read, in which the artifact may be found; else the log is searched
 */
export async function restoreListed(
  subdir: string,
  filename: string,
  known: { readonly head: Head; readonly merged: readonly LoggedOperation[] },
  options: HeadOptions,
): Promise<void> {
  const { store } = options;
  const name = parseArchiveFilename(filename);
  const place = store.schema.placeOf(name);
  const repository = store.packageRepository(subdir, place);
  let { head } = known;
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    // Each time: to put back what was replaced meanwhile would take the new bytes away.
    if (look > 0) head = await readHead(subdir, options, head);
    const present = await repository.fetchManifest(place.tag, options);
    // Where the schema holds one archive of a build, that is the `.conda`.
    const wanted = listedOf(name, head).slice(0, store.schema.holdsTwins ? undefined : 1);
    const [missing] = wanted.filter(({ sha256 }) => !holds(present, sha256));
    if (missing === undefined) return;
    const entry = await findEntry(store, subdir, missing, known.merged, options);
    if (entry === undefined || !(await restoreArtifact(store, subdir, entry, options))) return;
  }
}

interface ListedArchive {
  readonly filename: string;
  readonly sha256: unknown;
}

function listedOf(name: ArchiveName, { listing }: Head): readonly ListedArchive[] {
  return (['conda', 'tar.bz2'] as const).flatMap((extension) => {
    const filename = formatArchiveFilename({ ...name, extension });
    const record = listing.get(filename);
    return record === undefined ? [] : [{ filename, sha256: record['sha256'] }];
  });
}

function holds(present: StoredManifest | undefined, sha256: unknown): boolean {
  const manifest = present && tryParseImageManifest(present.bytes);
  if (manifest === undefined) return false;
  return layersOf(manifest).packages.some(({ descriptor }) => digestHex(descriptor.digest) === sha256);
}

/** Says where the bytes of a listed archive are stored; whoever listed them logged that. */
async function findEntry(
  store: ChannelStore,
  subdir: string,
  wanted: ListedArchive,
  known: readonly LoggedOperation[],
  { signal }: CallOptions,
): Promise<ListingEntry | undefined> {
  const find = ({ operation }: Pick<LoggedOperation, 'operation'>): ListingEntry | undefined =>
    operation.entries.find(
      (entry): entry is ListingEntry =>
        entry.kind !== 'remove' &&
        entry.filename === wanted.filename &&
        entry.record.sha256 === wanted.sha256 &&
        entry.manifest !== undefined,
    );
  for (const logged of known) {
    const entry = find(logged);
    if (entry !== undefined) return entry;
  }
  const tags = await listOperations(store, subdir, { signal });
  // Writers that meet do so at the same time.
  for (const tag of tags.toReversed()) {
    const operation = await readOperation(store, subdir, tag, { signal });
    const entry = operation && find({ operation });
    if (entry !== undefined) return entry;
  }
  return undefined;
}
