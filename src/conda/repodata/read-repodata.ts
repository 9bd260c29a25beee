import { FerryError, IntegrityError } from '../../errors.js';
import type { OpenBytes } from '../../io/bytes.js';
import { createDigestHash, type Digest } from '../../io/digest.js';
import { shorten } from '../archive/member-path.js';
import {
  DocumentScanner,
  decodeJson,
  type DocumentHandler,
  type MemberSpan,
  type MemberTask,
} from './document-scanner.js';
import { OPEN_BRACE } from './json-bytes.js';
import { RecordReader } from './record-reader.js';
import { RecordTable } from './record-table.js';
import type { ScannedRecord } from './scanned-record.js';
import { KNOWN_REVISION, SECTIONS, sectionIndex } from './sections.js';
import { TextIndex } from './text-index.js';

/** Members outside of records; real repodata has ten. */
const MAX_MEMBERS = 10_000;

/** Options of {@link readRepodata}. */
export interface ReadRepodataOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes of plain text that are taken. @defaultValue no limit */
  readonly maxBytes?: number | undefined;
  /**
   * Digest of the plain bytes, asked for once they have ended, where whoever opens them hashes them already, as a thread that
   * decompresses them can. @defaultValue they are hashed here
   */
  readonly digest?: (() => Digest | undefined) | undefined;
}

/** A section of records that OCI has no media type for: file names as they would be. */
export interface WithheldSection {
  /** Such as `packages.whl` or `v3.whl`. */
  readonly name: string;
  readonly filenames: TextIndex;
}

/** One subdir's repodata as it was read: the records, and where everything stands in the text. */
export interface RepodataContents {
  readonly subdir: string;
  readonly open: OpenBytes;
  /** Of the plain text. */
  readonly digest: Digest;
  /** In bytes, of the plain text. */
  readonly size: number;
  readonly table: RecordTable;
  /** Members of the document by key, in the order of the last ones where keys stand twice. */
  readonly members: ReadonlyMap<string, MemberSpan>;
  /** Keys within the known revision, in their order: extensions such as `conda`. */
  readonly revisionKeys: readonly string[];
  readonly withheld: readonly WithheldSection[];
  /** Whether a key outside of records, or a file name, stands twice. */
  readonly hasDoubles: boolean;
  /** The value of `info` as it stands, and decoded. */
  readonly infoBytes: Uint8Array;
  readonly info: Readonly<Record<string, unknown>>;
  readonly removed: ReadonlySet<string>;
}

/**
 * Reads repodata from its plain text, in one pass.
 * @throws ParseError `REPODATA_INVALID`, position = offset in bytes; IntegrityError `SIZE_EXCEEDED`
 */
export async function readRepodata(
  open: OpenBytes,
  subdir: string,
  options: ReadRepodataOptions = {},
): Promise<RepodataContents> {
  const { signal, maxBytes = Number.POSITIVE_INFINITY } = options;
  const outline = new Outline(subdir);
  const scanner = new DocumentScanner(outline);
  const hash = options.digest === undefined ? createDigestHash() : undefined;
  let size = 0;
  for await (const chunk of open(signal === undefined ? {} : { signal })) {
    signal?.throwIfAborted();
    size += chunk.byteLength;
    if (size > maxBytes)
      throw new IntegrityError('SIZE_EXCEEDED', `repodata of \`${subdir}\``, maxBytes, size);
    hash?.update(chunk);
    scanner.push(chunk);
  }
  signal?.throwIfAborted();
  // CEP 26 takes an empty file for an empty object.
  if (size > 0) scanner.finish();
  outline.table.settle();
  const digest: Digest | undefined = hash === undefined ? options.digest?.() : `sha256:${hash.digest('hex')}`;
  if (digest === undefined) throw new FerryError('INTERNAL', `nobody hashed the repodata of \`${subdir}\``);
  const infoBytes = outline.kept.get('info') ?? Buffer.from('{}');
  return {
    subdir,
    open,
    digest,
    size,
    table: outline.table,
    members: outline.members,
    revisionKeys: [...outline.revisionKeys],
    withheld: [...outline.withheld.values()],
    hasDoubles: outline.hasDoubles || outline.table.hasDoubles,
    infoBytes,
    info: checkRepodataInfo(decodeJson(infoBytes), subdir),
    removed: textsOf(outline.kept.get('removed')),
  };
}

/** Tells whether a key of the document holds records of formats that OCI has no media type for, or of unknown revisions. */
export function isWithheldKey(key: string): boolean {
  if (/^v\d+$/.test(key)) return key !== KNOWN_REVISION;
  return key.startsWith('packages.') && sectionIndex(key) < 0;
}

/** Follows the scanner through the document. */
class Outline implements DocumentHandler {
  readonly table: RecordTable;
  readonly members = new Map<string, MemberSpan>();
  readonly revisionKeys = new Set<string>();
  readonly withheld = new Map<string, WithheldSection>();
  readonly kept = new Map<string, Uint8Array>();
  hasDoubles = false;
  readonly #records: RecordReader;
  readonly #seen = new Set<string>();
  /** The section that is read, or the withheld one whose names are. */
  #section = -1;
  #foreign: WithheldSection | undefined;

  constructor(subdir: string) {
    this.table = new RecordTable(subdir);
    this.#records = new RecordReader(this.table, subdir);
  }

  member(path: readonly string[], first: number): MemberTask {
    const [key = '', extension] = path;
    this.#note(path);
    if (extension !== undefined) {
      this.revisionKeys.delete(extension);
      this.revisionKeys.add(extension);
      return this.#recordsOf(path.join('.'), first);
    }
    if (key === KNOWN_REVISION) {
      this.#dropRevision();
      return 'enter';
    }
    if (key === 'info' || key === 'removed') return 'keep';
    if (key === 'packages' || key.startsWith('packages.')) return this.#recordsOf(key, first);
    if (isWithheldKey(key)) this.withheld.set(key, { name: key, filenames: new TextIndex() });
    return 'skip';
  }

  memberEnd(path: readonly string[], span: MemberSpan, value: Uint8Array | undefined): void {
    const [key = ''] = path;
    if (path.length > 1) return;
    this.members.delete(key);
    this.members.set(key, span);
    if (value !== undefined) this.kept.set(key, value);
  }

  record(record: ScannedRecord, bytes: Uint8Array, base: number): void {
    if (this.#foreign === undefined) this.#records.read(record, this.#section, bytes, base);
    else this.#foreign.filenames.intern(bytes, record.keyStart, record.keyEnd);
  }

  #recordsOf(name: string, first: number): MemberTask {
    this.#section = sectionIndex(name);
    this.#foreign = undefined;
    if (this.#section >= 0) {
      // Of a section that stands twice the last one counts as a whole.
      if (this.hasDoubles) this.table.dropSection(this.#section);
      return 'records';
    }
    this.#foreign = { name, filenames: new TextIndex() };
    this.withheld.set(name, this.#foreign);
    return first === OPEN_BRACE ? 'records' : 'skip';
  }

  /** Of a revision that stands twice the last one counts as a whole. */
  #dropRevision(): void {
    for (const [index, section] of SECTIONS.entries()) if (section.isRevision) this.table.dropSection(index);
    for (const name of this.withheld.keys())
      if (name.startsWith(`${KNOWN_REVISION}.`)) this.withheld.delete(name);
    this.revisionKeys.clear();
  }

  #note(path: readonly string[]): void {
    const name = JSON.stringify(path);
    if (this.#seen.has(name)) this.hasDoubles = true;
    this.#seen.add(name);
    if (this.#seen.size > MAX_MEMBERS) {
      throw new FerryError('REPODATA_INVALID', `the repodata has more than ${String(MAX_MEMBERS)} members`);
    }
  }
}

/** Checks that `info` is an object, and of that subdir. @throws FerryError `REPODATA_INVALID` */
export function checkRepodataInfo(info: unknown, subdir: string): Readonly<Record<string, unknown>> {
  if (typeof info !== 'object' || info === null || Array.isArray(info)) {
    throw new FerryError('REPODATA_INVALID', '`info` of the repodata is no object');
  }
  const { subdir: named } = info as Record<string, unknown>;
  if (typeof named === 'string' && named !== subdir) {
    throw new FerryError('REPODATA_INVALID', `repodata of \`${subdir}\` says it is of \`${shorten(named)}\``);
  }
  return info as Readonly<Record<string, unknown>>;
}

/** The texts in a list; anything else is passed over. */
function textsOf(list: Uint8Array | undefined): ReadonlySet<string> {
  const value = list === undefined ? [] : decodeJson(list);
  return new Set(
    Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [],
  );
}
