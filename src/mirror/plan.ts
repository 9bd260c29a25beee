/**
 * The plan: what a run would do, as a document. Nothing is moved to make it, and no archive is read.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import type { PackagePlace } from '../artifact/schema.js';
import { parseArchiveFilename } from '../conda/names.js';
import { archiveIdentity, type RepodataRecord } from '../conda/package-record.js';
import type { ReadRecord, Repodata } from '../conda/repodata/repodata.js';
import { FerryError, UnrepresentableError, type FerryErrorCode } from '../errors.js';
import type { KnownArchives } from './known-archives.js';

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
  /** Archives that are there with the right bytes. */
  readonly there: number;
  /** Whether an archive is wanted, and there with the right bytes. */
  readonly isThere: (filename: string) => boolean;
  /** Such as `sha256:…`, of a wanted archive. */
  readonly identity: (filename: string) => string | undefined;
  /** Archives that are wanted although the source lists them no more. */
  readonly unlisted: ReadonlySet<string>;
  /** Archives to push. */
  readonly toAdd: number;
  /** Artifacts they go into: twins share one. */
  readonly artifacts: number;
  /** Artifacts that take the place of others. */
  readonly replaced: number;
  /**
   * The work, one tag at a time, ordered by package, so that one token serves all tags of each repository. Made anew
   * each time: of a million items only the names are kept.
   */
  readonly items: () => Generator<PlanItem>;
  /** What the schema or the registry cannot hold: not mirrored, and no failure. */
  readonly withheld: readonly Refused[];
  /** Records that are unusable. */
  readonly invalid: readonly Refused[];
  /** What was known to be in the store, listed or not. */
  readonly before: KnownArchives;
  /** Archives that stay although they are not wanted any more: file name to identity. */
  readonly kept: ReadonlyMap<string, string>;
  /** Bytes of archives to move, as far as the records say. */
  readonly bytes: number;
}

/** What {@link planSubdir} works with. */
export interface PlanInput {
  readonly store: ChannelStore;
  /** What is known to be in the store, listed or not. */
  readonly known: KnownArchives;
}

/** A record with where its archive goes. */
export type PlacedRecord = readonly [RepodataRecord, PackagePlace];

/** What {@link WantedRecords} are made of. */
export interface WantedInput {
  readonly store: ChannelStore;
  readonly repodata: Repodata;
  /** Where records stand that the repodata lists no more, and whose archives are wanted all the same. @defaultValue none */
  readonly removed?: Repodata | undefined;
  /** Records of others that stay listed; where the schema holds no twins, theirs have no place. @defaultValue none */
  readonly foreign?: ReadonlySet<string> | undefined;
  /** What filters let pass. @defaultValue all */
  readonly wants?: ((filename: string) => boolean) | undefined;
}

/** The records of a repodata that are wanted and can be mirrored; the others are set aside. */
export class WantedRecords {
  readonly repodata: Repodata;
  readonly withheld: readonly Refused[];
  readonly invalid: readonly Refused[];
  readonly #store: ChannelStore;
  readonly #removed: Repodata | undefined;
  readonly #wants: (filename: string) => boolean;
  readonly #refused = new Set<string>();

  constructor({ store, repodata, removed, foreign = new Set(), wants = () => true }: WantedInput) {
    this.repodata = repodata;
    this.#store = store;
    this.#removed = removed;
    this.#wants = wants;
    const withheld: Refused[] = [];
    const invalid: Refused[] = [];
    for (const { filename, error } of this.#invalid())
      invalid.push({ filename, code: error.code, message: error.message });
    for (const { filename } of invalid) this.#refused.add(filename);
    for (const record of this.#readable()) {
      const fault = faultOf(store, record);
      if (fault === undefined) continue;
      (fault.isOfRecord ? invalid : withheld).push(fault.refused);
      this.#refused.add(record.filename);
    }
    if (!store.schema.holdsTwins) {
      for (const filename of this.#seconds(foreign)) {
        withheld.push(twinless(filename));
        this.#refused.add(filename);
      }
    }
    for (const { filename, section } of repodata.withheld()) {
      const message = `records under \`${section}\` have no media type in OCI yet`;
      withheld.push({ filename, code: 'UNSUPPORTED', message });
    }
    this.withheld = withheld;
    this.invalid = invalid;
  }

  /** Whether an archive is wanted. */
  has(filename: string): boolean {
    const isKnown = this.repodata.has(filename) || this.#removed?.has(filename) === true;
    return isKnown && this.#wants(filename) && !this.#refused.has(filename);
  }

  /** Records, ordered by package, then by file name; what is listed no more comes last. */
  *records(): Generator<RepodataRecord> {
    for (const record of this.#readable()) if (!this.#refused.has(record.filename)) yield record;
  }

  /** The record of a file name that {@link has} knows. */
  get(filename: string): PlacedRecord | undefined {
    const read = this.has(filename) ? this.#sourceOf(filename)?.get(filename) : undefined;
    if (read === undefined || 'error' in read) return undefined;
    return [read.record, this.#store.schema.placeOf(read.record)];
  }

  /** Such as `sha256:…`. */
  identity(filename: string): string | undefined {
    return this.#sourceOf(filename)?.identity(filename);
  }

  #sourceOf(filename: string): Repodata | undefined {
    return this.repodata.has(filename) ? this.repodata : this.#removed;
  }

  *#readable(): Generator<RepodataRecord> {
    for (const { records } of this.repodata.packages())
      for (const record of records) if (this.#wants(record.filename)) yield record;
    for (const { records } of this.#removed?.packages() ?? [])
      for (const record of records)
        if (!this.repodata.has(record.filename) && this.#wants(record.filename)) yield record;
  }

  *#invalid(): Generator<Extract<ReadRecord, { readonly error: unknown }>> {
    for (const read of this.repodata.invalid()) if (this.#wants(read.filename)) yield read;
    for (const read of this.#removed?.invalid() ?? [])
      if (!this.repodata.has(read.filename) && this.#wants(read.filename)) yield read;
  }

  /** Archives that make room for their twins. */
  #seconds(foreign: ReadonlySet<string>): readonly string[] {
    const seconds: string[] = [];
    for (const { filename } of this.records()) {
      const twin = twinOf(filename);
      if (foreign.has(twin) || (filename.endsWith('.tar.bz2') && this.has(twin))) seconds.push(filename);
    }
    return seconds;
  }
}

interface Fault {
  readonly isOfRecord: boolean;
  readonly refused: Refused;
}

function faultOf(store: ChannelStore, record: RepodataRecord): Fault | undefined {
  const { filename } = record;
  if (archiveIdentity(record) === undefined) {
    const message = `record of \`${filename}\` has neither sha256 nor md5`;
    return { isOfRecord: true, refused: { filename, code: 'RECORD_INVALID', message } };
  }
  try {
    store.packageRepository(record.listedIn, store.schema.placeOf(record));
    return undefined;
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    return { isOfRecord: false, refused: refused(filename, error) };
  }
}

function refused(filename: string, error: FerryError): Refused {
  const { code, message } = error;
  return error instanceof UnrepresentableError
    ? { filename, code, message, clause: error.clause }
    : { filename, code, message };
}

/** @see v1/P6, v1/B16 */
function twinless(filename: string): Refused {
  const message = `the schema holds one archive of a build, and that is \`${twinOf(filename)}\``;
  return refused(filename, new UnrepresentableError('TWIN_UNREPRESENTABLE', 'v1/P6', message));
}

/** Compares what is wanted with what is there, by digest and not by name. */
export function planSubdir({ store, known }: PlanInput, wanted: WantedRecords): SubdirPlan {
  const { repodata } = wanted;
  const { subdir } = repodata;
  const missing = new Set<string>();
  const unlisted = new Set<string>();
  let there = 0;
  let bytes = 0;
  for (const record of wanted.records()) {
    const { filename } = record;
    const identity = archiveIdentity(record);
    const isListed = repodata.has(filename);
    if (!isListed) unlisted.add(filename);
    if (identity !== undefined && known.identity(filename) === identity) {
      if (isListed) there += 1;
      continue;
    }
    missing.add(filename);
    bytes += record.size ?? 0;
  }

  const inRepodata = (filename: string): RepodataRecord | undefined => wanted.get(filename)?.[0];
  const itemOf = (filename: string): PlanItem | undefined => {
    const other = twinOf(filename);
    const isPair = missing.has(other);
    // Both are worked on at once, when the first of them comes.
    if (isPair && filename.endsWith('.tar.bz2')) return undefined;
    const placed = wanted.get(filename);
    if (placed === undefined) throw new FerryError('INTERNAL', `\`${filename}\` has no record`);
    const [record, place] = placed;
    const second = isPair ? inRepodata(other) : undefined;
    const twin = !isPair && known.has(other) ? other : undefined;
    const displaced = store.schema.holdsTwins ? undefined : twin;
    return {
      subdir,
      place,
      add: second === undefined ? [record] : [record, second],
      replaces: displaced !== undefined || known.has(filename) || (isPair && known.has(other)),
      displaced,
      twin:
        twin === undefined || displaced !== undefined
          ? undefined
          : { filename: twin, record: inRepodata(twin) },
    };
  };
  function* items(): Generator<PlanItem> {
    for (const filename of missing) {
      const item = itemOf(filename);
      if (item !== undefined) yield item;
    }
  }

  const displaced = new Set<string | undefined>();
  let artifacts = 0;
  let replaced = 0;
  for (const item of known.isEmpty ? [] : items()) {
    displaced.add(item.displaced);
    artifacts += 1;
    if (item.replaces) replaced += 1;
  }
  if (known.isEmpty) artifacts = countArtifacts(missing);
  const isWanted = (filename: string): boolean => wanted.has(filename);
  const kept = new Map([...known].filter(([filename]) => !isWanted(filename) && !displaced.has(filename)));
  return {
    subdir,
    listed: repodata.recordCount,
    there,
    isThere: (filename) => isWanted(filename) && !missing.has(filename),
    identity: (filename) => wanted.identity(filename),
    unlisted,
    toAdd: missing.size,
    artifacts,
    replaced,
    items,
    withheld: wanted.withheld,
    invalid: wanted.invalid,
    before: known,
    kept,
    bytes,
  };
}

function countArtifacts(missing: ReadonlySet<string>): number {
  let artifacts = 0;
  for (const filename of missing)
    if (!filename.endsWith('.tar.bz2') || !missing.has(twinOf(filename))) artifacts += 1;
  return artifacts;
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

/** File name of the other archive of the same name-version-build. */
export function twinOf(filename: string): string {
  return filename.endsWith('.conda')
    ? `${filename.slice(0, -'.conda'.length)}.tar.bz2`
    : `${filename.slice(0, -'.tar.bz2'.length)}.conda`;
}
