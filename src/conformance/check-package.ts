/** One package artifact: its manifest, its index layer and, where asked for, its info layer and its archive. */
import { INFO_INDEX } from '../artifact/media-types.js';
import type { ChannelStore } from '../artifact/channel-store.js';
import { MAX_INDEX_JSON_BYTES } from '../conda/archive/limits.js';
import { FerryError } from '../errors.js';
import { collect } from '../io/bytes.js';
import type { ImageManifest } from '../oci/manifest.js';
import { IMAGE_INDEX } from '../oci/media-types.js';
import { isReferrersTag } from '../oci/referrers.js';
import type { Repository } from '../oci/storage.js';
import type { CheckContext } from './check-context.js';
import { isContentFault } from './content-fault.js';
import { checkStoredArchives } from './check-stored-archives.js';
import { parseBoundedJson } from './parse-json.js';
import { readManifest } from './read-manifest.js';
import { isJsonObject } from './rules/json-value.js';
import type { IndexReading, ListedArchive, PackageSubject } from './rules/package-artifact.js';
import { checkPackageV0 } from './rules/package-v0.js';
import { checkPackageV1 } from './rules/package-v1.js';

/** Values of an `info/index.json`. */
const MAX_INDEX_VALUES = 100_000;

/** Which artifact to check. */
export interface PackageTarget {
  readonly store: ChannelStore;
  readonly subdir: string;
  /** Repository below the subdir. */
  readonly leaf: string;
  /** Tag or digest. */
  readonly reference: string;
  /** What repodata lists there; `undefined` where no repodata was read. */
  readonly listed: readonly ListedArchive[] | undefined;
}

/** Checks one package artifact by all clauses that apply to it. */
export async function checkPackage(target: PackageTarget, context: CheckContext): Promise<void> {
  const { store, subdir, leaf, reference, listed } = target;
  const { log, options } = context;
  const { signal } = options;
  const repository = store.packageRepository(subdir, { repository: leaf });
  const isDigest = reference.includes(':');
  const where = `${subdir}/${leaf}${isDigest ? '@' : ':'}${reference}`;
  const stored = await repository.fetchManifest(reference, { signal });
  if (stored === undefined) {
    if (listed === undefined) throw new FerryError('NOT_FOUND', `there is no artifact \`${where}\``);
    for (const { filename } of listed) {
      log.report(store.schema.id === 'v1' ? 'v1/N1' : 'v0/D1', {
        where,
        found: `no artifact, where repodata lists \`${filename}\``,
        expected: 'an artifact that holds it',
        hint: 'push the archive, or publish repodata without its record',
      });
    }
    return;
  }
  // The list of a package's referrers stands among its tags where the registry has no API for it.
  if (isReferrersTag(reference) && stored.descriptor.mediaType === IMAGE_INDEX) return;
  context.counts.artifacts += 1;
  const manifest = readManifest(stored, where, store.schema.id, log);
  if (manifest === undefined) return;
  const index = options.index ? await readIndex(repository, manifest, signal) : undefined;
  const subject: PackageSubject = {
    schema: store.schema,
    subdir,
    leaf,
    tag: isDigest ? undefined : reference,
    where,
    manifest,
    index,
    listed,
  };
  if (store.schema.id === 'v1') checkPackageV1(subject, log);
  else checkPackageV0(subject, log);
  if (options.deep) await checkStoredArchives({ ...subject, repository }, context);
}

/** Reads the first index layer; what is wrong with the content is part of the reading. */
async function readIndex(
  repository: Repository,
  manifest: ImageManifest,
  signal: AbortSignal | undefined,
): Promise<IndexReading | undefined> {
  const layer = manifest.layers.find(({ mediaType }) => mediaType === INFO_INDEX);
  if (layer === undefined) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = await collect(repository.fetch(layer, { signal }), MAX_INDEX_JSON_BYTES, 'the index layer');
  } catch (error) {
    if (!isContentFault(error)) throw error;
    return { unreadable: error.message };
  }
  const parsed = parseBoundedJson(bytes, MAX_INDEX_VALUES);
  if (!('value' in parsed)) return { unreadable: parsed.message };
  return isJsonObject(parsed.value) ? { value: parsed.value } : { unreadable: 'no JSON object' };
}
