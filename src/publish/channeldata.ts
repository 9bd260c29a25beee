import type { JsonObject } from '../conda/record-details.js';
import { compareVersions } from '../conda/version-order.js';
import { compareText } from '../io/compare-text.js';
import type { IndexedInfo } from './indexed-info.js';
import { PACKAGE_FLAGS } from './package-flags.js';
import { eachPreferred, type SubdirRecords } from './subdir-records.js';

/** Version of the layout that is written. */
const CHANNELDATA_VERSION = 1;
/** What is greater counts milliseconds: seconds up to the year 9999. */
const MAX_SECONDS = 253_402_300_799;

/** Texts that are taken over from `info/about.json`, as conda-index does. CEP 38 knows some of them. */
const ABOUT_TEXTS = [
  'description',
  'dev_url',
  'doc_source_url',
  'doc_url',
  'home',
  'license',
  'summary',
] as const;
/** Further values that are taken over as they stand. */
const ABOUT_VALUES = ['identifiers', 'keywords', 'recipe_origin', 'tags'] as const;
/** Texts that stand on one line. */
const ONE_LINE: ReadonlySet<string> = new Set(['description', 'summary']);

/** A subdir as {@link makeChanneldata} sees it. */
export interface ChanneldataSubdir {
  readonly subdir: string;
  /** As they are published: patched, and without what is removed. */
  readonly records: SubdirRecords;
  /** What the archive says beside its record; `undefined` where that is not known. */
  readonly infoOf: (filename: string) => IndexedInfo | undefined;
}

/** One record of a package. */
interface Candidate {
  readonly version: string;
  /** In seconds since 1970; 0 where it is not said. */
  readonly seconds: number;
  readonly subdir: string;
  readonly filename: string;
  readonly record: JsonObject;
  readonly info: IndexedInfo | undefined;
}

/**
 * Makes `channeldata.json`: for each package its newest version, what its newest records say of it, run exports of each
 * version by the newest record of that, and what is so of any of its records. It depends on nothing but the records: no
 * earlier channeldata goes in, so packages that are gone are gone from it.
 * @returns such as `{ channeldata_version: 1, packages: { zlib: { version: '1.3.1', timestamp: 1700000000, … } }, subdirs: ['noarch'] }`
 * @see CEP 38
 */
export function makeChanneldata(subdirs: readonly ChanneldataSubdir[]): JsonObject {
  const byName = new Map<string, Candidate[]>();
  for (const { subdir, records, infoOf } of subdirs) {
    for (const [filename, record] of eachPreferred(records)) {
      const { name, version, timestamp } = record;
      if (typeof name !== 'string' || typeof version !== 'string') continue;
      const seconds = secondsOf(timestamp);
      const candidate = { version, seconds, subdir, filename, record, info: infoOf(filename) };
      const known = byName.get(name);
      if (known === undefined) byName.set(name, [candidate]);
      else known.push(candidate);
    }
  }
  const packages = [...byName].sort(([a], [b]) => compareText(a, b));
  return {
    channeldata_version: CHANNELDATA_VERSION,
    packages: Object.fromEntries(packages.map(([name, candidates]) => [name, summarize(candidates)])),
    subdirs: subdirs.map(({ subdir }) => subdir).toSorted(),
  };
}

function summarize(candidates: Candidate[]): JsonObject {
  candidates.sort(compareCandidates);
  const summary: Record<string, unknown> = {
    version: candidates[0]?.version ?? '',
    timestamp: candidates.reduce((newest, { seconds }) => Math.max(newest, seconds), 0),
    subdirs: [...new Set(candidates.map(({ subdir }) => subdir))].sort(),
    run_exports: runExportsByVersion(candidates),
  };
  for (const flag of PACKAGE_FLAGS) summary[flag] = candidates.some(({ info }) => info?.flags[flag] === true);
  for (const field of FIELDS) {
    for (const candidate of candidates) {
      const value = field.read(candidate);
      if (value === undefined) continue;
      summary[field.name] = value;
      break;
    }
  }
  return summary;
}

/** The newest version first, of that the newest record. */
function compareCandidates(a: Candidate, b: Candidate): number {
  return (
    compareVersions(b.version, a.version) ||
    b.seconds - a.seconds ||
    compareText(a.subdir, b.subdir) ||
    compareText(a.filename, b.filename)
  );
}

/** @param candidates the newest first */
function runExportsByVersion(candidates: readonly Candidate[]): JsonObject {
  const byVersion = new Map<string, JsonObject>();
  for (const { version, info } of candidates) {
    const { runExports = {} } = info ?? {};
    if (!byVersion.has(version) && Object.keys(runExports).length > 0) byVersion.set(version, runExports);
  }
  return Object.fromEntries(byVersion);
}

const FIELDS: readonly { readonly name: string; readonly read: (candidate: Candidate) => unknown }[] = [
  ...ABOUT_TEXTS.map((name) => ({
    name,
    // A record may be patched, so it goes first: that is so of the licence.
    read: ({ record, info }: Candidate) => textOf(record[name] ?? info?.about[name], ONE_LINE.has(name)),
  })),
  ...ABOUT_VALUES.map((name) => ({
    name,
    read: ({ record, info }: Candidate) => presentOf(record[name] ?? info?.about[name]),
  })),
  { name: 'source_url', read: ({ info }: Candidate) => info?.source['url'] },
  { name: 'source_git_url', read: ({ info }: Candidate) => textOf(info?.source['git_url'], false) },
];

/** A text; the first one of a list, as some recipes have it. */
function textOf(value: unknown, isOneLine: boolean): string | undefined {
  const text: unknown = Array.isArray(value) ? value[0] : value;
  if (typeof text !== 'string') return undefined;
  const shown = isOneLine ? text.trim().replaceAll('\n', ' ') : text;
  return shown === '' ? undefined : shown;
}

function presentOf(value: unknown): unknown {
  const isEmpty = value === null || value === '' || (Array.isArray(value) && value.length === 0);
  return isEmpty ? undefined : value;
}

function secondsOf(timestamp: unknown): number {
  if (typeof timestamp !== 'number' || !Number.isFinite(timestamp) || timestamp < 0) return 0;
  return Math.floor(timestamp > MAX_SECONDS ? timestamp / 1000 : timestamp);
}
