/**
 * `current_repodata.json`: what conda's classic solver asks for first, since most installs need no more than the newest
 * versions. What it cannot solve with that, it solves with all of the repodata.
 */
import { matchesRecord } from '../conda/match-spec/matches-record.js';
import { parseMatchSpec, type MatchSpec } from '../conda/match-spec/match-spec.js';
import { withDetails, type JsonObject, type RecordDetails } from '../conda/record-details.js';
import { compareVersions } from '../conda/version-order.js';
import { isFerryError } from '../errors.js';
import { compareText } from '../io/compare-text.js';
import { eachPreferred, type SubdirRecords } from './subdir-records.js';

/** Records of a package, the newest version first. */
type Groups = ReadonlyMap<string, readonly RecordDetails[]>;

/**
 * Selects the records of `current_repodata.json`, as conda-index does: of each package its newest version; where a record
 * among those needs something that is not among them, the newest version that will do; and of a package that tracks
 * features, the newest record that has none. One step only: what the added records need is not looked at. Of archives in
 * both formats only the `.conda` is taken, and says md5 and size of its twin, so that what is installed is recognised.
 * @param records as they are published
 */
export function selectCurrent(records: SubdirRecords, subdir: string): SubdirRecords {
  const all = groupsOf(records, subdir);
  const newest = new Map<string, ReadonlySet<RecordDetails>>();
  for (const [name, group] of all) newest.set(name, sameVersion(name, group));
  const met = addMissing(newest, all);
  return restrict(records, addFeatureless(met, all));
}

function groupsOf(records: SubdirRecords, subdir: string): Groups {
  const groups = new Map<string, RecordDetails[]>();
  for (const [filename, record] of eachPreferred(records)) {
    const details = detailsOf(filename, record, subdir);
    // Nobody can ask for what has no name.
    if (details === undefined) continue;
    const group = groups.get(details.name);
    if (group === undefined) groups.set(details.name, [details]);
    else group.push(details);
  }
  for (const group of groups.values()) group.sort(compareNewestFirst);
  return groups;
}

function detailsOf(filename: string, record: JsonObject, subdir: string): RecordDetails | undefined {
  const { name, version, build, md5, sha256 } = record;
  if (typeof name !== 'string' || typeof version !== 'string' || typeof build !== 'string') return undefined;
  const sums = { md5: textOf(md5), sha256: textOf(sha256) };
  const extension = filename.endsWith('.conda') ? 'conda' : 'tar.bz2';
  return withDetails({ filename, extension, listedIn: subdir, name, version, build, ...sums }, record);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** The order that conda's solver prefers records in. */
function compareNewestFirst(a: RecordDetails, b: RecordDetails): number {
  return (
    compareVersions(b.version, a.version) ||
    b.buildNumber - a.buildNumber ||
    (b.timestampMs ?? 0) - (a.timestampMs ?? 0) ||
    compareText(b.build, a.build)
  );
}

/** All of a package that `name=version` asks for, version being that of the first record: `1.2` takes `1.2rc1` in, too. */
function sameVersion(
  name: string,
  group: readonly RecordDetails[],
  version = group[0]?.version ?? '',
): ReadonlySet<RecordDetails> {
  const spec = tryParse(`${name}=${version}`);
  const fits =
    spec === undefined
      ? (record: RecordDetails) => compareVersions(record.version, version) === 0
      : (record: RecordDetails) => matchesRecord(spec, record);
  return new Set(group.filter(fits));
}

function addMissing(
  newest: ReadonlyMap<string, ReadonlySet<RecordDetails>>,
  all: Groups,
): ReadonlyMap<string, ReadonlySet<RecordDetails>> {
  const added = new Map(newest);
  const seen = new Set<string>();
  for (const group of newest.values()) {
    for (const text of [...group].flatMap(({ depends }) => depends)) {
      if (seen.has(text)) continue;
      seen.add(text);
      const spec = tryParse(text);
      if (spec === undefined || findFirst(spec, newest) !== undefined) continue;
      const found = findFirst(spec, all);
      if (found === undefined) continue;
      const { name, version } = found;
      const others = sameVersion(name, all.get(name) ?? [], version);
      added.set(name, new Set([...(added.get(name) ?? []), ...others]));
    }
  }
  return added;
}

function findFirst(
  spec: MatchSpec,
  groups: ReadonlyMap<string, Iterable<RecordDetails>>,
): RecordDetails | undefined {
  const { kind, source } = spec.name;
  const candidates = kind === 'exact' ? [groups.get(source.toLowerCase()) ?? []] : groups.values();
  for (const group of candidates) for (const record of group) if (matchesRecord(spec, record)) return record;
  return undefined;
}

function addFeatureless(
  selected: ReadonlyMap<string, ReadonlySet<RecordDetails>>,
  all: Groups,
): ReadonlySet<string> {
  const filenames = new Set<string>();
  for (const [name, group] of selected) {
    for (const { filename } of group) filenames.add(filename);
    if (![...group].some(hasFeatures)) continue;
    // None is newer than what is selected, so the first one in the whole group will do.
    const plain = all.get(name)?.find((record) => !hasFeatures(record));
    if (plain !== undefined) filenames.add(plain.filename);
  }
  return filenames;
}

function hasFeatures({ trackFeatures, features = '' }: RecordDetails): boolean {
  return trackFeatures.length > 0 || features !== '';
}

function restrict(records: SubdirRecords, filenames: ReadonlySet<string>): SubdirRecords {
  const packages = [...records.packages].filter(([filename]) => filenames.has(filename));
  const conda = [...records['packages.conda']]
    .filter(([filename]) => filenames.has(filename))
    .map(([filename, record]) => {
      const { md5, size } = records.packages.get(filename.replace(/\.conda$/, '.tar.bz2')) ?? {};
      const twin = md5 === undefined ? {} : { legacy_bz2_md5: md5, legacy_bz2_size: size };
      return [filename, { ...record, ...twin }] as const;
    });
  return { packages: new Map(packages), 'packages.conda': new Map(conda), removed: records.removed };
}

function tryParse(text: string): MatchSpec | undefined {
  try {
    return parseMatchSpec(text);
  } catch (error) {
    if (!isFerryError(error, 'MATCH_SPEC_INVALID')) throw error;
    return undefined;
  }
}
