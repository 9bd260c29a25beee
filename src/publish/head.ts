/** The head of a published subdir: what `latest` of its repodata names, as listing and mark, and how a new one is written. */
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import type { ChannelStore } from '../artifact/channel-store.js';
import { TITLE } from '../artifact/manifest-parts.js';
import { REPODATA, ZSTD_SUFFIX } from '../artifact/media-types.js';
import { mergeMarkAnnotation, NOTHING_MERGED, readMergeMark } from '../artifact/merge-mark.js';
import {
  copyMetadata,
  findMetadata,
  LATEST,
  readMetadataLayer,
  type FoundMetadata,
} from '../artifact/metadata-artifact.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import { collect, openerOf, skipBytes, type Bytes, type OpenBytes } from '../io/bytes.js';
import { createDigestHash, type Digest } from '../io/digest.js';
import { compressZstdStream, decompressZstdStream } from '../io/zstd-stream.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import type { CallOptions, ContentSource } from '../oci/storage.js';
import { Listing } from './listing.js';
import type { MergedState } from './merge.js';

/** Far above the largest there is (linux-64 of conda-forge: some 600 MB). */
const MAX_REPODATA_BYTES = 3 * 1024 * 1024 * 1024;
/** What takes a few milliseconds is done without a thread, which takes longer to start. */
const SMALL_BYTES = 1024 * 1024;
const GROWTH = 4;
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
 * Reads a state of a subdir by the digest of its manifest, or by a tag; `undefined` where it is gone.
 * @throws FerryError `REPODATA_INVALID`, `MANIFEST_INVALID`
 */
export async function readStateAt(
  subdir: string,
  reference: string,
  { store, workers, signal }: HeadOptions,
): Promise<MergedState | undefined> {
  const found = await findMetadata(store, subdir, 'repodata.json', { signal, reference });
  if (found === undefined) return undefined;
  const text = await readText(found, workers, signal);
  return { listing: Listing.parse(text, subdir), mark: readMergeMark(found.annotations) };
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

/** Of a large text there is one copy at any time, as far as possible: what holds it decides what a push takes of memory. */
async function readText(
  found: FoundMetadata,
  workers: WorkerPool,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const plain = found.layers.find(({ mediaType }) => mediaType === REPODATA);
  const zst = found.layers.find(({ mediaType }) => mediaType === REPODATA + ZSTD_SUFFIX);
  if (zst === undefined) return readMetadataLayer(found, REPODATA, MAX_REPODATA_BYTES, { signal });
  const options = { maxBytes: MAX_REPODATA_BYTES, what: `\`${found.repository.name}\`` };
  const open: OpenBytes = (how) => found.repository.fetch(zst, how);
  const text =
    zst.size <= SMALL_BYTES
      ? decompressZstdStream(open({ signal }), options)
      : workers.decompressing(open, options)({ signal });
  return gather(text, plain?.size);
}

/**
 * Collects bytes in a buffer that grows fourfold, so that little is copied and thrown away, or to the size that is expected:
 * that is never more than four times what has come, whoever declared it.
 */
async function gather(source: Bytes, expected = Infinity): Promise<Uint8Array> {
  let buffer = new Uint8Array(SMALL_BYTES);
  let used = 0;
  for await (const chunk of source) {
    const needed = used + chunk.byteLength;
    if (needed > buffer.byteLength) {
      const grown = GROWTH * needed;
      const larger = new Uint8Array(expected >= needed && expected < grown ? expected : grown);
      larger.set(buffer.subarray(0, used));
      buffer = larger;
    }
    buffer.set(chunk, used);
    used = needed;
  }
  return buffer.subarray(0, used);
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
  const level = historyTag === undefined ? ZSTD_LEVEL : GENERATION_ZSTD_LEVEL;
  const text = describeText(listing);
  const { size } = text;
  const compressed =
    size <= SMALL_BYTES
      ? compressZstdStream(openText(listing)(), { level, size })
      : workers.compressing(openText(listing)(), { level, size }, signal);
  const zstBytes = await collect(compressed, MAX_REPODATA_BYTES, 'repodata.json.zst');
  const zst = describe(REPODATA + ZSTD_SUFFIX, zstBytes, { [TITLE]: 'repodata.json.zst' });
  const source: ContentSource = {
    fetch: ({ digest }, open) =>
      digest === text.digest ? openText(listing)(open) : openerOf(zstBytes)(open),
  };
  const layers = plain ? [text, zst] : [zst];
  const { digest } = await copyMetadata(
    store,
    subdir,
    'repodata.json',
    { layers, source },
    {
      tags: historyTag === undefined ? [LATEST] : [historyTag, LATEST],
      annotations: mergeMarkAnnotation(mark),
      looksBeforeMove: true,
      signal,
    },
  );
  return { listing, mark, digest, hasPlain: plain };
}

function describeText(listing: Listing): Descriptor {
  const hash = createDigestHash();
  let size = 0;
  for (const block of listing.blocks()) {
    hash.update(block);
    size += block.byteLength;
  }
  const digest: Digest = `sha256:${hash.digest('hex')}`;
  return { mediaType: REPODATA, digest, size, annotations: { [TITLE]: 'repodata.json' } };
}

function openText(listing: Listing): OpenBytes {
  return ({ offset = 0 } = {}) => skipBytes(blocksOf(listing), offset);
}

async function* blocksOf(listing: Listing): Bytes {
  for (const block of listing.blocks()) {
    yield block;
    // Who takes them may be at once ready for the next one, and the rest of the process wants its turn.
    await turn();
  }
}
