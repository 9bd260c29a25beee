import { metadataMediaType, ZSTD_SUFFIX } from '../artifact/media-types.js';
import { findMetadata, LATEST, pushMetadata, readMetadataLayer } from '../artifact/metadata-artifact.js';
import type { HeadOptions } from './head.js';
import { Listing } from './listing.js';

/** Other forms of repodata, out of which clients take archives too. */
const FORMS = ['current_repodata.json', 'repodata_from_packages.json'] as const;

/** A file in which records stand besides the repodata itself. */
export type RecordForm = (typeof FORMS)[number];
const MAX_FORM_BYTES = 1024 * 1024 * 1024;
const ZSTD_LEVEL = 3;

/**
 * Takes archives out of the other forms of a subdir's repodata; `index` makes them anew.
 * @param forms which ones. @defaultValue all
 * @throws FerryError `TAG_MOVED`, `REPODATA_INVALID`
 */
export async function withdrawFromForms(
  subdir: string,
  filenames: readonly string[],
  { store, workers, signal }: HeadOptions,
  forms: readonly RecordForm[] = FORMS,
): Promise<void> {
  for (const file of forms) {
    const found = await findMetadata(store, subdir, file, { signal });
    if (found === undefined) continue;
    const mediaType = metadataMediaType(file);
    const text = await readMetadataLayer(found, mediaType, MAX_FORM_BYTES, { signal });
    const listing = Listing.parse(text, subdir).edit();
    if (!filenames.some((filename) => listing.has(filename))) continue;
    for (const filename of filenames) listing.delete(filename);
    const bytes = listing.write();
    const zst = await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal);
    const layers = [
      { mediaType, title: file, bytes },
      { mediaType: mediaType + ZSTD_SUFFIX, title: `${file}.zst`, bytes: zst },
    ];
    await pushMetadata(store, subdir, file, layers, { tags: [LATEST], looksBeforeMove: true, signal });
  }
}
