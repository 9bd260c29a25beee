import type { Bytes } from '../../io/bytes.js';
import { LETTER_N } from './json-bytes.js';
import { editObject } from './json-members.js';
import { isWithheldKey, type RepodataContents } from './read-repodata.js';
import { reviseRevisions } from './revisions.js';
import { KNOWN_REVISION, SECTIONS, sectionIndex } from './sections.js';
import { OutputBuffer } from './output-buffer.js';
import { SpanReader } from './span-reader.js';

/** Without `info.base_url` the version is 1. @see CEP 15 */
const VERSION_WITHOUT_BASE_URL = Buffer.from('"repodata_version":1');
const BETWEEN_RECORDS = Buffer.from(',\n');

/** A piece of the result: bytes, or a span of a text. */
type Part = Uint8Array | SpanPart;

interface SpanPart {
  readonly from: RepodataContents;
  readonly start: number;
  readonly end: number;
  /** Where the record begins whose `url` goes. */
  readonly urlIn?: number | undefined;
}

/** Which records are written: rows of the source, rows of the other repodata. */
interface Selection {
  readonly source: RepodataContents;
  readonly isKept: Uint8Array;
  readonly other: RepodataContents | undefined;
  readonly isTaken: Uint8Array;
}

/**
 * Writes the records that `keep` wants, and the other members, out of the text.
 * @param also records of another repodata to list as well, unless the source lists the name itself
 * @param has whether the source lists a name
 */
export async function* spliceRepodata(
  source: RepodataContents,
  keep: (filename: string) => boolean,
  also: { readonly repodata: RepodataContents; readonly filenames: ReadonlySet<string> } | undefined,
  has: (filename: string) => boolean,
): Bytes {
  const selection: Selection = {
    source,
    isKept: chooseRows(source, keep),
    other: also?.repodata,
    isTaken:
      also === undefined
        ? new Uint8Array()
        : chooseRows(also.repodata, (filename) => also.filenames.has(filename) && !has(filename)),
  };
  const readers = new Map<RepodataContents, SpanReader>();
  await using _ = {
    async [Symbol.asyncDispose]() {
      for (const reader of readers.values()) await reader[Symbol.asyncDispose]();
    },
  };
  const output = new OutputBuffer();
  for (const part of partsOf(selection)) {
    if (part instanceof Uint8Array) {
      output.push(part);
    } else {
      let reader = readers.get(part.from);
      if (reader === undefined) readers.set(part.from, (reader = new SpanReader(part.from.open)));
      const whole = reader.peek(part.start, part.end);
      if (part.urlIn !== undefined) {
        const member = whole ?? (await reader.read(part.start, part.end));
        output.push(withoutUrl(member, part.urlIn - part.start));
      } else if (whole !== undefined) output.push(whole);
      else {
        for await (const piece of reader.pieces(part.start, part.end)) {
          output.push(piece);
          if (output.isFull) yield* output.take();
        }
      }
    }
    if (output.isFull) yield* output.take();
  }
  yield* output.finish();
}

/** 1 for each row that is written. */
function chooseRows({ table }: RepodataContents, keep: (filename: string) => boolean): Uint8Array {
  const chosen = new Uint8Array(table.rowCount);
  for (let row = 0; row < chosen.length; row += 1) {
    if (table.isPublished(row) && keep(table.filename(row))) chosen[row] = 1;
  }
  return chosen;
}

function* partsOf(selection: Selection): Generator<Part, void> {
  const { source, other } = selection;
  const hasBaseUrl = 'base_url' in source.info;
  let separator = '{';
  for (const [key, { start, end }] of source.members) {
    if (isWithheldKey(key)) continue;
    yield Buffer.from(separator);
    separator = ',';
    if (sectionIndex(key) >= 0) yield* sectionParts(selection, sectionIndex(key), key);
    else if (key === KNOWN_REVISION) yield* revisionParts(selection);
    else if (key === 'info') yield* infoParts(selection, start);
    else if (key === 'repodata_version' && hasBaseUrl) yield VERSION_WITHOUT_BASE_URL;
    else yield { from: source, start, end };
  }
  if (other !== undefined) {
    for (const [index, { name, isRevision }] of SECTIONS.entries()) {
      if (isRevision || source.members.has(name)) continue;
      yield Buffer.from(separator);
      separator = ',';
      yield* sectionParts(selection, index, name);
    }
    if (!source.members.has(KNOWN_REVISION) && revisionSections().some(([i]) => hasTaken(selection, i))) {
      yield Buffer.from(separator);
      separator = ',';
      yield* revisionParts(selection);
    }
  }
  yield Buffer.from(separator === '{' ? '{}\n' : '}\n');
}

/** The known revision with those of its sections that are there, or have records of the other repodata. */
function* revisionParts(selection: Selection): Generator<Part, void> {
  const { source } = selection;
  let separator = `${JSON.stringify(KNOWN_REVISION)}:{`;
  const first = separator;
  const sections = revisionSections();
  const there = source.revisionKeys.flatMap((key) => sections.filter(([, extension]) => extension === key));
  const added = sections.filter(
    ([index, extension]) => !source.revisionKeys.includes(extension) && hasTaken(selection, index),
  );
  for (const [index, extension] of [...there, ...added]) {
    yield Buffer.from(separator);
    separator = ',';
    yield* sectionParts(selection, index, extension);
  }
  yield Buffer.from(separator === first ? `${first}}` : '}');
}

function* sectionParts(selection: Selection, section: number, key: string): Generator<Part, void> {
  const { source, isKept, other, isTaken } = selection;
  yield Buffer.from(`${JSON.stringify(key)}:{`);
  let isFirst = true;
  for (const [from, chosen] of [[source, isKept] as const, [other, isTaken] as const]) {
    if (from === undefined) continue;
    const { table } = from;
    const wanted = SECTIONS[section];
    for (let row = 0; row < chosen.length; row += 1) {
      if (chosen[row] !== 1 || table.sectionOf(row) !== wanted) continue;
      if (!isFirst) yield BETWEEN_RECORDS;
      isFirst = false;
      const { start, valueStart, end } = table.spanOf(row);
      yield { from, start, end, urlIn: table.namesUrl(row) ? valueStart : undefined };
    }
  }
  yield Buffer.from('}');
}

function* infoParts(selection: Selection, start: number): Generator<Part, void> {
  const { source } = selection;
  const span = source.members.get('info');
  yield { from: source, start, end: span?.valueStart ?? start };
  yield publishedInfo(selection);
}

function publishedInfo(selection: Selection): Uint8Array {
  const { source } = selection;
  const { info, infoBytes } = source;
  const hasBaseUrl = 'base_url' in info;
  const edited = editObject(infoBytes, ({ key, start, valueStart, end }) => {
    if (key === 'base_url' || key === 'channel_relations') return 'dropped';
    if (key === 'repodata_version' && hasBaseUrl) return VERSION_WITHOUT_BASE_URL;
    if (key !== 'repodata_revisions') return 'kept';
    const value = infoBytes.subarray(valueStart, end);
    const revised = reviseRevisions(value, (revision) => countRevision(selection, revision));
    return revised === undefined ? 'kept' : Buffer.concat([infoBytes.subarray(start, valueStart), revised]);
  });
  return edited ?? infoBytes;
}

/** What the result holds of a revision: the same as the source, nothing, or these records. */
function countRevision(
  selection: Selection,
  revision: string,
): ReturnType<Parameters<typeof reviseRevisions>[1]> {
  const { source, isKept, other, isTaken } = selection;
  if (revision !== KNOWN_REVISION)
    return isWithheldKey(revision) && source.members.has(revision) ? 'gone' : 'same';
  let isSame = !source.withheld.some(({ name }) => name.startsWith(`${revision}.`));
  let count = 0;
  let newest = -1;
  let oldest = Number.POSITIVE_INFINITY;
  for (const [from, chosen] of [[source, isKept] as const, [other, isTaken] as const]) {
    if (from === undefined) continue;
    for (let row = 0; row < chosen.length; row += 1) {
      if (!from.table.sectionOf(row).isRevision) continue;
      if ((chosen[row] === 1) !== (from === source)) isSame = false;
      if (chosen[row] !== 1) continue;
      count += 1;
      const time = from.table.indexedTimestamp(row);
      if (time < 0) continue;
      newest = Math.max(newest, time);
      oldest = Math.min(oldest, time);
    }
  }
  if (isSame) return 'same';
  return { count, newest: newest < 0 ? undefined : newest, oldest: newest < 0 ? undefined : oldest };
}

function revisionSections(): (readonly [number, string])[] {
  return [...SECTIONS.entries()].flatMap(([index, { isRevision, extension }]) =>
    isRevision ? [[index, extension] as const] : [],
  );
}

function hasTaken({ other, isTaken }: Selection, section: number): boolean {
  return isTaken.some((taken, row) => taken === 1 && other?.table.sectionOf(row) === SECTIONS[section]);
}

/** A member of a section, key and record, without the record's `url`. `null` sends nobody anywhere. */
function withoutUrl(member: Uint8Array, valueStart: number): Uint8Array {
  const value = member.subarray(valueStart);
  const edited = editObject(value, ({ key, valueStart: at }) =>
    key === 'url' && value[at] !== LETTER_N ? 'dropped' : 'kept',
  );
  return edited === undefined ? member : Buffer.concat([member.subarray(0, valueStart), edited]);
}
