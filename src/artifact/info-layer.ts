import { Gzip } from 'fflate';
import type { InfoMember } from '../conda/archive/read-info.js';
import { concatBytes } from '../io/bytes.js';
import { writeUstar } from './ustar.js';

/** fflate's streaming output depends on where its input is cut, so the cuts are part of the format. */
const GZIP_CHUNK_BYTES = 64 * 1024;
const GZIP_LEVEL = 6;
/** Systems differ in what they record for a link; it means nothing. */
const SYMLINK_MODE = 0o755;

/**
 * Writes the info layer: a tar of `info/` without that prefix, gzipped. The bytes depend on the members alone: no
 * clock, no owner and no library of the system goes in.
 * @param members sorted by the bytes of their paths, as `readInfo` returns them
 */
export function writeInfoLayer(members: readonly InfoMember[]): Uint8Array {
  return gzip(
    writeUstar(
      members.map((member) => (member.type === 'file' ? member : { ...member, mode: SYMLINK_MODE })),
    ),
  );
}

/**
 * Tables that fflate would make for each stream, which costs more than to compress what most packages have: the last
 * place of each hash, and the place before each place. Empty they are full of zeros.
 */
const tables = { h: new Uint16Array(1 << 18), p: new Uint16Array(1 << 15) };

/** What a stream of fflate, which is pinned exactly, keeps to itself. */
interface GzipState {
  readonly s?: { h?: Uint16Array; p?: Uint16Array };
}

function gzip(bytes: Uint8Array): Uint8Array {
  const chunks: Uint8Array[] = [];
  const stream = new Gzip({ level: GZIP_LEVEL, mtime: 0 }, (chunk) => chunks.push(chunk));
  const { s: state } = stream as unknown as GzipState;
  // With one chunk the size of the table is known, and nobody else gets a turn before it is done.
  if (bytes.byteLength <= GZIP_CHUNK_BYTES && state !== undefined) {
    tables.h.fill(0);
    tables.p.fill(0);
    Object.assign(state, tables);
  }
  for (let start = 0; start < bytes.byteLength; start += GZIP_CHUNK_BYTES) {
    const end = Math.min(start + GZIP_CHUNK_BYTES, bytes.byteLength);
    stream.push(bytes.subarray(start, end), end === bytes.byteLength);
  }
  return concatBytes(chunks);
}
