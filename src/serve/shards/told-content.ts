import { KNOWN_REVISION, sectionIndex } from '../../conda/repodata/sections.js';
import type { JsonObject, ShardContent } from '../../conda/shards/shard-files.js';

type Records = ReadonlyMap<string, JsonObject>;

/**
 * What clients are told of a package where the repodata would lead them elsewhere: no `url`, no records that stand where they do
 * not belong, none of formats that OCI has no media type for, and none of a revision that contradict those of the same archive
 * in a classic section. The same as `Repodata.splice` leaves of it.
 * @returns `undefined` where nothing is left
 */
export function toldContent(content: ShardContent): ShardContent | undefined {
  const packages = told(content.packages, (key) => key.endsWith('.tar.bz2'));
  const conda = told(content['packages.conda'], (key) => key.endsWith('.conda'));
  const v3 = new Map<string, Records>();
  for (const [extension, records] of content.v3 ?? []) {
    if (!isArchiveExtension(extension)) continue;
    const classic = extension === 'conda' ? conda : packages;
    const left = told(records, (stem, record) => !contradict(record, classic.get(`${stem}.${extension}`)));
    if (left.size > 0) v3.set(extension, left);
  }
  const isEmpty = packages.size + conda.size + content.removed.length + v3.size === 0;
  return isEmpty ? undefined : { packages, 'packages.conda': conda, removed: content.removed, v3 };
}

/** How many archives are listed; one that a revision lists as well counts once. */
export function countArchives({ packages, 'packages.conda': conda, v3 }: ShardContent): number {
  const filenames = new Set([...packages.keys(), ...conda.keys()]);
  for (const [extension, records] of v3 ?? [])
    if (isArchiveExtension(extension))
      for (const stem of records.keys()) filenames.add(`${stem}.${extension}`);
  return filenames.size;
}

/** Tells whether a section of the known revision is of archives, and not of wheels, say. */
function isArchiveExtension(extension: string): boolean {
  return sectionIndex(`${KNOWN_REVISION}.${extension}`) >= 0;
}

function told(records: Records, isWanted: (key: string, record: JsonObject) => boolean): Records {
  const left = new Map<string, JsonObject>();
  for (const [key, record] of records) {
    if (!isWanted(key, record)) continue;
    const { url, ...rest } = record;
    // `null` sends nobody anywhere.
    left.set(key, url === undefined || url === null ? record : rest);
  }
  return left;
}

/** Whether two records cannot be of one archive. */
function contradict(a: JsonObject, b: JsonObject | undefined): boolean {
  if (b === undefined) return false;
  for (const [key, length] of [['sha256', 64] as const, ['md5', 32] as const]) {
    const [one, other] = [digestIn(a[key], length), digestIn(b[key], length)];
    if (one !== undefined && other !== undefined) return one !== other;
  }
  return false;
}

function digestIn(value: unknown, length: number): string | undefined {
  const isDigest = typeof value === 'string' && value.length === length && /^[0-9a-fA-F]+$/.test(value);
  return isDigest ? value.toLowerCase() : undefined;
}
