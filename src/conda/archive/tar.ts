import { extract, type Extract, type Header } from 'tar-stream';
import { FerryError } from '../../errors.js';

/** What a tar says of one member. */
export interface TarMember {
  /** As written, pax and GNU long names applied. */
  readonly name: string;
  readonly type: 'file' | 'link' | 'symlink' | 'directory' | 'other';
  /** Permission bits. */
  readonly mode: number;
  /** Declared bytes of content; nobody promises that they come. */
  readonly size: number;
  /** Target of a link, `''` for others. */
  readonly linkTarget: string;
  /** Of its content in the tar, for messages. */
  readonly offset: number;
}

/** Takes a member's content. Chunks are valid during the call only. */
export interface TarMemberSink {
  write(chunk: Uint8Array): void;
  end(): void;
}

const BLOCK_BYTES = 512;

/** A header as tar-stream 3 really gives it: its types promise too much in some fields and lack others. */
type TarStreamHeader = Omit<Header, 'type' | 'linkname' | 'pax'> & {
  readonly type: string | null;
  readonly linkname: string | null;
  readonly byteOffset: number;
  readonly pax: Readonly<Record<string, string>> | null;
};

/**
 * A write of any size then waits for `drain`; and names come as bytes, to be decoded here, so that those which are not
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
  source: AsyncIterable<Uint8Array>,
  visit: (member: TarMember) => TarMemberSink | undefined,
): Promise<void> {
  const reader = new TarReader(visit);
  try {
    for await (const chunk of inBlocks(source)) await reader.write(chunk);
    reader.end();
  } finally {
    reader.close();
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
    this.#extract.on('error', (error: unknown) => (this.#fault ??= error));
  }

  /** Gives whole blocks; the last chunk may have less. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#ended) return;
    this.#chunk = chunk;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        this.#extract.off('drain', settle);
        this.#extract.off('close', settle);
        resolve();
      };
      this.#extract.on('drain', settle);
      this.#extract.on('close', settle);
      this.#extract.write(chunk);
    });
    if (this.#refusal !== undefined) throw this.#refusal.error;
    // Garbage behind the end makes tar-stream fail, which is no fault of the archive.
    if (this.#endsHere()) return;
    if (this.#fault !== undefined) {
      const place = `the header at or after byte ${String(this.#nextHeader)}`;
      throw new FerryError('ARCHIVE_CORRUPT', `${place} of the tar is wrong`, { cause: this.#fault });
    }
    this.#position += chunk.byteLength;
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
    const hasContent = header.type !== 'directory';
    this.#nextHeader = member.offset + (hasContent ? Math.ceil(member.size / BLOCK_BYTES) * BLOCK_BYTES : 0);
    this.#lastName = member.name;
    return this.#visit(member);
  }

  /** Tells whether a block of zeros stands where the next header should, among the blocks being given. */
  #endsHere(): boolean {
    const at = this.#nextHeader - this.#position;
    if (!this.#ended && at >= 0 && at + BLOCK_BYTES <= this.#chunk.byteLength) {
      this.#ended = this.#chunk.subarray(at, at + BLOCK_BYTES).every((byte) => byte === 0);
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

function describeMember(header: TarStreamHeader): TarMember {
  const name = header.pax?.['path'] ? header.name : decodeName(header.name);
  const target = header.linkname ?? '';
  const { size } = header;
  const type = memberType(header.type, name);
  if ((type === 'link' || type === 'symlink') && size > 0) {
    // Extractors disagree whether content follows, so they would see different members.
    throw new FerryError('ARCHIVE_CORRUPT', `member \`${name}\` is a link and yet has ${String(size)} bytes`);
  }
  return {
    name,
    type,
    mode: header.mode,
    size,
    linkTarget: header.pax?.['linkpath'] ? target : decodeName(target),
    offset: header.byteOffset,
  };
}

function memberType(type: string | null, name: string): TarMember['type'] {
  // v7 has no type for directories.
  if (type === 'file') return name.endsWith('/') ? 'directory' : 'file';
  if (type === 'contiguous-file') return 'file';
  return type === 'link' || type === 'symlink' || type === 'directory' ? type : 'other';
}

/** Bytes to text; those that are not UTF-8 become U+FFFD, which is refused where the name counts. */
function decodeName(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}

/** Cuts chunks so that no block lies in two of them. */
async function* inBlocks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const partial = new Uint8Array(BLOCK_BYTES);
  let held = 0;
  for await (const chunk of source) {
    let rest = chunk;
    if (held > 0) {
      const taken = rest.subarray(0, BLOCK_BYTES - held);
      partial.set(taken, held);
      held += taken.byteLength;
      rest = rest.subarray(taken.byteLength);
      if (held < BLOCK_BYTES) continue;
      // Copied: tar-stream keeps it while a long name is incomplete.
      yield partial.slice();
      held = 0;
    }
    const whole = rest.byteLength - (rest.byteLength % BLOCK_BYTES);
    if (whole > 0) yield rest.subarray(0, whole);
    partial.set(rest.subarray(whole));
    held = rest.byteLength - whole;
  }
  if (held > 0) yield partial.subarray(0, held);
}
