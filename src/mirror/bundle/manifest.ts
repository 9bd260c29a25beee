/**
 * Bundles: image layouts with what a channel has more than an earlier state of it, for networks that only a disk can reach.
 * `bundle.json` beside the subdirs says what the bundle goes on from.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isSubdir } from '../../conda/names.js';
import { FerryError, isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { isDigest, type Digest } from '../../io/digest.js';

/** File name of the manifest, at the root of the layouts. */
const MANIFEST_FILE = 'bundle.json';

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));

const subdirSchema = z.looseObject({
  /** Digest of the repodata, as JSON text, that the bundle goes on from; `null` where there was none. */
  base: digest.nullable(),
  /** Digest of the repodata, as JSON text, that the bundle leads to. */
  repodata: digest.optional(),
  /** Archives in the bundle that the base does not list, with their identities, such as `sha256:…`. */
  add: z.array(z.looseObject({ filename: z.string(), identity: z.string(), size: z.int().optional() })),
  /** Archives of the base that are no longer listed. */
  remove: z.array(z.string()),
});

const manifestSchema = z.looseObject({
  bundle_version: z.literal(1),
  /** Whether all of it is written. */
  complete: z.boolean(),
  /** The channel that it was made of. */
  source: z.string(),
  /** Where the earlier state was read. */
  previous: z.string(),
  /** Schema of the layouts. */
  schema: z.string(),
  subdirs: z.record(z.string().refine(isSubdir), subdirSchema),
});

/** A bundle's manifest. */
export type BundleManifest = z.infer<typeof manifestSchema>;

/** What a bundle says of one subdir. */
export type BundledSubdir = z.infer<typeof subdirSchema>;

/** Reads the manifest of a folder of layouts; `undefined` where that is no bundle. @throws FerryError `BUNDLE_INVALID` */
export async function readBundleManifest(folder: string): Promise<BundleManifest | undefined> {
  const path = join(folder, MANIFEST_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new FerryError('BUNDLE_INVALID', `\`${path}\` cannot be read`, { cause });
  }
}

/** Writes the manifest of a bundle. */
export async function writeBundleManifest(folder: string, manifest: BundleManifest): Promise<void> {
  await writeFileAtomic(
    join(folder, MANIFEST_FILE),
    Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`),
  );
}
