/**
 * The plan: what a run would do, as a document. Nothing is moved to make it, and no archive is read.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import type { PackagePlace } from '../artifact/schema.js';
import { formatArchiveFilename, parseArchiveFilename } from '../conda/names.js';
import { archiveIdentity, type RepodataRecord } from '../conda/package-record.js';
import type { Repodata } from '../conda/repodata.js';
import { FerryError, UnrepresentableError, type FerryErrorCode } from '../errors.js';
import { compareText } from '../io/compare-text.js';

/** Requests to the registry for one archive with its own info and index, and for its manifest. */
const REQUESTS_PER_PACKAGE_LAYER = 2;
const REQUESTS_PER_ARTIFACT = 5;
const REQUESTS_PER_NEW_REPOSITORY = 2;

/** The work on one tag: one name-version-build with whichever of its two archives are wanted. */
export interface PlanItem {
  readonly subdir: string;
  readonly place: PackagePlace;
  /** Archives to push, one or two. */
  readonly add: readonly RepodataRecord[];
  /** Whether one of them takes the place of other bytes under the same name, or of its twin. */
  readonly replaces: boolean;
  /** The twin that makes room, where the schema does not hold both. @see v1/P6 */
  readonly displaced: string | undefined;
  /** The twin that is there already and stays in the artifact. */
  readonly twin: { readonly filename: string; readonly record: RepodataRecord | undefined } | undefined;
}

/** A record that cannot be mirrored, known without touching its archive. */
export interface Refused {
  readonly filename: string;
  readonly code: FerryErrorCode;
  readonly message: string;
  /** Clause of the schema that rules it out, such as `v1/P6`. */
  readonly clause?: string | undefined;
}

/** The plan of one subdir. */
export interface SubdirPlan {
  readonly subdir: string;
  /** Records the source lists. */
  readonly listed: number;
  /** Ordered by repository, so that one token serves all tags of each. */
  readonly items: readonly PlanItem[];
  /** Archives that are there with the right bytes: file name to identity. */
  readonly there: ReadonlyMap<string, string>;
  /** What the schema or the registry cannot hold: not mirrored, and no failure. */
  readonly withheld: readonly Refused[];
  /** Records that are unusable. */
  readonly invalid: readonly Refused[];
  /** What was known to be in the store, listed or not: file name to identity. */
  readonly before: ReadonlyMap<string, string>;
  /** Archives that stay although the source no longer lists them: file name to identity. */
  readonly kept: ReadonlyMap<string, string>;
  /** Bytes of archives to move, as far as the records say. */
  readonly bytes: number;
  /** Requests to the registry for the archives; tokens and metadata are counted apart. */
  readonly requests: number;
}

/** What {@link planSubdir} works with. */
export interface PlanInput {
  readonly store: ChannelStore;
  readonly repodata: Repodata;
  /** What is known to be in the store, listed or not: file name to identity. */
  readonly there: ReadonlyMap<string, string>;
}

/** Readable records of a repodata, those that cannot be mirrored set aside. */
export interface WantedRecords {
  readonly records: readonly (readonly [RepodataRecord, PackagePlace])[];
  readonly withheld: readonly Refused[];
  readonly invalid: readonly Refused[];
}

/**
 * Sorts the source's records into what can be mirrored and what cannot.
 * @param foreign records of others that stay listed; where the schema holds no twins, theirs have no place
 */
export function readWanted(
  store: ChannelStore,
  repodata: Repodata,
  foreign: ReadonlySet<string>,
): WantedRecords {
  const records: (readonly [RepodataRecord, PackagePlace])[] = [];
  const withheld: Refused[] = [];
  const invalid: Refused[] = [];
  for (const read of repodata.records()) {
    if ('error' in read) {
      invalid.push({ filename: read.filename, code: read.error.code, message: read.error.message });
      continue;
    }
    const { record } = read;
    if (archiveIdentity(record) === undefined) {
      const message = `record of \`${record.filename}\` has neither sha256 nor md5`;
      invalid.push({ filename: record.filename, code: 'RECORD_INVALID', message });
      continue;
    }
    try {
      const place = store.schema.placeOf(record);
      store.packageRepository(record.listedIn, place);
      records.push([record, place]);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      withheld.push(refused(record.filename, error));
    }
  }
  if (store.schema.holdsTwins) return { records, withheld, invalid };
  const filenames = new Set(records.map(([{ filename }]) => filename));
  const isSecond = ({ filename, extension }: RepodataRecord): boolean => {
    const twin = twinOf(filename);
    return foreign.has(twin) || (extension === 'tar.bz2' && filenames.has(twin));
  };
  const first: (readonly [RepodataRecord, PackagePlace])[] = [];
  for (const wanted of records) {
    if (isSecond(wanted[0])) withheld.push(twinless(wanted[0]));
    else first.push(wanted);
  }
  return { records: first, withheld, invalid };
}

function refused(filename: string, error: FerryError): Refused {
  const { code, message } = error;
  return error instanceof UnrepresentableError
    ? { filename, code, message, clause: error.clause }
    : { filename, code, message };
}

/** @see v1/P6, v1/B16 */
function twinless({ filename }: RepodataRecord): Refused {
  const message = `the schema holds one archive of a build, and that is \`${twinOf(filename)}\``;
  return refused(filename, new UnrepresentableError('TWIN_UNREPRESENTABLE', 'v1/P6', message));
}

/** Compares what is wanted with what is there, by digest and not by name. */
export function planSubdir(input: PlanInput, wanted: WantedRecords): SubdirPlan {
  const { store, repodata } = input;
  const there = new Map<string, string>();
  const missing = new Map<string, RepodataRecord[]>();
  const byFilename = new Map(wanted.records.map(([record]) => [record.filename, record]));
  const places = new Map<string, PackagePlace>();
  for (const [record, place] of wanted.records) {
    const identity = archiveIdentity(record);
    if (identity !== undefined && input.there.get(record.filename) === identity) {
      there.set(record.filename, identity);
      continue;
    }
    const key = `${place.repository}:${place.tag}`;
    places.set(key, place);
    missing.set(key, [...(missing.get(key) ?? []), record]);
  }
  const items = [...missing].map(([key, add]): PlanItem => {
    const place = places.get(key);
    if (place === undefined) throw new FerryError('INTERNAL', `\`${key}\` has no place`);
    const [only, ...others] = add;
    const other = only === undefined || others.length > 0 ? undefined : twinOf(only.filename);
    const twin = other !== undefined && input.there.has(other) ? other : undefined;
    const displaced = store.schema.holdsTwins ? undefined : twin;
    return {
      subdir: repodata.subdir,
      place,
      add,
      replaces: displaced !== undefined || add.some((record) => input.there.has(record.filename)),
      displaced,
      twin:
        twin === undefined || displaced !== undefined
          ? undefined
          : { filename: twin, record: byFilename.get(twin) },
    };
  });
  items.sort(
    (a, b) => compareText(a.place.repository, b.place.repository) || compareText(a.place.tag, b.place.tag),
  );
  const displaced = new Set(items.map((item) => item.displaced));
  const kept = new Map(
    [...input.there].filter(([filename]) => !repodata.has(filename) && !displaced.has(filename)),
  );
  return {
    subdir: repodata.subdir,
    listed: repodata.recordCount,
    items,
    there,
    before: input.there,
    withheld: wanted.withheld,
    invalid: wanted.invalid,
    kept,
    bytes: sum(items.flatMap((item) => item.add.map((record) => record.size ?? 0))),
    requests: countRequests(store, items, repositoriesOf(store, input.there.keys())),
  };
}

/** Repositories that hold one of these archives. */
export function repositoriesOf(store: ChannelStore, filenames: Iterable<string>): ReadonlySet<string> {
  const repositories = new Set<string>();
  for (const filename of filenames) {
    try {
      repositories.add(store.schema.placeOf(parseArchiveFilename(filename)).repository);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
    }
  }
  return repositories;
}

function countRequests(store: ChannelStore, items: readonly PlanItem[], known: ReadonlySet<string>): number {
  const created = new Set(items.map(({ place }) => place.repository).filter((name) => !known.has(name)));
  const transfers = items.map(
    (item) =>
      item.add.length * REQUESTS_PER_PACKAGE_LAYER +
      REQUESTS_PER_ARTIFACT +
      (item.twin === undefined ? 0 : 1) +
      (item.add.length + (item.twin === undefined ? 0 : 1) > 1 ? 1 : 0),
  );
  return sum(transfers) + created.size * REQUESTS_PER_NEW_REPOSITORY;
}

/** File name of the other archive of the same name-version-build. */
function twinOf(filename: string): string {
  const archive = parseArchiveFilename(filename);
  return formatArchiveFilename({
    ...archive,
    extension: archive.extension === 'conda' ? 'tar.bz2' : 'conda',
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
