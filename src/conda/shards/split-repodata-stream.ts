/**
 * Takes repodata of any size apart by package name, in memory that does not grow with it: a first pass sorts records into
 * buckets on disk as the text arrives, a second one takes one bucket after the other. What comes out is what
 * `splitRepodata` makes of the whole text.
 */
import type { Bytes } from '../../io/bytes.js';
import { compareText } from '../../io/compare-text.js';
import {
  DocumentScanner,
  decodeJson,
  type DocumentHandler,
  type MemberSpan,
  type MemberTask,
} from '../repodata/document-scanner.js';
import { BACKSLASH } from '../repodata/json-bytes.js';
import { namesUrl } from '../repodata/names-url.js';
import type { ScannedRecord } from '../repodata/scanned-record.js';
import { NO_SLICE, RecordBuckets, type RepodataPart, type Slice } from './record-buckets.js';
import { SHARD_SECTIONS, type JsonObject, type ShardContent } from './shard-files.js';
import { packageNameOf } from './split-repodata.js';

/** Of repodata whose size is known, a bucket has about so much. */
const BUCKET_BYTES = 4 * 1024 * 1024;
const MAX_BUCKETS = 1024;
/** Where the size is not known: for 700 MB, the largest repodata there is, buckets of 11 MB. */
const USUAL_BUCKETS = 64;
/** So much of the text is sorted before what is full is written. */
const PIECE_BYTES = 256 * 1024;
const DASH = 0x2d;

/** Options of {@link splitRepodataStream}. */
export interface SplitStreamOptions {
  /** Path of the temporary file, which must not be there; it is gone when the result is disposed of. */
  readonly path: string;
  /** Bytes that will come, as far as that is known. @defaultValue those of a large channel */
  readonly size?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What repodata says of one package. */
export interface SplitPackage {
  readonly name: string;
  readonly content: ShardContent;
  /** The same as JSON, its records as they stand in the text, those included that are no objects. */
  readonly text: Uint8Array;
}

/** Repodata that was taken apart. To be disposed of. */
export interface SplitRepodata extends AsyncDisposable {
  /** The member `info`, whatever it is; `undefined` where there is none. */
  readonly info: unknown;
  /** Whether a record, whichever of several it is, has a `url` that is not `null`. @see CEP draft, conda/ceps pull 151 */
  readonly namesUrls: boolean;
  /**
   * All packages of which anything is said, each once, in an order that depends on the number of buckets.
   * @throws IntegrityError `SIZE_EXCEEDED` where one package has more than 64 MiB of text
   */
  packages(): AsyncGenerator<SplitPackage, void>;
}

/**
 * Reads repodata and sorts it by package name. Of a key that stands twice the last one counts. Records whose keys hold no
 * package name, and those that are no objects, are left out.
 * @throws ParseError `REPODATA_INVALID`, position = offset in bytes; FerryError `DISK_FULL`
 * @see CEP 16, CEP 36, CEP 48
 */
export async function splitRepodataStream(
  source: Bytes,
  { path, size, signal }: SplitStreamOptions,
): Promise<SplitRepodata> {
  const count = size === undefined ? USUAL_BUCKETS : Math.ceil(size / BUCKET_BYTES);
  const buckets = new RecordBuckets(path, Math.min(MAX_BUCKETS, Math.max(1, count)));
  const sorter = new Sorter(buckets);
  const scanner = new DocumentScanner(sorter);
  try {
    for await (const chunk of source) {
      for (let at = 0; at < chunk.byteLength; at += PIECE_BYTES) {
        signal?.throwIfAborted();
        scanner.push(chunk.subarray(at, at + PIECE_BYTES));
        await buckets.write();
      }
    }
    signal?.throwIfAborted();
    // CEP 26 takes an empty file for an empty object.
    if (scanner.size > 0) scanner.finish();
  } catch (error) {
    await buckets[Symbol.asyncDispose]();
    throw error;
  }
  return {
    info: sorter.info,
    namesUrls: sorter.namesUrls,
    packages: () => packagesIn(buckets, sorter, signal),
    [Symbol.asyncDispose]: () => buckets[Symbol.asyncDispose](),
  };
}

/** Follows the scanner through the document, and puts each record into the bucket of its package name. */
class Sorter implements DocumentHandler {
  /** How often each section came; only what stands in the last one of a name counts. */
  readonly rounds = { packages: 0, 'packages.conda': 0, v3: 0, removed: 0 };
  info: unknown;
  namesUrls = false;
  readonly #buckets: RecordBuckets;
  #kind: 'packages' | 'packages.conda' | 'v3' = 'packages';
  #extension = NO_SLICE;

  constructor(buckets: RecordBuckets) {
    this.#buckets = buckets;
  }

  member([key = '', extension]: readonly string[]): MemberTask {
    if (extension !== undefined) {
      this.#extension = sliceOf(extension);
      return 'records';
    }
    if (key === 'packages' || key === 'packages.conda' || key === 'v3') {
      this.rounds[key] += 1;
      this.#kind = key;
      this.#extension = NO_SLICE;
      return key === 'v3' ? 'enter' : 'records';
    }
    return key === 'info' || key === 'removed' ? 'keep' : 'skip';
  }

  memberEnd([key]: readonly string[], _span: MemberSpan, value: Uint8Array | undefined): void {
    if (value === undefined) return;
    const decoded = decodeJson(value);
    if (key === 'info') this.info = decoded;
    else if (Array.isArray(decoded)) {
      for (const filename of decoded) if (typeof filename === 'string') this.#addRemoved(filename);
    }
  }

  record(record: ScannedRecord, bytes: Uint8Array): void {
    const { keyStart, keyEnd, valueStart, valueEnd } = record;
    if (!this.namesUrls && namesUrl(record, bytes)) this.namesUrls = true;
    const key = { bytes, start: keyStart - 1, end: keyEnd + 1 };
    const bucket = this.#bucketOf(key);
    if (bucket === undefined) return;
    this.#buckets.add(bucket, {
      kind: this.#kind,
      round: this.rounds[this.#kind],
      extension: this.#extension,
      key,
      value: { bytes, start: valueStart, end: valueEnd },
    });
  }

  #addRemoved(filename: string): void {
    const key = sliceOf(filename);
    const bucket = this.#bucketOf(key);
    if (bucket === undefined) return;
    this.#buckets.add(bucket, { kind: 'removed', round: 0, extension: NO_SLICE, key, value: NO_SLICE });
  }

  /** @returns `undefined` for a key that holds no package name */
  #bucketOf(key: Slice): number | undefined {
    const { bytes, start, end } = key;
    let name = bytes.subarray(start + 1, end - 1);
    if (name.includes(BACKSLASH)) name = Buffer.from(packageNameOf(textOf(key)));
    else {
      const lastDash = name.lastIndexOf(DASH);
      name = name.subarray(0, lastDash < 1 ? 0 : Math.max(0, name.lastIndexOf(DASH, lastDash - 1)));
    }
    return name.byteLength === 0 ? undefined : hashOf(name) % this.#buckets.count;
  }
}

/** Where what is said of one package stands. */
interface Place {
  readonly packages: Map<string, RepodataPart>;
  readonly 'packages.conda': Map<string, RepodataPart>;
  readonly removed: string[];
  readonly v3: Map<string, Map<string, RepodataPart>>;
}

async function* packagesIn(
  buckets: RecordBuckets,
  { rounds }: Sorter,
  signal: AbortSignal | undefined,
): AsyncGenerator<SplitPackage, void> {
  for (let index = 0; index < buckets.count; index += 1) {
    const places = new Map<string, Place>();
    for (const part of await buckets.read(index)) {
      const isLast = part.kind === 'removed' || part.round === rounds[part.kind];
      if (isLast) place(places, part);
    }
    for (const [name, parts] of [...places].sort(([a], [b]) => compareText(a, b))) {
      signal?.throwIfAborted();
      const content = contentOf(parts);
      const isEmpty =
        SHARD_SECTIONS.every((section) => content[section].size === 0) &&
        content.removed.length === 0 &&
        content.v3?.size === 0;
      if (!isEmpty) yield { name, content, text: joinTexts(parts) };
    }
  }
}

function place(places: Map<string, Place>, part: RepodataPart): void {
  const key = textOf(part.key);
  const name = packageNameOf(key);
  let known = places.get(name);
  if (known === undefined) {
    known = { packages: new Map(), 'packages.conda': new Map(), removed: [], v3: new Map() };
    places.set(name, known);
  }
  if (part.kind === 'removed') known.removed.push(key);
  else if (part.kind === 'v3') {
    const extension = textOf(part.extension);
    const records = known.v3.get(extension) ?? new Map<string, RepodataPart>();
    known.v3.set(extension, records.set(key, part));
  } else known[part.kind].set(key, part);
}

function contentOf(parts: Place): ShardContent {
  return {
    packages: decode(parts.packages),
    'packages.conda': decode(parts['packages.conda']),
    removed: parts.removed,
    v3: new Map([...parts.v3].map(([extension, records]) => [extension, decode(records)])),
  };
}

function decode(parts: ReadonlyMap<string, RepodataPart>): ReadonlyMap<string, JsonObject> {
  const records = new Map<string, JsonObject>();
  for (const [key, { value }] of parts) {
    const decoded = decodeJson(value.bytes, value.start, value.end);
    if (typeof decoded === 'object' && decoded !== null && !Array.isArray(decoded))
      records.set(key, decoded as JsonObject);
  }
  return records;
}

/** Repodata of one package, without white space outside of its records. */
function joinTexts(parts: Place): Uint8Array {
  const texts: Uint8Array[] = [];
  const write = (text: string): unknown => texts.push(Buffer.from(text));
  const writeRecords = (records: Iterable<RepodataPart>): void => {
    let separator = '{';
    for (const { key, value } of records) {
      write(separator);
      texts.push(bytesOf(key));
      write(':');
      texts.push(bytesOf(value));
      separator = ',';
    }
    write(separator === '{' ? '{}' : '}');
  };
  write('{"packages":');
  writeRecords(parts.packages.values());
  write(',"packages.conda":');
  writeRecords(parts['packages.conda'].values());
  write(`,"removed":${JSON.stringify(parts.removed)},"v3":{`);
  for (const [i, [extension, records]] of [...parts.v3].entries()) {
    write(`${i === 0 ? '' : ','}${JSON.stringify(extension)}:`);
    writeRecords(records.values());
  }
  write('}}');
  return Buffer.concat(texts);
}

function sliceOf(text: string): Slice {
  const bytes = Buffer.from(JSON.stringify(text));
  return { bytes, start: 0, end: bytes.byteLength };
}

function textOf({ bytes, start, end }: Slice): string {
  return decodeJson(bytes, start, end) as string;
}

function bytesOf({ bytes, start, end }: Slice): Uint8Array {
  return bytes.subarray(start, end);
}

/** FNV-1a: names are short, and nobody gains from many in one bucket. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
