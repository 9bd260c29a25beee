import type { IndexJson } from '../../conda/archive/index-json.js';
import { archiveUrl } from '../../conda/repodata/archive-url.js';
import type { WantedArchive } from './find-archives.js';

/** What {@link cacheRecord} makes a record of. */
export interface CacheRecordInput {
  readonly wanted: WantedArchive;
  /** URL of the channel that the record is to name. */
  readonly channel: string;
  /** Whether the channel was given on purpose, and wins over what a lock file says. */
  readonly isGiven: boolean;
  readonly index: IndexJson;
  /** Of the archive, in bytes. */
  readonly size: number;
}

/**
 * What conda keeps of an unpacked package in `info/repodata_record.json`: the record with where it came from. Shape:
 * `{ "channel": "https://conda.anaconda.org/conda-forge/noarch", "fn": "a-1-0.conda", "name": "a", …, "url": "https://…" }`,
 * keys in order. Of an archive that no repodata lists, it is made of `info/index.json`, as conda does it.
 */
export function cacheRecord(input: CacheRecordInput): Readonly<Record<string, unknown>> {
  const { wanted, index, size } = input;
  const { filename, subdir, sha256, locked } = wanted;
  const { channel, url } = placeOf(input);
  const md5 = wanted.record?.md5 ?? locked?.md5;
  const known = { sha256, size, subdir, ...(md5 === undefined ? {} : { md5 }) };
  const record = { ...(wanted.document ?? index), ...known, channel, fn: filename, url };
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Clients ask for a locked package by the URL that the lock file tells, so that one is kept. */
function placeOf({ wanted, channel, isGiven }: CacheRecordInput): { channel: string; url: string } {
  const { subdir, filename, locked, record } = wanted;
  if (locked?.channel !== undefined && !isGiven)
    return { channel: `${withoutToken(locked.channel)}/${subdir}`, url: withoutToken(locked.url) };
  const base = `${channel.replace(/\/+$/, '')}/${subdir}`;
  const url =
    record?.url === undefined || isGiven ? `${base}/${filename}` : archiveUrl(base, filename, record.url);
  return { channel: base, url };
}

/** Secrets are masked already; conda leaves out where they stood. */
function withoutToken(url: string): string {
  return url.replace('/t/***', '').replace(/\/\/\*\*\*(?::\*\*\*)?@/, '//');
}
