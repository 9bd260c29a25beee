import type { ChannelStore } from '../../artifact/channel-store.js';
import { REPODATA, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import { findMetadata, readMetadataLayer, type FoundMetadata } from '../../artifact/metadata-artifact.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { Repodata } from '../../conda/repodata.js';
import type { Digest } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';

/** As for the repodata of a source. */
const MAX_REPODATA_BYTES = 1024 * 1024 * 1024;

/** Such as `"attestations_sha256": "4e38…"`, at the start of the text. */
const SIDECAR_PATTERN = /^"attestations_sha256"\s*:\s*"([0-9a-f]{64})"/;
const SIDECAR_KEY = '"attestations_sha256"';
/** Key, digest, and a few blanks. */
const SIDECAR_WINDOW = 128;

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
    reference: reference === 'latest' ? undefined : reference,
  });
  if (found === undefined) return undefined;
  return {
    digest: found.descriptor.digest,
    descriptor: found.descriptor,
    bytes: found.layers.reduce((total, { size }) => total + size, 0),
    read: async () => new Repodata(await readBytes(found, options), subdir),
  };
}

async function readBytes(found: FoundMetadata, options: ReadGenerationOptions): Promise<Uint8Array> {
  const zst = REPODATA + ZSTD_SUFFIX;
  const isCompressed = found.layers.some((layer) => layer.mediaType === zst);
  const bytes = await readMetadataLayer(found, isCompressed ? zst : REPODATA, MAX_REPODATA_BYTES, options);
  if (!isCompressed) return bytes;
  const what = `\`${found.repository.name}\``;
  return options.workers.run('decompress', { bytes, maxBytes: MAX_REPODATA_BYTES, what }, options.signal);
}

/** Digests of the attestation sidecars that records name, in lower-case hex: the tags of their artifacts. */
export function sidecarsOf({ bytes }: Pick<Repodata, 'bytes'>): ReadonlySet<string> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Set<string>();
  for (let at = text.indexOf(SIDECAR_KEY); at !== -1; at = text.indexOf(SIDECAR_KEY, at + 1)) {
    const sha256 = SIDECAR_PATTERN.exec(text.toString('latin1', at, at + SIDECAR_WINDOW))?.[1];
    if (sha256 !== undefined) found.add(sha256);
  }
  return found;
}
