import { extract, type Extract } from 'tar-stream';
import { setImmediate } from 'node:timers/promises';
import { FerryError } from '../../errors.js';
import { concatBytes } from '../../io/bytes.js';
import { limitExceeded } from './limits.js';
import {
  BLOCK_BYTES,
  checkExtensions,
  inBlocks,
  isZeroBlock,
  MAX_EXTENSION_BYTES,
  paddedSize,
} from './tar-blocks.js';
import { describeMember, type TarMember, type TarStreamHeader } from './tar-member.js';

export type { TarMember } from './tar-member.js';

/** Takes a member's content. Chunks are valid during the call only. */
export interface TarMemberSink {
  write(chunk: Uint8Array): void;
  end(): void;
}

/**
 * Every write is then followed by `drain`; and names come as bytes, to be decoded here, so that those which are not
 * UTF-8 can be told.
 */
const EXTRACT_OPTIONS = { highWaterMark: 1, allowUnknownFormat: true, filenameEncoding: 'latin1' };

/**
 * Reads a tar (v7, ustar, pax, GNU) to the end of its source. `visit` is called for each member in order, and returns
 * where its content goes, or nothing to pass over it; what it throws ends the reading. As every extractor does, takes
 * the first block of zeros in a header's place for the end: what follows is read but not looked at. The end may also
 * be missing. Chunks of `source` must stay as they are until the end.
 * @throws FerryError `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`
 * @see POSIX.1-2024, pax, "ustar Interchange Format"
 */
export async function readTar(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  visit: (member: TarMember) => TarMemberSink | undefined,
): Promise<void> {
  const reader = new TarReader(visit);
  try {
    for await (const chunk of inBlocks(source)) await reader.write(chunk);
    reader.end();
  } catch (error) {
    // Only then may something still come; and destroying makes an error with a stack, which takes its time.
    reader.close();
    throw error;
  }
}

class TarReader {
  readonly #visit: (member: TarMember) => TarMemberSink | undefined;
  readonly #extract: Extract;
  /** Bytes given so far. */
  #position = 0;
  /** The blocks being given, which begin at {@link #position}. */
  #chunk: Uint8Array = new Uint8Array(0);
  /** Where the next header has to be. */
  #nextHeader = 0;
  /** Chunks given before, from the next header on. */
  #headers: Uint8Array[] = [];
  #headerBytes = 0;
  /** How often tar-stream said that it is done with a write. */
  #drains = 0;
  /** The last member, for messages. */
  #lastName: string | undefined;
  #ended = false;
  /** What `visit` or a sink threw. */
  #refusal: { readonly error: unknown } | undefined;
  /** What tar-stream made of a header. */
  #fault: unknown;

  constructor(visit: (member: TarMember) => TarMemberSink | undefined) {
    this.#visit = visit;
    this.#extract = extract(EXTRACT_OPTIONS);
    this.#extract.on('entry', (header, stream, next) => {
      if (this.#endsHere()) {
        this.#extract.destroy();
        return;
      }
      let sink: TarMemberSink | undefined;
      const end = (): void => {
        this.#attempt(() => sink?.end());
        next();
      };
      this.#attempt(() => {
        sink = this.#begin(header as TarStreamHeader);
      });
      if (header.type === 'directory') {
        // Whatever size it declares, no content follows; tar-stream would wait for it for ever.
        queueMicrotask(end);
        return;
      }
      stream.on('end', end);
      if (sink === undefined) stream.resume();
      else {
        stream.on('data', (data) => {
          this.#attempt(() => sink?.write(data as Uint8Array));
        });
      }
    });
    this.#extract.on('drain', () => this.#drains++);
    this.#extract.on('error', (error: unknown) => (this.#fault ??= error));
  }

  /** Gives whole blocks; the last chunk may have less. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#ended) return;
    this.#chunk = chunk;
    const drains = this.#drains;
    this.#extract.write(chunk);
    // tar-stream works in microtasks, which are all done by then.
    await setImmediate();
    if (this.#refusal !== undefined) throw this.#refusal.error;
    // Garbage behind the end makes tar-stream fail, which is no fault of the archive.
    if (this.#endsHere()) return;
    // Some sizes that are no numbers make it wait for ever instead.
    if (this.#fault !== undefined || this.#drains === drains) {
      const place = `the header at or after byte ${String(this.#nextHeader)}`;
      throw new FerryError('ARCHIVE_CORRUPT', `${place} of the tar is wrong`, { cause: this.#fault });
    }
    this.#position += chunk.byteLength;
    if (this.#position > this.#nextHeader) this.#keepHeaders(chunk);
  }

  end(): void {
    if (this.#ended || this.#position === this.#nextHeader) return;
    const place = this.#lastName === undefined ? 'its first header' : `or after member \`${this.#lastName}\``;
    throw new FerryError(
      'ARCHIVE_TRUNCATED',
      `the tar ends at byte ${String(this.#position)}, inside ${place}`,
    );
  }

  close(): void {
    this.#extract.destroy();
  }

  /** Begins a member, and works out where the next header is. */
  #begin(header: TarStreamHeader): TarMemberSink | undefined {
    const member = describeMember(header);
    this.#checkHeaders(member.offset - BLOCK_BYTES);
    this.#headers = [];
    this.#headerBytes = 0;
    this.#nextHeader = member.offset + (header.type === 'directory' ? 0 : paddedSize(member.size));
    this.#lastName = member.name;
    return this.#visit(member);
  }

  /** Checks what is between the last member and the header at `end`, which is in the chunk being given. */
  #checkHeaders(end: number): void {
    const start = this.#nextHeader;
    if (end === start) return;
    const inChunk = this.#chunk.subarray(
      Math.max(0, start - this.#position),
      Math.max(0, end - this.#position),
    );
    checkExtensions(
      this.#headers.length === 0 ? inChunk : concatBytes([...this.#headers, inChunk]),
      start,
      end,
    );
  }

  /** Keeps the chunk's part of headers whose member has not begun yet. */
  #keepHeaders(chunk: Uint8Array): void {
    const kept = chunk.subarray(Math.max(0, this.#nextHeader - this.#position + chunk.byteLength));
    this.#headers.push(kept);
    this.#headerBytes += kept.byteLength;
    if (this.#headerBytes > MAX_EXTENSION_BYTES + chunk.byteLength) {
      throw limitExceeded(
        `the tar has too many headers in front of a member at byte ${String(this.#nextHeader)}`,
      );
    }
  }

  /** Tells whether a block of zeros stands where the next header should, among the blocks being given. */
  #endsHere(): boolean {
    const at = this.#nextHeader - this.#position;
    if (!this.#ended && at >= 0 && at + BLOCK_BYTES <= this.#chunk.byteLength) {
      this.#ended = isZeroBlock(this.#chunk.subarray(at, at + BLOCK_BYTES));
    }
    return this.#ended;
  }

  /** Runs what may throw inside an event of tar-stream; the writer throws it then. */
  #attempt(action: () => void): void {
    if (this.#refusal !== undefined) return;
    try {
      action();
    } catch (error) {
      this.#refusal = { error };
      this.#extract.destroy();
    }
  }
}
