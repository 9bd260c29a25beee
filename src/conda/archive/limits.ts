import { FerryError } from '../../errors.js';

/**
 * How much an archive may ask of the reader. Archives come from strangers: every number here is far above what real
 * packages need, and low enough that a hostile one costs seconds and some hundred megabytes, not the machine.
 */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Bytes of all files in `info/` together: they are held in memory. The largest real ones (licences, tests) are ~50 MiB. */
export const MAX_INFO_BYTES = 256 * MIB;

/** Members in `info/`, replaced ones counted too. Real packages have some hundred; recipes with test data some thousand. */
export const MAX_INFO_MEMBERS = 100_000;

/** The unpacked info tarball of a `.conda`: the files, and room for headers and padding of small members. */
export const MAX_INFO_TAR_BYTES = 2 * MAX_INFO_BYTES;

/** `info/index.json`. Real ones have some kilobytes, and it becomes a blob of its own that clients read whole. */
export const MAX_INDEX_JSON_BYTES = 4 * MIB;

/** `metadata.json` of a `.conda`, which holds one number. */
export const MAX_METADATA_JSON_BYTES = 64 * KIB;

/** `info/paths.json`. Some 250 bytes describe a file, and the largest real packages have 100,000. */
export const MAX_PATHS_JSON_BYTES = 128 * MIB;

/** Any other file of `info/` that is parsed. */
export const MAX_INFO_JSON_BYTES = 4 * MIB;

/** Members outside of `info/`, where all are remembered. */
export const MAX_PAYLOAD_MEMBERS = 500_000;

/** Bytes of their paths and link targets together. */
export const MAX_PAYLOAD_PATH_BYTES = 64 * MIB;

/** A member's path or a link's target, in bytes. The systems that conda runs on open nothing longer (`PATH_MAX`). */
export const MAX_PATH_BYTES = 4096;

/** Folders in a member's path. Bounds the work per member. */
export const MAX_PATH_DEPTH = 128;

/** Entries in the zip of a `.conda`. Three are needed. */
export const MAX_ZIP_ENTRIES = 1000;

/** Links followed one after another before they count as a loop, as on Linux. */
export const MAX_LINK_HOPS = 40;

/** Path components looked at while resolving all symlinks of one archive. A link needs about ten. */
export const MAX_LINK_STEPS = 5_000_000;

/** Window of a zstd frame; `zstd --ultra -22` uses 2^27 bytes, `--long=31` would make the reader hold 2 GiB. */
export const MAX_ZSTD_WINDOW_BYTES = 128 * MIB;

/** How far bytes may expand: beyond `freeBytes`, at most `ratio` times the packed size. */
export interface ExpansionLimit {
  readonly freeBytes: number;
  readonly ratio: number;
  /** Not more than this, whatever the packed size. */
  readonly maxBytes?: number;
}

/** The info tarball of a `.conda`: small, and text rarely shrinks more than twentyfold. */
export const INFO_EXPANSION: ExpansionLimit = {
  freeBytes: 8 * MIB,
  ratio: 1000,
  maxBytes: MAX_INFO_TAR_BYTES,
};

/** A whole `.tar.bz2`: payloads of mostly zeros exist, so the ratio counts only beyond a size that costs seconds. */
export const TAR_BZ2_EXPANSION: ExpansionLimit = { freeBytes: 256 * MIB, ratio: 1000 };

/** The pkg tarball of a `.conda`, by the same reason. */
export const PKG_EXPANSION: ExpansionLimit = { ...TAR_BZ2_EXPANSION };

/** The error for what goes beyond a limit. `what` names it and the limit. */
export function limitExceeded(what: string): FerryError {
  return new FerryError('ARCHIVE_LIMIT_EXCEEDED', what);
}

/**
 * Passes unpacked bytes on as long as they keep to `limit`.
 * @throws FerryError `ARCHIVE_LIMIT_EXCEEDED`
 */
export async function* limitExpansion(
  unpacked: AsyncIterable<Uint8Array>,
  packedBytes: number,
  limit: ExpansionLimit,
  what: string,
): AsyncGenerator<Uint8Array, void> {
  const allowed = Math.min(Math.max(limit.freeBytes, limit.ratio * packedBytes), limit.maxBytes ?? Infinity);
  let size = 0;
  for await (const chunk of unpacked) {
    size += chunk.byteLength;
    if (size > allowed)
      throw limitExceeded(
        `${what} (${String(packedBytes)} bytes) unpacks to more than ${String(allowed)} bytes`,
      );
    yield chunk;
  }
}
