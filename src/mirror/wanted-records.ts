/** Which records of a source's repodata are wanted, and can be mirrored. */
import type { ChannelStore } from '../artifact/channel-store.js';
import type { PackagePlace } from '../artifact/schema.js';
import { archiveIdentity, type RepodataRecord } from '../conda/package-record.js';
import type { RecordRows } from '../conda/repodata/record-rows.js';
import type { Repodata } from '../conda/repodata/repodata.js';
import { FerryError, UnrepresentableError, type FerryErrorCode } from '../errors.js';

/** A record that cannot be mirrored, known without touching its archive. */
export interface Refused {
  readonly filename: string;
  readonly code: FerryErrorCode;
  readonly message: string;
  /** Clause of the schema that rules it out, such as `v1/P6`. */
  readonly clause?: string | undefined;
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

/** Wanted records of one repodata, as rows. */
export interface WantedRows {
  readonly repodata: Repodata;
  readonly rows: RecordRows;
  /** In their order. */
  readonly order: Uint32Array;
  /** By row, whether it is wanted. */
  readonly isWanted: Uint8Array;
}

/**
 * The records of a repodata that are wanted and can be mirrored; the others are set aside. They stay rows of a table: a
 * record is made of one only when it is asked for.
 */
export class WantedRecords {
  readonly repodata: Repodata;
  readonly withheld: readonly Refused[];
  readonly invalid: readonly Refused[];
  /** What is listed, and what the source lists no more. */
  readonly parts: readonly WantedRows[];
  readonly #store: ChannelStore;

  constructor({ store, repodata, removed, foreign = new Set(), wants }: WantedInput) {
    this.repodata = repodata;
    this.#store = store;
    const withheld: Refused[] = [];
    const invalid: Refused[] = [];
    const isElse = (filename: string): boolean => !repodata.has(filename) && wants?.(filename) !== false;
    const parts = [chooseRows(repodata, wants)];
    if (removed !== undefined) parts.push(chooseRows(removed, isElse));
    for (const { filename, error } of [...repodata.invalid(), ...(removed?.invalid() ?? [])])
      if (wants?.(filename) !== false) invalid.push({ filename, code: error.code, message: error.message });
    const holdable = holdableNames(store, repodata.subdir);
    for (const { rows, order, isWanted } of parts) {
      for (const row of order) {
        if (isWanted[row] === 0 || (rows.hasIdentity(row) && holdable(rows, row))) continue;
        const fault = faultOf(store, rows.record(row));
        if (fault === undefined) continue;
        (fault.isOfRecord ? invalid : withheld).push(fault.refused);
        isWanted[row] = 0;
      }
    }
    this.parts = parts;
    if (!store.schema.holdsTwins) {
      for (const [{ isWanted }, row, filename] of this.#seconds(foreign)) {
        withheld.push(twinless(filename));
        isWanted[row] = 0;
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
    return this.#find(filename) !== undefined;
  }

  /** Records, ordered by package; what is listed no more comes last. */
  *records(): Generator<RepodataRecord> {
    for (const { rows, order, isWanted } of this.parts)
      for (const row of order) if (isWanted[row] === 1) yield rows.record(row);
  }

  /** The record of a file name that {@link has} knows. */
  get(filename: string): PlacedRecord | undefined {
    const found = this.#find(filename);
    return found && this.placed(found.part, found.row);
  }

  /** The record of a row. */
  placed({ rows }: WantedRows, row: number): PlacedRecord {
    const record = rows.record(row);
    return [record, this.#store.schema.placeOf(record)];
  }

  /** Such as `sha256:…`. */
  identity(filename: string): string | undefined {
    return this.#find(filename)?.part.repodata.identity(filename);
  }

  #find(filename: string): { readonly part: WantedRows; readonly row: number } | undefined {
    for (const part of this.parts) {
      const row = part.rows.rowOf(filename);
      if (row !== undefined && part.isWanted[row] === 1) return { part, row };
    }
    return undefined;
  }

  /** Archives that make room for their twins. */
  #seconds(foreign: ReadonlySet<string>): readonly (readonly [WantedRows, number, string])[] {
    const seconds: (readonly [WantedRows, number, string])[] = [];
    for (const part of this.parts) {
      const { rows, order, isWanted } = part;
      for (const row of order) {
        if (isWanted[row] === 0) continue;
        const isTarBz2 = rows.isTarBz2(row);
        if (!isTarBz2 && foreign.size === 0) continue;
        const filename = rows.filename(row);
        const twin = twinOf(filename);
        if (foreign.has(twin) || (isTarBz2 && this.has(twin))) seconds.push([part, row, filename]);
      }
    }
    return seconds;
  }
}

function chooseRows(repodata: Repodata, wants: ((filename: string) => boolean) | undefined): WantedRows {
  const rows = repodata.rows();
  const { order } = rows;
  const isWanted = new Uint8Array(rows.rowCount);
  for (const row of order) isWanted[row] = wants === undefined || wants(rows.filename(row)) ? 1 : 0;
  return { repodata, rows, order, isWanted };
}

/** Tells of rows whether schema and registry can hold them, where that can be told from the package name alone. */
function holdableNames(store: ChannelStore, subdir: string): (rows: RecordRows, row: number) => boolean {
  const known = new Map<RecordRows, Uint8Array>();
  const [unknown, yes, no] = [0, 1, 2];
  return (rows, row) => {
    if (!rows.isPlain(row)) return false;
    const names = known.get(rows) ?? new Uint8Array(rows.nameCount);
    known.set(rows, names);
    const nameId = rows.nameId(row);
    if (names[nameId] === unknown) {
      try {
        const place = store.schema.placeOf({ name: rows.packageName(nameId), version: '0', build: '0' });
        store.packageRepository(subdir, place);
        names[nameId] = yes;
      } catch (error) {
        if (!(error instanceof FerryError)) throw error;
        names[nameId] = no;
      }
    }
    return names[nameId] === yes;
  };
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

/** File name of the other archive of the same name-version-build. */
export function twinOf(filename: string): string {
  return filename.endsWith('.conda')
    ? `${filename.slice(0, -'.conda'.length)}.tar.bz2`
    : `${filename.slice(0, -'.tar.bz2'.length)}.conda`;
}
