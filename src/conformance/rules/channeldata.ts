import { isSubdir } from '../../conda/names.js';
import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import {
  asJsonObject,
  isJsonObject,
  literals,
  pointTo,
  quote,
  stringsIn,
  type JsonObject,
} from './json-value.js';
import type { ListedRecord } from './repodata-text.js';

/**
 * Seconds up to the year 9999, in which a time in milliseconds would lie before 1978: what is greater counts
 * milliseconds.
 */
const MAX_SECONDS = 253_402_300_799;

interface PackageSummary {
  readonly subdirs: Set<string>;
  readonly versions: Set<string>;
  /** In seconds. */
  newest?: number;
}

/** What the repodata of all subdirs says by package name: gathered record by record, then held against channeldata. */
export class PackageSummaries {
  readonly #summaries = new Map<string, PackageSummary>();

  /** Takes in one record. */
  add({ value }: Pick<ListedRecord, 'value'>, subdir: string): void {
    const { name, version, timestamp } = asJsonObject(value);
    if (typeof name !== 'string') return;
    const summary = this.#summaries.get(name) ?? { subdirs: new Set(), versions: new Set() };
    this.#summaries.set(name, summary);
    summary.subdirs.add(subdir);
    if (typeof version === 'string') summary.versions.add(version);
    if (typeof timestamp !== 'number') return;
    // Records of old build tools count seconds.
    const seconds = Math.floor(timestamp > MAX_SECONDS ? timestamp / 1000 : timestamp);
    summary.newest = Math.max(seconds, summary.newest ?? seconds);
  }

  /** All package names. */
  names(): IterableIterator<string> {
    return this.#summaries.keys();
  }

  /** What is known of a package. */
  get(name: string): Readonly<PackageSummary> | undefined {
    return this.#summaries.get(name);
  }
}

/** What {@link checkChanneldata} looks at. */
export interface ChanneldataSubject {
  /** The parsed `channeldata.json`. */
  readonly value: unknown;
  /** Its place, such as `channeldata.json`. */
  readonly where: string;
  /** Subdirs that the channel has. */
  readonly subdirs: readonly string[];
  /** What all of its repodata says; without it records are not compared. */
  readonly packages?: PackageSummaries | undefined;
}

/** Checks a channel's `channeldata.json`, and holds it against the repodata. */
export function checkChanneldata(subject: ChanneldataSubject, log: CheckLog): void {
  const { value, where, subdirs, packages } = subject;
  checkDocument('channeldata', value, where, log);
  if (!isJsonObject(value)) return;
  const named = value['subdirs'];
  if (Array.isArray(named)) {
    const odd = stringsIn(named).filter((subdir) => !isSubdir(subdir));
    log.expect('cep36/subdir-names', odd.length === 0, () => ({
      where: pointTo(where, 'subdirs'),
      found: literals(odd),
      expected: '`noarch`, or `<os>-<arch>`',
    }));
    const missing = subdirs.filter((subdir) => !named.includes(subdir));
    log.expect('cep38/subdirs-complete', missing.length === 0, () => ({
      where: pointTo(where, 'subdirs'),
      found: `nothing of ${quote(missing)}`,
      expected: 'every subdir that has repodata',
    }));
  }
  // A subdir that is there, and that the channel data leaves out, was told above.
  const ofChannel = Array.isArray(named) ? [...stringsIn(named), ...subdirs] : undefined;
  const listed = value['packages'];
  if (!isJsonObject(listed)) return;
  for (const [name, item] of Object.entries(listed)) {
    if (!isJsonObject(item)) continue;
    const place = pointTo(where, 'packages', name);
    checkSubdirs(item, ofChannel, packages?.get(name), place, log);
    checkTimestamp(item, packages?.get(name), place, log);
    checkNewestVersion(item, packages?.get(name), place, log);
  }
  for (const name of packages?.names() ?? []) {
    log.expect('cep38/packages-complete', Object.hasOwn(listed, name), () => ({
      where: pointTo(where, 'packages'),
      found: `nothing of ${quote(name)}`,
      expected: 'every package that the repodata lists',
    }));
  }
}

function checkSubdirs(
  item: JsonObject,
  ofChannel: readonly string[] | undefined,
  summary: Readonly<PackageSummary> | undefined,
  where: string,
  log: CheckLog,
): void {
  if (!Array.isArray(item['subdirs'])) return;
  const named = stringsIn(item['subdirs']);
  const foreign = named.filter((subdir) => ofChannel?.includes(subdir) === false);
  const missing = [...(summary?.subdirs ?? [])].filter((subdir) => !named.includes(subdir));
  log.expect('cep38/package-subdirs-agree', foreign.length === 0 && missing.length === 0, () => ({
    where: pointTo(where, 'subdirs'),
    found: quote(named),
    expected: [
      ...(foreign.length > 0 ? [`not ${quote(foreign)}, which the channel does not name`] : []),
      ...(missing.length > 0 ? [`${quote(missing)} too, where it is listed`] : []),
    ].join('; '),
  }));
}

function checkTimestamp(
  item: JsonObject,
  summary: Readonly<PackageSummary> | undefined,
  where: string,
  log: CheckLog,
): void {
  const timestamp = item['timestamp'];
  if (typeof timestamp !== 'number') return;
  const isSeconds = log.expect('cep38/timestamp-seconds', timestamp <= MAX_SECONDS, () => ({
    where: pointTo(where, 'timestamp'),
    found: `${String(timestamp)}, which looks like milliseconds`,
    expected: 'seconds since 1970',
  }));
  const newest = summary?.newest;
  if (!isSeconds || newest === undefined) return;
  // Indexers round one way or the other.
  log.expect('cep38/timestamp-newest', Math.abs(timestamp - newest) <= 1, () => ({
    where: pointTo(where, 'timestamp'),
    found: String(timestamp),
    expected: `${String(newest)}, as the newest record says`,
  }));
}

function checkNewestVersion(
  item: JsonObject,
  summary: Readonly<PackageSummary> | undefined,
  where: string,
  log: CheckLog,
): void {
  const version = item['version'];
  if (typeof version !== 'string' || summary === undefined) return;
  log.expect('cep38/version-listed', summary.versions.has(version), () => ({
    where: pointTo(where, 'version'),
    found: `${quote(version)}, which no record has`,
    expected: 'the newest version that is listed',
  }));
}
