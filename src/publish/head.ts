/** The head of a published subdir: what `latest` of its repodata names, as listing and mark, and how a new one is written. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ChannelStore } from '../artifact/channel-store.js';
import { REPODATA, ZSTD_SUFFIX } from '../artifact/media-types.js';
import { mergeMarkAnnotation, NOTHING_MERGED, readMergeMark } from '../artifact/merge-mark.js';
import {
  findMetadata,
  LATEST,
  pushMetadata,
  readMetadataLayer,
  type FoundMetadata,
  type MetadataLayer,
} from '../artifact/metadata-artifact.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { Digest } from '../io/digest.js';
import type { CallOptions } from '../oci/storage.js';
import { Listing } from './listing.js';
import type { MergedState } from './merge.js';

/** Far above the largest there is (linux-64 of conda-forge: some 600 MB). */
const MAX_REPODATA_BYTES = 3 * 1024 * 1024 * 1024;
/** A registry on a disk cannot read a tag for a moment while it is moved, and says that there is none. */
const ABSENCE_PAUSES_MS = [20, 80];
/** For what the next push replaces. */
const ZSTD_LEVEL = 3;
/** What conda-oci-mirror uses; a generation is compressed once and read very often. */
const GENERATION_ZSTD_LEVEL = 15;

/** What `latest` of a subdir's repodata names. */
export interface Head extends MergedState {
  /** Of the manifest; `undefined` where nothing was ever published. */
  readonly digest: Digest | undefined;
  /** Of the plain text as it was read. */
  readonly hasPlain: boolean;
}

/** What heads are read and written with. */
export interface HeadOptions extends CallOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  /** For tests: waits so many milliseconds. @defaultValue a timer */
  readonly sleep?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined;
}

/** Waits so many milliseconds. @throws the signal's reason */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await delay(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  });
}

/**
 * Reads the head of a subdir.
 * @param known one that was read before: where `latest` still names it, nothing else is read
 * @throws FerryError `REPODATA_INVALID`, `MANIFEST_INVALID`
 */
export async function readHead(subdir: string, options: HeadOptions, known?: Head): Promise<Head> {
  const { workers, signal } = options;
  const found = await findLatest(subdir, options);
  if (found === undefined) {
    return { listing: Listing.empty(subdir), mark: NOTHING_MERGED, digest: undefined, hasPlain: true };
  }
  const { digest } = found.descriptor;
  if (known?.digest === digest) return known;
  const text = await readText(found, workers, signal);
  const hasPlain = found.layers.some(({ mediaType }) => mediaType === REPODATA);
  return { listing: Listing.parse(text, subdir), mark: readMergeMark(found.annotations), digest, hasPlain };
}

/** Absence is believed the third time: to take it for granted would publish the log alone, without what was compacted. */
async function findLatest(
  subdir: string,
  { store, signal, sleep = pause }: HeadOptions,
): Promise<FoundMetadata | undefined> {
  for (const ms of ABSENCE_PAUSES_MS) {
    const found = await findMetadata(store, subdir, 'repodata.json', { signal });
    if (found !== undefined) return found;
    await sleep(ms, signal);
  }
  return findMetadata(store, subdir, 'repodata.json', { signal });
}

async function readText(
  found: FoundMetadata,
  workers: WorkerPool,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const zst = REPODATA + ZSTD_SUFFIX;
  const isCompressed = found.layers.some(({ mediaType }) => mediaType === zst);
  const bytes = await readMetadataLayer(found, isCompressed ? zst : REPODATA, MAX_REPODATA_BYTES, { signal });
  if (!isCompressed) return bytes;
  const what = `\`${found.repository.name}\``;
  return workers.run('decompress', { bytes, maxBytes: MAX_REPODATA_BYTES, what }, signal);
}

/** Options of {@link writeHead}. */
export interface WriteHeadOptions extends HeadOptions {
  /** Whether the uncompressed form is written too. */
  readonly plain: boolean;
  /** History tag that the state gets besides, so that it can be gone back to. @defaultValue none */
  readonly historyTag?: string | undefined;
}

/**
 * Makes a state what `latest` names.
 * @throws FerryError `TAG_MOVED` where somebody else has moved it since it was read
 */
export async function writeHead(
  subdir: string,
  { listing, mark }: MergedState,
  options: WriteHeadOptions,
): Promise<Head> {
  const { store, workers, signal, plain, historyTag } = options;
  const bytes = listing.write();
  const level = historyTag === undefined ? ZSTD_LEVEL : GENERATION_ZSTD_LEVEL;
  const zst: MetadataLayer = {
    mediaType: REPODATA + ZSTD_SUFFIX,
    title: 'repodata.json.zst',
    bytes: await workers.run('compress', { bytes, level }, signal),
  };
  const layers = plain ? [{ mediaType: REPODATA, title: 'repodata.json', bytes }, zst] : [zst];
  const { digest } = await pushMetadata(store, subdir, 'repodata.json', layers, {
    tags: historyTag === undefined ? [LATEST] : [historyTag, LATEST],
    annotations: mergeMarkAnnotation(mark),
    looksBeforeMove: true,
    signal,
  });
  return { listing, mark, digest, hasPlain: plain };
}
