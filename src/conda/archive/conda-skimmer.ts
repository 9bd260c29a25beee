import type { ArchiveHole } from './archive-file.js';

/** What is kept of one archive at most. Zips of real packages have some kilobytes beside their payload, rarely a megabyte. */
const MAX_KEPT_BYTES = 8 * 1024 * 1024;
/** Whoever reads a zip begins with this much of its end. */
const TAIL_BYTES = 128 * 1024;
const HEADER_BYTES = 30;
const HEADER_SIGNATURE = 0x04034b50;
/** Bit 3 of the flags: the sizes follow the content. @see APPNOTE.TXT 4.4.4 */
const DATA_DESCRIPTOR_FLAG = 8;
/** A 32-bit size that stands in the ZIP64 extra field instead. @see APPNOTE.TXT 4.5.3 */
const IN_ZIP64 = 0xffffffff;
const ZIP64_ID = 1;

/** All of a `.conda` but the content of its payload. */
export interface SkimmedConda {
  readonly bytes: Uint8Array;
  readonly hole: ArchiveHole;
}

/**
 * Keeps of a `.conda` that passes by everything but the content of its payload, the `pkg-….tar.zst`, which is nearly all of
 * it. Where the payload is, its local header tells; whether that is true, the reader of the zip's directory finds out,
 * since there is nothing to be read in the hole.
 */
export class CondaSkimmer {
  readonly #size: number;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  /** Bytes seen. */
  #position = 0;
  /** Of the next local header. */
  #header = 0;
  #hole: ArchiveHole | undefined;
  #isGivenUp = false;

  /** @param size of the archive, in bytes */
  constructor(size: number) {
    this.#size = size;
  }

  /** Takes the next piece of the archive, which must stay as it is for the moment only. */
  take(chunk: Uint8Array): void {
    let rest = chunk;
    while (rest.byteLength > 0 && !this.#isGivenUp) {
      const inHole = this.#hole === undefined ? 0 : this.#hole.start + this.#hole.size - this.#position;
      if (this.#hole !== undefined && this.#position >= this.#hole.start && inHole > 0) {
        const skipped = Math.min(inHole, rest.byteLength);
        this.#position += skipped;
        rest = rest.subarray(skipped);
      } else {
        // Until the hole is known all is kept, so that headers may lie across pieces; what of it is in the hole is cut off.
        this.#keep(rest);
        this.#position += rest.byteLength;
        if (this.#hole !== undefined) return;
        rest = this.#findHole();
      }
    }
  }

  /** What was kept; `undefined` where it is too much, or where the payload could not be told. Call at the end. */
  finish(): SkimmedConda | undefined {
    if (this.#isGivenUp || this.#hole === undefined) return undefined;
    return { bytes: Buffer.concat(this.#kept), hole: this.#hole };
  }

  #keep(bytes: Uint8Array): void {
    this.#keptBytes += bytes.byteLength;
    if (this.#keptBytes > MAX_KEPT_BYTES) this.#giveUp();
    // Copied, for the piece is part of a larger one, which would stay in memory with it.
    else this.#kept.push(new Uint8Array(bytes));
  }

  #giveUp(): void {
    this.#isGivenUp = true;
    this.#kept = [];
  }

  /** Follows the headers in what is kept up to the payload's, and returns what was kept of its content too much. */
  #findHole(): Uint8Array {
    const nothing = new Uint8Array(0);
    while (!this.#isGivenUp && this.#position >= this.#header + HEADER_BYTES) {
      const all = this.#joined();
      const entry = readLocalHeader(all, this.#header);
      if (entry === 'cut') return nothing;
      this.#header = entry === undefined ? 0 : entry.start + entry.size;
      const holeBytes = Math.min(this.#header, this.#size - TAIL_BYTES) - (entry?.start ?? 0);
      if (entry === undefined || (entry.isPayload && holeBytes <= 0)) this.#giveUp();
      else if (entry.isPayload) return this.#beginHole(all, { start: entry.start, size: holeBytes });
    }
    return nothing;
  }

  #beginHole(all: Uint8Array, hole: ArchiveHole): Uint8Array {
    this.#hole = hole;
    this.#kept = [all.subarray(0, hole.start)];
    this.#keptBytes = hole.start;
    this.#position = hole.start;
    return all.subarray(hole.start);
  }

  #joined(): Buffer {
    const all = Buffer.concat(this.#kept);
    this.#kept = [all];
    return all;
  }
}

interface LocalEntry {
  readonly isPayload: boolean;
  /** Of its content. */
  readonly start: number;
  readonly size: number;
}

/** Reads a local header; `cut` where more is needed, `undefined` where it is none or does not tell the size. */
function readLocalHeader(bytes: Buffer, at: number): LocalEntry | 'cut' | undefined {
  if (bytes.readUInt32LE(at) !== HEADER_SIGNATURE) return undefined;
  if ((bytes.readUInt16LE(at + 6) & DATA_DESCRIPTOR_FLAG) !== 0) return undefined;
  const nameEnd = at + HEADER_BYTES + bytes.readUInt16LE(at + 26);
  const start = nameEnd + bytes.readUInt16LE(at + 28);
  if (start > bytes.byteLength) return 'cut';
  const short = bytes.readUInt32LE(at + 18);
  const size = short === IN_ZIP64 ? zip64Size(bytes.subarray(nameEnd, start)) : short;
  if (size === undefined) return undefined;
  const name = bytes.toString('utf8', at + HEADER_BYTES, nameEnd);
  return { isPayload: /^pkg-.+\.tar\.zst$/s.test(name), start, size };
}

/** The second of the two sizes in a ZIP64 extra field, which in a local header are both there. */
function zip64Size(extra: Buffer): number | undefined {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === ZIP64_ID && end >= at + 20 && end <= extra.byteLength) {
      const size = extra.readBigUInt64LE(at + 12);
      return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : undefined;
    }
    at = end;
  }
  return undefined;
}
