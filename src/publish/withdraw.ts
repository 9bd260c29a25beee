import { metadataMediaType, ZSTD_SUFFIX } from '../artifact/media-types.js';
import { findMetadata, LATEST, pushMetadata, readMetadataLayer } from '../artifact/metadata-artifact.js';
import { isFerryError } from '../errors.js';
import type { HeadOptions } from './head.js';
import { Listing } from './listing.js';

/** Other forms of repodata, out of which clients take archives too. */
const FORMS = ['current_repodata.json', 'repodata_from_packages.json'] as const;

/** A file in which records stand besides the repodata itself. */
export type RecordForm = (typeof FORMS)[number];
const MAX_FORM_BYTES = 1024 * 1024 * 1024;
const ZSTD_LEVEL = 3;
/** Against others that change the same form. */
const MAX_ATTEMPTS = 5;

/**
 * Takes archives out of the other forms of a subdir's repodata; `index` makes them anew.
 * @param forms which ones. @defaultValue all
 * @throws FerryError `TAG_MOVED`, `REPODATA_INVALID`
 */
export async function withdrawFromForms(
  subdir: string,
  filenames: readonly string[],
  options: HeadOptions,
  forms: readonly RecordForm[] = FORMS,
): Promise<void> {
  for (const file of forms) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await withdrawFrom(file, subdir, filenames, options);
        break;
      } catch (error) {
        // Somebody else took something out of it.
        if (!isFerryError(error, 'TAG_MOVED') || attempt === MAX_ATTEMPTS) throw error;
      }
    }
  }
}

async function withdrawFrom(
  file: RecordForm,
  subdir: string,
  filenames: readonly string[],
  { store, workers, signal }: HeadOptions,
): Promise<void> {
  const found = await findMetadata(store, subdir, file, { signal });
  if (found === undefined) return;
  const mediaType = metadataMediaType(file);
  const text = await readMetadataLayer(found, mediaType, MAX_FORM_BYTES, { signal });
  const listing = Listing.parse(text, subdir).edit();
  if (!filenames.some((filename) => listing.has(filename))) return;
  for (const filename of filenames) listing.delete(filename);
  const bytes = listing.write();
  const zst = await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal);
  const layers = [
    { mediaType, title: file, bytes },
    { mediaType: mediaType + ZSTD_SUFFIX, title: `${file}.zst`, bytes: zst },
  ];
  await pushMetadata(store, subdir, file, layers, { tags: [LATEST], looksBeforeMove: true, signal });
}
