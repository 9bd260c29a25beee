import { JsonCursor, type Span } from '../../conda/json-cursor.js';
import { concatBytes } from '../../io/bytes.js';

/** Tells whether a key or an item stays. */
type Keep = (text: string) => boolean;

/** Top-level members of a document that are filtered; all others stay as they stand. */
export interface JsonFilter {
  /** Members that are objects: which of their keys stay, such as `{ packages: isStored }`. */
  readonly objects?: Readonly<Record<string, Keep>>;
  /** Members that are arrays of strings: which of their items stay. */
  readonly lists?: Readonly<Record<string, Keep>>;
}

/**
 * Filters a JSON object out of its own bytes, without building it: a file of 200 MB costs little more than its size.
 * @returns the filtered text; `undefined` where all of it stays, so that it may be published as it is
 * @throws ParseError `REPODATA_INVALID` for what is no JSON object, or has something else where an object is filtered
 */
export function filterJson(bytes: Uint8Array, filter: JsonFilter): Uint8Array | undefined {
  const cursor = new JsonCursor(bytes);
  const slice = ({ start, end }: Span): Uint8Array => bytes.subarray(start, end);
  const members: Uint8Array[][] = [];
  const changed = new Set<string>();
  cursor.readObject((key, keySpan) => {
    const objectFilter = own(filter.objects, key);
    const listFilter = own(filter.lists, key);
    const kept: Uint8Array[] = [];
    let value: Span;
    let replaced: Uint8Array[] | undefined;
    if (objectFilter !== undefined) {
      let dropped = 0;
      value = cursor.readObject((name, nameSpan) => {
        const { end } = cursor.skipValue();
        if (objectFilter(name)) kept.push(slice({ start: nameSpan.start, end }));
        else dropped += 1;
      });
      if (dropped > 0) replaced = [encode('{'), ...separated(kept), encode('}')];
    } else {
      value = cursor.skipValue();
      if (listFilter !== undefined) replaced = filteredList(cursor.decode(value), listFilter);
    }
    if (replaced !== undefined) changed.add(key);
    members.push([
      slice({ start: keySpan.start, end: keySpan.end }),
      encode(':'),
      ...(replaced ?? [slice(value)]),
    ]);
  });
  cursor.expectEnd();
  if (changed.size === 0) return undefined;
  const comma = encode(',');
  const parts = members.flatMap((member, i) => (i === 0 ? member : [comma, ...member]));
  return concatBytes([encode('{'), ...parts, encode('}\n')]);
}

/** Walks over a document that is published as it is. @throws ParseError `REPODATA_INVALID` for what is no JSON object */
export function checkJson(bytes: Uint8Array): void {
  filterJson(bytes, {});
}

/** The list without what does not stay; `undefined` where it is none, or all of it stays. */
function filteredList(value: unknown, keep: Keep): Uint8Array[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items: readonly unknown[] = value;
  const kept = items.filter((item) => typeof item !== 'string' || keep(item));
  return kept.length === items.length ? undefined : [encode(JSON.stringify(kept))];
}

function separated(members: readonly Uint8Array[]): Uint8Array[] {
  const separator = encode(',\n');
  return members.flatMap((member, i) => (i === 0 ? [member] : [separator, member]));
}

/** A key such as `constructor` is no filter. */
function own(filters: Readonly<Record<string, Keep>> | undefined, key: string): Keep | undefined {
  return filters !== undefined && Object.hasOwn(filters, key) ? filters[key] : undefined;
}

function encode(text: string): Uint8Array {
  return Buffer.from(text, 'utf8');
}
