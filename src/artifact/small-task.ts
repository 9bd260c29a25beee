import { readSmallInfo } from '../conda/archive/read-info.js';
import { isFerryError } from '../errors.js';
import { sentFailure } from '../io/port-bytes.js';
import { compressZstd, decompressZstd } from '../io/zstd.js';
import { writeInfoLayer } from './info-layer.js';
import type { PackedInfo, WorkerAnswer, WorkerMessage, WorkerTasks } from './worker.js';

/** An info tarball that unpacks to this is packed in two milliseconds; to a worker and back takes as long as one. */
const MAX_TAR_BYTES = 64 * 1024;
/** Unpacked in as much time. */
const MAX_UNPACKED_BYTES = 4 * 1024 * 1024;
const MAX_PACKED_BYTES = 256 * 1024;
/** Compressed in some ten milliseconds by the highest level in use. */
const MAX_COMPRESSED_HERE_BYTES = 64 * 1024;

/**
 * Does a task on the thread that asks for it, where that is sure to be short; `undefined` where it is not, which takes
 * little to find out. Answers as a worker does.
 */
export async function runSmallTask({ name, input }: WorkerMessage): Promise<WorkerAnswer | undefined> {
  try {
    const output =
      name === 'pack'
        ? await packSmall(input as WorkerTasks['pack']['input'])
        : name === 'decompress'
          ? await decompressSmall(input as WorkerTasks['decompress']['input'])
          : name === 'compress'
            ? await compressSmall(input as WorkerTasks['compress']['input'])
            : undefined;
    return output === undefined ? undefined : { output };
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return { failure: sentFailure(error) };
  }
}

/** A `.tar.bz2` has to be unpacked whole, which takes long. */
async function packSmall({
  archive,
  extension,
}: WorkerTasks['pack']['input']): Promise<PackedInfo | undefined> {
  if (!('bytes' in archive) || extension !== 'conda') return undefined;
  const info = await readSmallInfo(archive, MAX_TAR_BYTES);
  if (info === undefined) return undefined;
  return { indexJson: info.indexJson, infoLayer: writeInfoLayer(info.members), innerStem: info.stem };
}

async function compressSmall({
  bytes,
  level,
}: WorkerTasks['compress']['input']): Promise<Uint8Array | undefined> {
  return bytes.byteLength > MAX_COMPRESSED_HERE_BYTES ? undefined : compressZstd(bytes, level);
}

async function decompressSmall({
  bytes,
  maxBytes,
  what,
}: WorkerTasks['decompress']['input']): Promise<Uint8Array | undefined> {
  if (bytes.byteLength > MAX_PACKED_BYTES) return undefined;
  try {
    return await decompressZstd(bytes, Math.min(maxBytes, MAX_UNPACKED_BYTES), what);
  } catch (error) {
    if (maxBytes > MAX_UNPACKED_BYTES && isFerryError(error, 'SIZE_EXCEEDED')) return undefined;
    throw error;
  }
}
