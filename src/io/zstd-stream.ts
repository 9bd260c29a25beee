import { collect, openerOf, type Bytes, type OpenBytes } from './bytes.js';
import { compressZstd, decompressZstd } from './zstd.js';
export async function* decompressInWorker(open: OpenBytes, o: { maxBytes: number; what: string; signal?: AbortSignal | undefined }): Bytes {
  yield* openerOf(await decompressZstd(await collect(open(), 1e10, 'x'), o.maxBytes, o.what))();
}
export async function* compressInWorker(open: OpenBytes, o: { level: number; size: number; signal?: AbortSignal | undefined }): Bytes {
  yield* openerOf(await compressZstd(await collect(open(), 1e10, 'x'), o.level))();
}
