import { crc32 } from 'node:zlib';
import {
  fromRandomAccessReaderPromise,
  RandomAccessReader,
  type Entry,
  type LocalFileHeader,
  type ZipFile,
} from 'yauzl';
import { FerryError, isFerryError } from '../../errors.js';
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

/** What is wrong with the zip of a `.conda` that can be read all the same. */
export interface CondaFault {
  readonly kind: 'compressed' | 'damaged' | 'duplicate' | 'missing' | 'nested' | 'path' | 'stem';
  /** Name of the entry, or of what is missing: `metadata.json`, `info`, `pkg`. */
  readonly entry: string;
  /** What {@link findCondaEntries} throws for it. */
  readonly error: FerryError;
}

/** What of a `.conda` could be found. */
export interface CondaSurvey {
  readonly metadata: ZipEntryRange | undefined;
  readonly info: ZipEntryRange | undefined;
  readonly pkg: ZipEntryRange | undefined;
  /** What stands between `info-` or `pkg-` and `.tar.zst`, by the name of the entry. */
  readonly stems: ReadonlyMap<string, string>;
  /** Names of further entries. */
  readonly others: readonly string[];
}

type FaultListener = (fault: CondaFault) => void;

/**
 * Finds the entries of a `.conda` through the central directory of its zip, in whatever order they are, with ZIP64 and
 * data descriptors. Further entries at the top level are let be.
 * @throws FerryError `ARCHIVE_EMPTY`, `ARCHIVE_NOT_CONDA`, `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`,
 * `ARCHIVE_ENTRY_COMPRESSED`, `ARCHIVE_ENTRY_UNEXPECTED`, `ARCHIVE_ENTRY_MISSING`, `ARCHIVE_PATH_UNSAFE`,
 * `ARCHIVE_LIMIT_EXCEEDED`
 * @see CEP 35; APPNOTE.TXT 6.3.10
 */
export async function findCondaEntries(file: ArchiveFile, signal?: AbortSignal): Promise<CondaEntries> {
  const survey = await surveyCondaEntries(
    file,
    ({ error }) => {
      throw error;
    },
    signal,
  );
  const { metadata, info, pkg, stems } = survey;
  const stem = stems.get(info?.name ?? '');
  // Never so: whatever is not there was a fault.
  if (metadata === undefined || info === undefined || pkg === undefined || stem === undefined)
    throw missing('metadata.json').error;
  return { metadata, info, pkg, stem };
}

/**
 * Finds what {@link findCondaEntries} finds, and goes on after each fault, which `onFault` is told of. What it throws
 * ends the search.
 * @throws FerryError `ARCHIVE_EMPTY`, `ARCHIVE_NOT_CONDA`, `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`,
 * `ARCHIVE_LIMIT_EXCEEDED` where the zip's directory cannot be read
 */
export async function surveyCondaEntries(
  file: ArchiveFile,
  onFault: FaultListener,
  signal?: AbortSignal,
): Promise<CondaSurvey> {
  const zip = await openZip(file);
  try {
    const entries = await readDirectory(zip, onFault, signal);
    const metadata = entries.get('metadata.json');
    if (metadata === undefined) onFault(missing('metadata.json'));
    const info = theTarball(entries, 'info', onFault);
    const pkg = theTarball(entries, 'pkg', onFault);
    if (info !== undefined && pkg !== undefined && info.stem !== pkg.stem) onFault(foreign(info, pkg));
    const stems = new Map<string, string>();
    const others: string[] = [];
    for (const name of entries.keys()) {
      const stem = TARBALL_PATTERN.exec(name)?.[2];
      if (stem !== undefined) stems.set(name, stem);
      else if (name !== 'metadata.json') others.push(name);
    }
    return {
      metadata: await locate(zip, file, 'metadata.json', metadata, onFault),
      info: await locate(zip, file, info?.name, info?.entry, onFault),
      pkg: await locate(zip, file, pkg?.name, pkg?.entry, onFault),
      stems,
      others,
    };
  } finally {
    zip.close();
  }
}

/**
 * Reads a zip entry, and checks the bytes against its CRC-32 at the end. Chunks are valid until the next one.
 * @throws FerryError `ARCHIVE_CORRUPT`
 */
export async function* readZipEntry(
  file: ArchiveFile,
  entry: ZipEntryRange,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  let checksum = 0;
  let size = 0;
  for await (const chunk of file.chunks(entry.start, entry.start + entry.size, signal)) {
    checksum = crc32(chunk, checksum);
    size += chunk.byteLength;
    yield chunk;
  }
  if (size !== entry.size || checksum !== entry.crc32) {
    throw new FerryError('ARCHIVE_CORRUPT', `zip entry \`${shorten(entry.name)}\` has a wrong CRC-32`);
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

/** The entries by name; those whose name is at fault are left out. */
async function readDirectory(
  zip: ZipFile,
  onFault: FaultListener,
  signal: AbortSignal | undefined,
): Promise<Map<string, Entry | 'unusable'>> {
  if (zip.entryCount > MAX_ZIP_ENTRIES) {
    throw limitExceeded(
      `the zip has ${String(zip.entryCount)} entries, allowed are ${String(MAX_ZIP_ENTRIES)}`,
    );
  }
  const entries = new Map<string, Entry | 'unusable'>();
  const iterator = zip.eachEntry();
  for (let index = 0; ; index++) {
    signal?.throwIfAborted();
    const next = await iterator.next().catch((cause: unknown) => {
      throw corrupt(`entry ${String(index)} of the zip directory cannot be read`, cause);
    });
    if (next.done === true) return entries;
    const name = next.value.fileNameRaw.toString('utf8');
    const fault = nameFault(name) ?? contentFault(name, next.value);
    if (fault !== undefined) onFault(fault);
    if (fault?.kind === 'path' || fault?.kind === 'nested') continue;
    if (entries.has(name)) onFault(unexpected('duplicate', name, 'is in the zip twice'));
    else entries.set(name, fault === undefined ? next.value : 'unusable');
  }
}

function nameFault(name: string): CondaFault | undefined {
  try {
    parseMemberPath(name, `zip entry \`${name}\``);
  } catch (error) {
    if (isFerryError(error)) return { kind: 'path', entry: name, error };
    throw error;
  }
  return /[/\\]/.test(name) ? unexpected('nested', name, 'is not at the top level') : undefined;
}

function contentFault(name: string, entry: Entry): CondaFault | undefined {
  const what = shorten(`zip entry \`${name}\``);
  const method = entry.compressionMethod;
  const isEncrypted = (entry.generalPurposeBitFlag & ENCRYPTION_FLAGS) !== 0;
  if (isEncrypted || method !== 0) {
    const how = isEncrypted ? 'encrypted' : `compressed with method ${String(method)}, not stored`;
    const error = new FerryError('ARCHIVE_ENTRY_COMPRESSED', `${what} is ${how}`);
    return { kind: 'compressed', entry: name, error };
  }
  if (entry.compressedSize === entry.uncompressedSize) return undefined;
  const sizes = `${String(entry.compressedSize)} and ${String(entry.uncompressedSize)}`;
  return damaged(name, `${what} is stored and yet has two sizes, ${sizes}`);
}

interface Tarball {
  readonly name: string;
  readonly stem: string;
  readonly entry: Entry | 'unusable';
}

function theTarball(
  entries: ReadonlyMap<string, Entry | 'unusable'>,
  kind: 'info' | 'pkg',
  onFault: FaultListener,
): Tarball | undefined {
  const found: Tarball[] = [];
  for (const [name, entry] of entries) {
    const [, nameKind, stem] = TARBALL_PATTERN.exec(name) ?? [];
    if (nameKind === kind && stem !== undefined) found.push({ name, stem, entry });
  }
  if (found.length === 0) onFault(missing(kind, `${kind}-….tar.zst`));
  for (const { name } of found.slice(1))
    onFault(unexpected('duplicate', name, `is a second ${kind} tarball`));
  return found[0];
}

/** Finds an entry's bytes, which the local header stands before. */
async function locate(
  zip: ZipFile,
  file: ArchiveFile,
  name: string | undefined,
  entry: Entry | 'unusable' | undefined,
  onFault: FaultListener,
): Promise<ZipEntryRange | undefined> {
  if (name === undefined || entry === undefined || entry === 'unusable') return undefined;
  const range = await rangeOf(zip, file, name, entry);
  if ('start' in range) return range;
  onFault(range);
  return undefined;
}

async function rangeOf(
  zip: ZipFile,
  file: ArchiveFile,
  name: string,
  entry: Entry,
): Promise<ZipEntryRange | CondaFault> {
  const what = `zip entry \`${shorten(name)}\``;
  const beyond = `${what} reaches beyond the end of the archive`;
  const size = entry.compressedSize;
  if (entry.relativeOffsetOfLocalHeader + 30 + size > file.size) return damaged(name, beyond);
  let header: LocalFileHeader;
  try {
    header = await zip.readLocalFileHeaderPromise(entry);
  } catch (cause) {
    const error = corrupt(`the local header of ${what} cannot be read`, cause);
    if (isFerryError(error)) return { kind: 'damaged', entry: name, error };
    throw error;
  }
  // Readers that stream go by the local headers; they must not see another archive.
  if (!header.fileName.equals(entry.fileNameRaw) || header.compressionMethod !== entry.compressionMethod)
    return damaged(name, `the local header of ${what} disagrees with the zip directory`);
  if (header.fileDataStart + size > file.size) return damaged(name, beyond);
  return { name, start: header.fileDataStart, size, crc32: entry.crc32 };
}

async function readAll(file: ArchiveFile, start: number, end: number): Promise<Buffer> {
  const { bytes } = file;
  if (bytes !== undefined) {
    const last = Math.max(start, Math.min(end, bytes.byteLength));
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, last - start);
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of file.chunks(start, end)) chunks.push(new Uint8Array(chunk));
  return Buffer.concat(chunks);
}

function missing(entry: string, name = entry): CondaFault {
  const error = new FerryError('ARCHIVE_ENTRY_MISSING', `the zip has no \`${name}\``);
  return { kind: 'missing', entry, error };
}

function unexpected(kind: 'duplicate' | 'nested', entry: string, why: string): CondaFault {
  const error = new FerryError('ARCHIVE_ENTRY_UNEXPECTED', `zip entry \`${shorten(entry)}\` ${why}`);
  return { kind, entry, error };
}

function foreign(info: Tarball, pkg: Tarball): CondaFault {
  const names = `\`${shorten(info.name)}\` and \`${shorten(pkg.name)}\``;
  const message = `the tarballs are of different packages: ${names}`;
  return { kind: 'stem', entry: pkg.name, error: new FerryError('ARCHIVE_ENTRY_UNEXPECTED', message) };
}

function damaged(entry: string, message: string): CondaFault {
  return { kind: 'damaged', entry, error: new FerryError('ARCHIVE_CORRUPT', message) };
}

/** The error for what yauzl cannot read; one of the disk comes through as it is. */
function corrupt(message: string, cause: unknown): unknown {
  return cause instanceof Error && 'errno' in cause
    ? cause
    : new FerryError('ARCHIVE_CORRUPT', message, { cause });
}
