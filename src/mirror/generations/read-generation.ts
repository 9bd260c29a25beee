import type { ChannelStore } from '../../artifact/channel-store.js';
import { REPODATA, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import {
  findMetadata,
  LATEST,
  readMetadataLayer,
  type FoundMetadata,
} from '../../artifact/metadata-artifact.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { Repodata } from '../../conda/repodata/repodata.js';
import { isSidecarDigest } from '../../conda/sidecar.js';
import { FerryError } from '../../errors.js';
import { openerOf, type OpenBytes } from '../../io/bytes.js';
import type { Digest } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { MAX_REPODATA_BYTES } from '../snapshot.js';

/** The manifest of a generation, nothing of its content read. */
export interface FoundGeneration {
  readonly digest: Digest;
  readonly descriptor: Descriptor;
  /** Of all its layers together. */
  readonly bytes: number;
  /** Reads its repodata. */
  readonly read: () => Promise<Repodata>;
}

/** What {@link findGeneration} works with. */
export interface ReadGenerationOptions {
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds the repodata of a subdir by tag or digest; `undefined` where there is none.
 * @throws FerryError `MANIFEST_INVALID`; of its `read` also `REPODATA_INVALID`
 */
export async function findGeneration(
  store: ChannelStore,
  subdir: string,
  reference: string,
  options: ReadGenerationOptions,
): Promise<FoundGeneration | undefined> {
  const { signal } = options;
  const found = await findMetadata(store, subdir, 'repodata.json', {
    signal,
    // Then what `latest` names is remembered.
    reference: reference === LATEST ? undefined : reference,
  });
  if (found === undefined) return undefined;
  return {
    digest: found.descriptor.digest,
    descriptor: found.descriptor,
    bytes: found.layers.reduce((total, { size }) => total + size, 0),
    read: async () => Repodata.read(await openText(found, options), subdir, { signal }),
  };
}

/** Finds the repodata of a subdir that is in force. @throws FerryError `CHANNEL_NOT_FOUND`; as {@link findGeneration} */
export async function findLatest(
  store: ChannelStore,
  subdir: string,
  options: ReadGenerationOptions,
): Promise<FoundGeneration> {
  const found = await findGeneration(store, subdir, LATEST, options);
  if (found !== undefined) return found;
  throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata of \`${subdir}\` at \`${store.location}\``);
}

/** The compressed form is held in memory, the text is not. */
async function openText(
  found: FoundMetadata,
  { workers, signal }: ReadGenerationOptions,
): Promise<OpenBytes> {
  const zst = REPODATA + ZSTD_SUFFIX;
  const isCompressed = found.layers.some((layer) => layer.mediaType === zst);
  const layer = isCompressed ? zst : REPODATA;
  const bytes = await readMetadataLayer(found, layer, MAX_REPODATA_BYTES, { signal });
  const what = `\`${found.repository.name}\``;
  const open = openerOf(bytes);
  return isCompressed ? workers.decompressing(open, { maxBytes: MAX_REPODATA_BYTES, what }) : open;
}

/** Digests of the attestation sidecars that records name, in lower-case hex: the tags of their artifacts. */
export function sidecarsOf(repodata: Repodata): ReadonlySet<string> {
  return new Set(Array.from(repodata.attestations(), ({ sha256 }) => sha256).filter(isSidecarDigest));
}
