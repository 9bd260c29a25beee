/**
 * Repodata as bytes: where each record stands, its needed fields on demand, and a filtered copy spliced out of the
 * original bytes, so that what nobody asked to change arrives as the source wrote it.
 */
import { FerryError } from '../errors.js';
import { concatBytes } from '../io/bytes.js';
import { shorten } from './archive/member-path.js';
import { JsonCursor, type Span } from './json-cursor.js';
import { parseRepodataRecord, type RepodataRecord } from './package-record.js';

/** The two sections that hold records, with the ending of their keys. @see CEP 36 */
const PACKAGE_SECTIONS: ReadonlyMap<string, string> = new Map([
  ['packages', '.tar.bz2'],
  ['packages.conda', '.conda'],
]);

/** Without `info.base_url` the version is 1. @see CEP 15 */
const VERSION_WITHOUT_BASE_URL = encode('"repodata_version":1');

const FIRST_OF_OBJECT = 0x7b;
const FIRST_OF_NULL = 0x6e;

/** One record's place. */
interface RepodataEntry {
  readonly section: string;
  readonly filename: string;
  /** Key and value together, as they stand. */
  readonly span: Span;
  readonly value: Span;
}

interface Member {
  readonly key: string;
  readonly span: Span;
  readonly value: Span;
}

/** What becomes of a member of an object: other bytes in its place, or none, or itself. */
type MemberEdit = (key: string, value: Span) => Uint8Array | 'dropped' | 'kept';

/** What a record turned out to be: readable, or not and why. */
export type ReadRecord =
  | { readonly filename: string; readonly record: RepodataRecord }
  | { readonly filename: string; readonly error: FerryError };

/** One subdir's repodata. @see CEP 36 */
export class Repodata {
  readonly bytes: Uint8Array;
  readonly subdir: string;
  readonly #cursor: JsonCursor;
  readonly #members: readonly Member[];
  // Keyed by file name: of a key that stands twice the last one counts, as for every JSON reader.
  readonly #entries: ReadonlyMap<string, RepodataEntry>;
  readonly #info: Readonly<Record<string, unknown>>;
  // Some readers take the first of two equal keys, so such a file is not published as it stands.
  #hasDoubles = false;
  // Looking into each record takes time, which this saves in nearly every channel.
  readonly #mayHaveUrls: boolean;

  /**
   * @param subdir the folder the file was found in
   * @throws ParseError `REPODATA_INVALID`, position = offset in bytes
   */
  constructor(bytes: Uint8Array, subdir: string) {
    this.bytes = bytes;
    this.subdir = subdir;
    // CEP 26 takes an empty file for an empty object.
    const text = bytes.byteLength === 0 ? Buffer.from('{}') : bytes;
    this.#cursor = new JsonCursor(text);
    const members = new Map<string, Member>();
    const entries = new Map<string, RepodataEntry>();
    this.#cursor.readObject((key, keySpan) => {
      if (members.has(key)) this.#hasDoubles = true;
      const value = PACKAGE_SECTIONS.has(key) ? this.#readSection(key, entries) : this.#cursor.skipValue();
      members.set(key, { key, span: { start: keySpan.start, end: value.end }, value });
    });
    this.#cursor.expectEnd();
    this.#members = [...members.values()];
    this.#entries = entries;
    this.#info = this.#readInfo();
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#mayHaveUrls = buffer.includes('"url"') || buffer.includes('\\u');
  }

  /** How many records it lists. */
  get recordCount(): number {
    return this.#entries.size;
  }

  /** File names of all records, in the order they stand. */
  filenames(): IterableIterator<string> {
    return this.#entries.keys();
  }

  /** Tells whether a record of that file name is listed. */
  has(filename: string): boolean {
    return this.#entries.has(filename);
  }

  /** Decodes all records, one at a time; one that cannot be used comes as its error. */
  *records(): Generator<ReadRecord> {
    for (const entry of this.#entries.values()) {
      const { filename } = entry;
      try {
        yield { filename, record: this.#decodeRecord(entry) };
      } catch (error) {
        if (!(error instanceof FerryError)) throw error;
        yield { filename, error };
      }
    }
  }

  /** File names in `removed`: gone from the index on purpose. */
  removed(): ReadonlySet<string> {
    const member = this.#members.find(({ key }) => key === 'removed');
    const value = member === undefined ? undefined : this.#cursor.decode(member.value);
    return new Set(
      Array.isArray(value) ? value.filter((name): name is string => typeof name === 'string') : [],
    );
  }

  /** Where archives lie, if not beside the file. @see CEP 15 */
  get baseUrl(): string | undefined {
    const value = this.#info['base_url'];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  /**
   * Why it cannot be published as it stands, in words: it would send clients past the mirror, names what is not
   * mirrored, or does not say the same to every reader.
   */
  neededChanges(): readonly string[] {
    const changes: string[] = [];
    if ('base_url' in this.#info) changes.push('`info.base_url` goes: clients would bypass the mirror');
    if ('channel_relations' in this.#info)
      changes.push('`info.channel_relations` goes: its neighbours are not mirrored');
    if ([...this.#entries.values()].some((entry) => this.#withoutUrl(entry) !== undefined))
      changes.push('`url` of records goes: clients would bypass the mirror');
    if (this.#members.some(({ key }) => holdsOtherRecords(key)))
      changes.push('sections such as `v3` and `packages.whl` go: their records are not mirrored yet');
    if (this.#hasDoubles) changes.push('of keys that stand twice the last one stays');
    return changes;
  }

  /**
   * Writes a copy with only the records that `keep` wants, out of the original bytes, and without what
   * {@link neededChanges} names. Other members stay as they are.
   * @param also records of another repodata to list as well, as they stand there
   */
  splice(
    keep: (filename: string) => boolean,
    also?: { readonly repodata: Repodata; readonly filenames: ReadonlySet<string> },
  ): Uint8Array {
    const members: Uint8Array[][] = [];
    const sections = new Set(this.#members.map(({ key }) => key).filter((key) => PACKAGE_SECTIONS.has(key)));
    for (const member of this.#members) {
      if (holdsOtherRecords(member.key)) continue;
      if (PACKAGE_SECTIONS.has(member.key)) members.push(this.#spliceSection(member.key, keep, also));
      else if (member.key === 'info') members.push([this.#publishedInfo(member)]);
      else if (member.key === 'repodata_version' && 'base_url' in this.#info)
        members.push([VERSION_WITHOUT_BASE_URL]);
      else members.push([this.#slice(member.span)]);
    }
    for (const section of PACKAGE_SECTIONS.keys()) {
      if (also !== undefined && !sections.has(section))
        members.push(this.#spliceSection(section, keep, also));
    }
    return concatBytes([encode('{'), ...separate(members, ','), encode('}\n')]);
  }

  #spliceSection(
    section: string,
    keep: (filename: string) => boolean,
    also: { readonly repodata: Repodata; readonly filenames: ReadonlySet<string> } | undefined,
  ): Uint8Array[] {
    const isNew = (filename: string): boolean =>
      also?.filenames.has(filename) === true && !this.#entries.has(filename);
    const records = [
      ...this.#publishedRecords(section, keep),
      ...(also === undefined ? [] : also.repodata.#publishedRecords(section, isNew)),
    ];
    const separated = separate(
      records.map((record) => [record]),
      ',\n',
    );
    return [encode(`${JSON.stringify(section)}:{`), ...separated, encode('}')];
  }

  *#publishedRecords(section: string, keep: (filename: string) => boolean): Generator<Uint8Array> {
    for (const entry of this.#entries.values()) {
      if (entry.section === section && isInPlace(entry) && keep(entry.filename))
        yield this.#publishedRecord(entry);
    }
  }

  #publishedRecord(entry: RepodataEntry): Uint8Array {
    const value = this.#withoutUrl(entry);
    if (value === undefined) return this.#slice(entry.span);
    return concatBytes([this.#slice({ start: entry.span.start, end: entry.value.start }), value]);
  }

  /** A record's value without `url`; `undefined` where it has none. `null` sends nobody anywhere. */
  #withoutUrl({ value }: RepodataEntry): Uint8Array | undefined {
    if (!this.#mayHaveUrls || this.bytes[value.start] !== FIRST_OF_OBJECT) return undefined;
    return this.#edited(value, (key, { start }) =>
      key === 'url' && this.bytes[start] !== FIRST_OF_NULL ? 'dropped' : 'kept',
    );
  }

  #publishedInfo({ span, value }: Member): Uint8Array {
    const hasBaseUrl = 'base_url' in this.#info;
    // The counts in `repodata_revisions` are those of `v3`.
    const dropsRevisions = this.#members.some(({ key }) => holdsOtherRecords(key));
    const edited = this.#edited(value, (key) => {
      if (key === 'base_url' || key === 'channel_relations') return 'dropped';
      if (key === 'repodata_revisions' && dropsRevisions) return 'dropped';
      return key === 'repodata_version' && hasBaseUrl ? VERSION_WITHOUT_BASE_URL : 'kept';
    });
    if (edited === undefined) return this.#slice(span);
    return concatBytes([this.#slice({ start: span.start, end: value.start }), edited]);
  }

  /** An object written anew, what is kept as it stands, number spellings included; `undefined` if all is kept. */
  #edited(object: Span, edit: MemberEdit): Uint8Array | undefined {
    const parts: Uint8Array[][] = [];
    const edits: string[] = [];
    const cursor = new JsonCursor(this.bytes, object.start);
    cursor.readObject((key, keySpan) => {
      const value = cursor.skipValue();
      const outcome = edit(key, value);
      if (outcome !== 'kept') edits.push(key);
      if (outcome !== 'dropped') {
        parts.push([outcome === 'kept' ? this.#slice({ start: keySpan.start, end: value.end }) : outcome]);
      }
    });
    return edits.length > 0 ? concatBytes([encode('{'), ...separate(parts, ','), encode('}')]) : undefined;
  }

  #decodeRecord(entry: RepodataEntry): RepodataRecord {
    const record = parseRepodataRecord(entry.filename, this.#cursor.decode(entry.value), this.subdir);
    if (!isInPlace(entry)) {
      throw new FerryError('RECORD_INVALID', `\`${entry.filename}\` stands under \`${entry.section}\``);
    }
    const { baseUrl } = this;
    // CEP 15: the base stands in front of the file name; where a record has a place of its own, in front of that.
    return baseUrl === undefined
      ? record
      : { ...record, url: archiveUrl(baseUrl, entry.filename, record.url) };
  }

  #readSection(section: string, entries: Map<string, RepodataEntry>): Span {
    // A section that stands twice counts as the last one.
    for (const [filename, entry] of entries) if (entry.section === section) entries.delete(filename);
    return this.#cursor.readObject((filename, keySpan) => {
      const value = this.#cursor.skipValue();
      const entry = { section, filename, span: { start: keySpan.start, end: value.end }, value };
      const known = entries.get(filename);
      if (known !== undefined) this.#hasDoubles = true;
      if (known === undefined || known.section === section || isInPlace(entry)) entries.set(filename, entry);
    });
  }

  #readInfo(): Readonly<Record<string, unknown>> {
    const member = this.#members.find(({ key }) => key === 'info');
    const info = member === undefined ? {} : this.#cursor.decode(member.value);
    if (typeof info !== 'object' || info === null || Array.isArray(info)) {
      throw new FerryError('REPODATA_INVALID', '`info` of the repodata is no object');
    }
    const named = (info as Record<string, unknown>)['subdir'];
    if (typeof named === 'string' && named !== this.subdir) {
      throw new FerryError(
        'REPODATA_INVALID',
        `repodata of \`${this.subdir}\` says it is of \`${shorten(named)}\``,
      );
    }
    return info as Readonly<Record<string, unknown>>;
  }

  #slice(span: Span): Uint8Array {
    return this.bytes.subarray(span.start, span.end);
  }
}

/** Whether a record stands in the section for archives of its ending. */
function isInPlace({ filename, section }: RepodataEntry): boolean {
  return filename.endsWith(PACKAGE_SECTIONS.get(section) ?? '');
}

function separate(members: readonly (readonly Uint8Array[])[], separator: string): Uint8Array[] {
  const bytes = encode(separator);
  return members.flatMap((parts, i) => (i === 0 ? parts : [bytes, ...parts]));
}

function encode(text: string): Uint8Array {
  return Buffer.from(text, 'utf8');
}

/**
 * Where an archive lies by `info.base_url`: in front of its file name, or of the `url` of its record. An absolute `url`
 * stands for itself.
 * @returns `https://example.org/files/a-1-0.conda`; relative where the base is
 * @see CEP 15; CEP draft, conda/ceps pull 151
 */
export function archiveUrl(base: string, filename: string, url?: string): string {
  const path = url ?? encodeURIComponent(filename);
  return /^[a-z][a-z0-9+.-]*:/i.test(path) ? path : `${base.replace(/\/+$/, '')}/${path}`;
}

/** Sections of records that are not mirrored yet: CEP 48 revisions, and formats that OCI has no media type for. */
function holdsOtherRecords(key: string): boolean {
  return /^v\d+$/.test(key) || (key.startsWith('packages.') && !PACKAGE_SECTIONS.has(key));
}
