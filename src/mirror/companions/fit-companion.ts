/** Makes a subdir's metadata files say no more than what the mirror has. */
import { formatArchiveFilename, isArchiveFilename, parseArchiveFilename } from '../../conda/names.js';
import { archiveIdentity } from '../../conda/package-record.js';
import { Repodata } from '../../conda/repodata/repodata.js';
import { collect, openerOf } from '../../io/bytes.js';
import { checkJson, filterJson } from './filter-json.js';

/** The metadata files that lie beside a subdir's repodata, in the order they are published. */
export const SUBDIR_COMPANIONS = [
  'run_exports.json',
  'patch_instructions.json',
  'current_repodata.json',
  'repodata_from_packages.json',
] as const;

/** One of {@link SUBDIR_COMPANIONS}. */
export type SubdirCompanion = (typeof SUBDIR_COMPANIONS)[number];

/** Archives by file name, with their identity. */
export type ArchiveLookup = Pick<ReadonlyMap<string, string>, 'get' | 'has'>;

/** What a subdir of the mirror holds, for its metadata files to be made to fit. */
export interface SubdirContents {
  readonly subdir: string;
  /** Whether the published repodata has the source's bytes. */
  readonly unchanged: boolean;
  /** Archives that the published repodata lists: file name to identity, such as `sha256:…`. */
  readonly listed: ArchiveLookup;
  /** Archives that are there and not listed: file name to identity. */
  readonly kept: ArchiveLookup;
}

/**
 * Fits one file to what the mirror holds.
 * @returns the text to publish; `undefined` where the source's own bytes fit
 * @throws FerryError `REPODATA_INVALID` for what is malformed
 */
export async function fitCompanion(
  file: SubdirCompanion,
  bytes: Uint8Array,
  contents: SubdirContents,
): Promise<Uint8Array | undefined> {
  const { listed, kept, unchanged, subdir } = contents;
  const isStored = (filename: string): boolean => listed.has(filename) || kept.has(filename);
  switch (file) {
    case 'run_exports.json':
      // CEP 12 asks for all of the unpatched repodata: what was taken off the list since then is in it.
      return filterJson(bytes, unchanged ? {} : { objects: sectionsBy(isStored) });
    case 'patch_instructions.json':
      return filterJson(bytes, unchanged ? {} : patchFilter(isStored));
    case 'current_repodata.json':
      return fitListing(bytes, subdir, (filename) => listed.get(filename));
    case 'repodata_from_packages.json':
      // What was taken off the list is in it, and is there as long as the mirror keeps it.
      return fitListing(bytes, subdir, (filename) => listed.get(filename) ?? kept.get(filename));
  }
}

function sectionsBy(keep: (filename: string) => boolean): Record<string, (filename: string) => boolean> {
  return { packages: keep, 'packages.conda': keep };
}

/** An entry for a `.tar.bz2` is one for its `.conda` too. @see CEP 21, and what conda-index does */
function patchFilter(isStored: (filename: string) => boolean) {
  const isPatched = (filename: string): boolean => {
    if (isStored(filename)) return true;
    if (!isArchiveFilename(filename)) return false;
    const archive = parseArchiveFilename(filename);
    return (
      archive.extension === 'tar.bz2' && isStored(formatArchiveFilename({ ...archive, extension: 'conda' }))
    );
  };
  return { objects: sectionsBy(isPatched), lists: { remove: isPatched, revoke: isPatched } };
}

/** A listing promises what the repodata does: whatever it lists is there, with these bytes. */
async function fitListing(
  bytes: Uint8Array,
  subdir: string,
  identityOf: (filename: string) => string | undefined,
): Promise<Uint8Array | undefined> {
  // An empty repodata is one without packages, but no JSON layer.
  if (bytes.byteLength === 0) checkJson(bytes);
  const listing = await Repodata.read(openerOf(bytes), subdir);
  const keep = new Set<string>();
  for (const read of listing.records()) {
    if ('error' in read) continue;
    const identity = archiveIdentity(read.record);
    if (identity !== undefined && identity === identityOf(read.filename)) keep.add(read.filename);
  }
  if (keep.size === listing.recordCount && listing.neededChanges().length === 0) return undefined;
  const spliced = listing.splice((filename) => keep.has(filename));
  // What is spliced is the source's, less some records, and counts of them.
  return collect(spliced, 2 * bytes.byteLength + 1024, 'what is listed');
}
