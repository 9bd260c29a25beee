import { fromRandomAccessReaderPromise, RandomAccessReader, type Entry, type ZipFile } from 'yauzl';
import { FerryError } from '../../errors.js';
import type { ArchiveFile } from './archive-file.js';
import { limitExceeded, MAX_ZIP_ENTRIES } from './limits.js';
import { parseMemberPath, shorten } from './member-path.js';

/** Where a stored zip entry's bytes are in the archive. */
export interface ZipEntryRange {
  readonly name: string;
  /** Of the first byte, from 0. */
  readonly start: number;
  readonly size: number;
  /** CRC-32 of the bytes, as the central directory gives it. */
  readonly crc32: number;
}

/** The three entries that make a `.conda`. */
export interface CondaEntries {
  readonly metadata: ZipEntryRange;
  readonly info: ZipEntryRange;
  readonly pkg: ZipEntryRange;
  /** What stands between `info-` and `.tar.zst`: name, version and build string. */
  readonly stem: string;
}

const LOCAL_HEADER_SIGNATURE = Buffer.from('PK\x03\x04', 'latin1');
const END_SIGNATURE = Buffer.from('PK\x05\x06', 'latin1');

const END_RECORD_BYTES = 22;

/** The end record, and the longest comment behind it. */
const END_SEARCH_BYTES = END_RECORD_BYTES + 0xffff;

/** Bits 0, 6 and 13 of the flags: the content, or the directory, is encrypted. @see APPNOTE.TXT 4.4.4 */
const ENCRYPTION_FLAGS = 0x2041;

const TARBALL_PATTERN = /^(info|pkg)-(.+)\.tar\.zst$/s;

/**
 * Finds the entries of a `.conda` through the central directory of its zip, in whatever order they are, with ZIP64 and
 * data descriptors. Further entries at the top level are let be.
 * @throws FerryError `ARCHIVE_EMPTY`, `ARCHIVE_NOT_CONDA`, `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`,
 * `ARCHIVE_ENTRY_COMPRESSED`, `ARCHIVE_ENTRY_UNEXPECTED`, `ARCHIVE_ENTRY_MISSING`, `ARCHIVE_PATH_UNSAFE`,
 * `ARCHIVE_LIMIT_EXCEEDED`
 * @see CEP 35; APPNOTE.TXT 6.3.10
 */
export async function findCondaEntries(file: ArchiveFile, signal?: AbortSignal): Promise<CondaEntries> {
  const zip = await openZip(file);
  try {
    const entries = await readDirectory(zip, signal);
    const metadata = entries.get('metadata.json');
    if (metadata === undefined) throw missing('metadata.json');
    const info = theTarball(entries, 'info');
    const pkg = theTarball(entries, 'pkg');
    if (info.stem !== pkg.stem) {
      const message = `the tarballs are of different packages: \`${shorten(info.name)}\` and \`${shorten(pkg.name)}\``;
      throw new FerryError('ARCHIVE_ENTRY_UNEXPECTED', message);
    }
    return {
      metadata: await locate(zip, file, 'metadata.json', metadata),
      info: await locate(zip, file, info.name, info.entry),
      pkg: await locate(zip, file, pkg.name, pkg.entry),
      stem: info.stem,
    };
  } finally {
    zip.close();
  }
}

async function openZip(file: ArchiveFile): Promise<ZipFile> {
  if (file.size === 0) throw new FerryError('ARCHIVE_EMPTY', 'the archive has no bytes');
  const head = await readAll(file, 0, LOCAL_HEADER_SIGNATURE.byteLength);
  if (!head.equals(LOCAL_HEADER_SIGNATURE.subarray(0, head.byteLength))) {
    throw new FerryError('ARCHIVE_NOT_CONDA', 'the archive is no zip file: it does not begin with `PK`');
  }
  const tail = await readAll(file, Math.max(0, file.size - END_SEARCH_BYTES), file.size);
  if (
    tail.subarray(0, Math.max(0, tail.byteLength - END_RECORD_BYTES + 4)).lastIndexOf(END_SIGNATURE) === -1
  ) {
    throw new FerryError(
      'ARCHIVE_TRUNCATED',
      `the zip ends early, at byte ${String(file.size)}: its directory has no end`,
    );
  }
  // Names stay bytes, or yauzl would refuse some by itself, with a text only.
  const options = { autoClose: false, decodeStrings: false, validateEntrySizes: false };
  return await fromRandomAccessReaderPromise(new ZipReader(file), file.size, options).catch(
    (cause: unknown) => {
      throw corrupt('the end of the zip directory cannot be read', cause);
    },
  );
}

/** Lets yauzl read the archive, which it must not close. */
class ZipReader extends RandomAccessReader {
  readonly #file: ArchiveFile;

  constructor(file: ArchiveFile) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    readAll(this.#file, position, position + length).then(
      (bytes) => {
        callback(null, bytes.copy(buffer, offset));
      },
      (error: unknown) => {
        callback(error as Error);
      },
    );
  }
}

async function readDirectory(zip: ZipFile, signal: AbortSignal | undefined): Promise<Map<string, Entry>> {
  if (zip.entryCount > MAX_ZIP_ENTRIES) {
    throw limitExceeded(
      `the zip has ${String(zip.entryCount)} entries, allowed are ${String(MAX_ZIP_ENTRIES)}`,
    );
  }
  const entries = new Map<string, Entry>();
  const iterator = zip.eachEntry();
  for (;;) {
    signal?.throwIfAborted();
    const next = await iterator.next().catch((cause: unknown) => {
      throw corrupt(`entry ${String(entries.size)} of the zip directory cannot be read`, cause);
    });
    if (next.done === true) return entries;
    const name = next.value.fileNameRaw.toString('utf8');
    checkEntry(name, next.value);
    if (entries.has(name)) throw unexpected(name, 'is in the zip twice');
    entries.set(name, next.value);
  }
}

function checkEntry(name: string, entry: Entry): void {
  const what = `zip entry \`${name}\``;
  parseMemberPath(name, what);
  if (/[/\\]/.test(name)) throw unexpected(name, 'is not at the top level');
  if ((entry.generalPurposeBitFlag & ENCRYPTION_FLAGS) !== 0) {
    throw new FerryError('ARCHIVE_ENTRY_COMPRESSED', `${shorten(what)} is encrypted`);
  }
  if (entry.compressionMethod !== 0) {
    const message = `${shorten(what)} is compressed with method ${String(entry.compressionMethod)}, not stored`;
    throw new FerryError('ARCHIVE_ENTRY_COMPRESSED', message);
  }
  if (entry.compressedSize !== entry.uncompressedSize) {
    const message = `${shorten(what)} is stored and yet has two sizes, ${String(entry.compressedSize)} and ${String(entry.uncompressedSize)}`;
    throw new FerryError('ARCHIVE_CORRUPT', message);
  }
}

function theTarball(
  entries: ReadonlyMap<string, Entry>,
  kind: 'info' | 'pkg',
): { readonly name: string; readonly stem: string; readonly entry: Entry } {
  const found = [];
  for (const [name, entry] of entries) {
    const [, nameKind, stem] = TARBALL_PATTERN.exec(name) ?? [];
    if (nameKind === kind && stem !== undefined) found.push({ name, stem, entry });
  }
  const [first, second] = found;
  if (first === undefined) throw missing(`${kind}-….tar.zst`);
  if (second !== undefined) throw unexpected(second.name, `is a second ${kind} tarball`);
  return first;
}

/** Finds an entry's bytes, which the local header stands before. */
async function locate(zip: ZipFile, file: ArchiveFile, name: string, entry: Entry): Promise<ZipEntryRange> {
  const what = `zip entry \`${shorten(name)}\``;
  const size = entry.compressedSize;
  if (entry.relativeOffsetOfLocalHeader + 30 + size > file.size) throw outside(what);
  const header = await zip.readLocalFileHeaderPromise(entry).catch((cause: unknown) => {
    throw corrupt(`the local header of ${what} cannot be read`, cause);
  });
  // Readers that stream go by the local headers; they must not see another archive.
  if (!header.fileName.equals(entry.fileNameRaw) || header.compressionMethod !== entry.compressionMethod) {
    throw new FerryError('ARCHIVE_CORRUPT', `the local header of ${what} disagrees with the zip directory`);
  }
  if (header.fileDataStart + size > file.size) throw outside(what);
  return { name, start: header.fileDataStart, size, crc32: entry.crc32 };
}

async function readAll(file: ArchiveFile, start: number, end: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of file.chunks(start, end)) chunks.push(new Uint8Array(chunk));
  return Buffer.concat(chunks);
}

function missing(name: string): FerryError {
  return new FerryError('ARCHIVE_ENTRY_MISSING', `the zip has no \`${name}\``);
}

function unexpected(name: string, why: string): FerryError {
  return new FerryError('ARCHIVE_ENTRY_UNEXPECTED', `zip entry \`${shorten(name)}\` ${why}`);
}

function outside(what: string): FerryError {
  return new FerryError('ARCHIVE_CORRUPT', `${what} reaches beyond the end of the archive`);
}

/** The error for what yauzl cannot read; one of the disk comes through as it is. */
function corrupt(message: string, cause: unknown): unknown {
  return cause instanceof Error && 'errno' in cause
    ? cause
    : new FerryError('ARCHIVE_CORRUPT', message, { cause });
}
