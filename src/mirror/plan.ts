/**
 * The plan: what a run would do, as a document. Nothing is moved to make it, and no archive is read.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import type { PackagePlace } from '../artifact/schema.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { FerryError } from '../errors.js';
import type { KnownArchives } from './known-archives.js';
import { twinOf, type Refused, type WantedRecords, type WantedRows } from './wanted-records.js';

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

/** What of an item whoever carries it needs to know. */
export type TagWork = Pick<PlanItem, 'subdir' | 'place' | 'add' | 'twin'>;

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
  /** Artifacts of two archives that are both to be pushed. */
  readonly twins: number;
  /** Artifacts that join a twin that is there. */
  readonly meetings: number;
  /** Artifacts of a `.tar.bz2` that join a `.conda` that is there, whose info they share. */
  readonly joinsConda: number;
  /** Archives to push of more than so many bytes. */
  readonly countLarger: (bytes: number) => number;
  /** Repositories that they go into. */
  readonly repositories: ReadonlySet<string>;
  /**
   * The work, one tag at a time, ordered by package, so that one token serves all tags of each repository. Made anew
   * each time: of a million items only the names are kept.
   */
  readonly items: () => Generator<PlanItem>;
  /** One item again, by the file name of the first archive that it adds. */
  readonly item: (filename: string) => PlanItem | undefined;
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

/** Compares what is wanted with what is there, by digest and not by name. */
export function planSubdir({ store, known }: PlanInput, wanted: WantedRecords): SubdirPlan {
  const { repodata } = wanted;
  const { subdir } = repodata;
  const missing = new Map<WantedRows, Uint8Array>();
  const repositories = new Set<string>();
  const counts = {
    there: 0,
    toAdd: 0,
    artifacts: 0,
    bytes: 0,
    replaced: 0,
    meetings: 0,
    joinsConda: 0,
    twins: 0,
  };
  for (const part of wanted.parts) {
    const { rows, order, isWanted } = part;
    const stateOf = known.isEmpty ? undefined : known.stateOf(rows);
    const isMissing = new Uint8Array(rows.rowCount);
    missing.set(part, isMissing);
    let lastName = -1;
    for (const row of order) {
      if (isWanted[row] === 0) continue;
      if (stateOf?.(row) === 'same') {
        if (part.repodata === repodata) counts.there += 1;
        continue;
      }
      isMissing[row] = 1;
      counts.toAdd += 1;
      counts.bytes += rows.size(row);
      const nameId = rows.nameId(row);
      if (nameId === lastName) continue;
      lastName = nameId;
      const probe = { name: rows.packageName(nameId), version: '0', build: '0' };
      repositories.add(store.schema.placeOf(probe).repository);
    }
  }
  const isMissing = (filename: string): boolean =>
    wanted.parts.some((part) => {
      const row = part.rows.rowOf(filename);
      return row !== undefined && missing.get(part)?.[row] === 1;
    });
  /** Whether a row is worked on together with its twin, when that one comes. */
  const comesWithTwin = ({ rows }: WantedRows, row: number, flags: Uint8Array): boolean => {
    if (!rows.isTarBz2(row)) return false;
    const twin = rows.twinOf(row);
    return twin !== undefined && flags[twin] === 1;
  };
  const itemOf = (part: WantedRows, row: number): PlanItem => {
    const [record, place] = wanted.placed(part, row);
    const other = twinOf(record.filename);
    const second = isMissing(other) ? wanted.get(other)?.[0] : undefined;
    const twin = second === undefined && known.has(other) ? other : undefined;
    const displaced = store.schema.holdsTwins ? undefined : twin;
    return {
      subdir,
      place,
      add: second === undefined ? [record] : [record, second],
      replaces:
        displaced !== undefined || known.has(record.filename) || (second !== undefined && known.has(other)),
      displaced,
      twin:
        twin === undefined || displaced !== undefined
          ? undefined
          : { filename: twin, record: wanted.get(twin)?.[0] },
    };
  };
  function* items(): Generator<PlanItem> {
    for (const [part, flags] of missing)
      for (const row of part.order)
        if (flags[row] === 1 && !comesWithTwin(part, row, flags)) yield itemOf(part, row);
  }

  const item = (filename: string): PlanItem | undefined => {
    for (const [part, flags] of missing) {
      const row = part.rows.rowOf(filename);
      if (row !== undefined && flags[row] === 1) return itemOf(part, row);
    }
    return undefined;
  };

  const displaced = new Set<string>();
  if (known.isEmpty) {
    // Nothing can be replaced or met: of each tag no more is to be known than whether it has one archive or two.
    for (const [part, flags] of missing)
      for (const row of part.order)
        if (flags[row] === 1 && comesWithTwin(part, row, flags)) counts.twins += 1;
    counts.artifacts = counts.toAdd - counts.twins;
  } else {
    for (const item of items()) {
      if (item.displaced !== undefined) displaced.add(item.displaced);
      counts.artifacts += 1;
      counts.replaced += item.replaces ? 1 : 0;
      counts.meetings += item.twin === undefined ? 0 : 1;
      counts.joinsConda += item.twin?.filename.endsWith('.conda') === true ? 1 : 0;
      counts.twins += item.add.length - 1;
    }
  }
  const [listedPart, ...otherParts] = wanted.parts;
  const kept = new Map<string, string>();
  if (listedPart !== undefined) {
    for (const [filename, identity] of known.besides(
      listedPart.rows,
      (row) => listedPart.isWanted[row] === 1,
    ))
      if (!wanted.has(filename) && !displaced.has(filename)) kept.set(filename, identity);
  }
  return {
    subdir,
    listed: repodata.recordCount,
    ...counts,
    repositories,
    countLarger: (bytes) => {
      let larger = 0;
      for (const [{ rows, order }, flags] of missing)
        for (const row of order) if (flags[row] === 1 && rows.size(row) > bytes) larger += 1;
      return larger;
    },
    isThere: (filename) => wanted.has(filename) && !isMissing(filename),
    identity: (filename) => wanted.identity(filename),
    unlisted: new Set(
      otherParts.flatMap(({ rows, order, isWanted }) =>
        Array.from(
          order.filter((row) => isWanted[row] === 1),
          (row) => rows.filename(row),
        ),
      ),
    ),
    items,
    item,
    withheld: wanted.withheld,
    invalid: wanted.invalid,
    before: known,
    kept,
  };
}

/** Repositories of packages, as far as the schema has a place for them. */
export function repositoriesOf(store: ChannelStore, names: Iterable<string>): ReadonlySet<string> {
  const repositories = new Set<string>();
  for (const name of names) {
    try {
      repositories.add(store.schema.placeOf({ name, version: '0', build: '0' }).repository);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
    }
  }
  return repositories;
}
