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

function gzip(bytes: Uint8Array): Uint8Array {
  const chunks: Uint8Array[] = [];
  const stream = new Gzip({ level: GZIP_LEVEL, mtime: 0 }, (chunk) => chunks.push(chunk));
  for (let start = 0; start < bytes.byteLength; start += GZIP_CHUNK_BYTES) {
    const end = Math.min(start + GZIP_CHUNK_BYTES, bytes.byteLength);
    stream.push(bytes.subarray(start, end), end === bytes.byteLength);
  }
  return concatBytes(chunks);
}
