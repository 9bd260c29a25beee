/** Takes repodata apart by package name, as shards have it; one package at a time is in memory as values. */
import { compareText } from '../../io/compare-text.js';
import { JsonCursor, type Span } from '../json-cursor.js';
import { SHARD_SECTIONS, type JsonObject, type ShardContent } from './shard-files.js';

type Section = (typeof SHARD_SECTIONS)[number];

/** Where what is said of one package stands. */
interface Place {
  readonly packages: Map<string, Span>;
  readonly 'packages.conda': Map<string, Span>;
  readonly removed: string[];
  readonly v3: Map<string, Map<string, Span>>;
}

/**
 * Splits a subdir's repodata into the contents of its shards, sorted by package name. Of a key that stands twice the last one
 * counts. Records whose keys hold no package name, and those that are no objects, are left out: no client can use them.
 * @param bytes the JSON text
 * @returns such as `{ name: 'zlib', content: { packages, 'packages.conda', removed: [] } }`
 * @throws ParseError `REPODATA_INVALID`
 * @see CEP 16, CEP 36, CEP 48
 */
export function* splitRepodata(
  bytes: Uint8Array,
): Generator<{ readonly name: string; readonly content: ShardContent }> {
  // CEP 26 takes an empty file for an empty object.
  if (bytes.byteLength === 0) return;
  const cursor = new JsonCursor(bytes);
  for (const [name, place] of [...placesIn(cursor)].sort(([a], [b]) => compareText(a, b))) {
    if (name === '') continue;
    const content = {
      packages: decode(cursor, place.packages),
      'packages.conda': decode(cursor, place['packages.conda']),
      removed: place.removed,
      v3: new Map([...place.v3].map(([extension, spans]) => [extension, decode(cursor, spans)])),
    };
    const isEmpty =
      SHARD_SECTIONS.every((section) => content[section].size === 0) &&
      content.removed.length === 0 &&
      content.v3.size === 0;
    if (!isEmpty) yield { name, content };
  }
}

/**
 * The package name in a key of repodata, with or without extension: `zlib` of `zlib-1.2.11-0.conda`. Empty where it holds
 * none.
 */
export function packageNameOf(key: string): string {
  return key.split('-').slice(0, -2).join('-');
}

function placesIn(cursor: JsonCursor): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  const placeOf = (filename: string): Place => {
    const name = packageNameOf(filename);
    const known = places.get(name);
    if (known !== undefined) return known;
    const place = { packages: new Map(), 'packages.conda': new Map(), removed: [], v3: new Map() };
    places.set(name, place);
    return place;
  };
  cursor.readObject((key) => {
    if (isSection(key)) {
      // A section that stands twice counts as the last one.
      for (const place of places.values()) place[key].clear();
      cursor.readObject((filename) => placeOf(filename)[key].set(filename, cursor.skipValue()));
    } else if (key === 'v3') {
      for (const place of places.values()) place.v3.clear();
      cursor.readObject((extension) => {
        cursor.readObject((stem) => {
          const { v3 } = placeOf(stem);
          v3.set(extension, (v3.get(extension) ?? new Map<string, Span>()).set(stem, cursor.skipValue()));
        });
      });
    } else {
      const span = cursor.skipValue();
      if (key !== 'removed') return;
      const removed = cursor.decode(span);
      for (const filename of Array.isArray(removed) ? removed : [])
        if (typeof filename === 'string') placeOf(filename).removed.push(filename);
    }
  });
  cursor.expectEnd();
  return places;
}

function decode(cursor: JsonCursor, spans: ReadonlyMap<string, Span>): ReadonlyMap<string, JsonObject> {
  const records = new Map<string, JsonObject>();
  for (const [key, span] of spans) {
    const value = cursor.decode(span);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      records.set(key, value as JsonObject);
  }
  return records;
}

function isSection(key: string): key is Section {
  return SHARD_SECTIONS.some((section) => section === key);
}
