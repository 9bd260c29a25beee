/**
 * What a job is in Redis: the tags of one repository, each with the archives that go under it. Names, digests and sizes
 * only, as short as they can be: of millions of archives each byte counts.
 */
import { z } from 'zod';
import type { ChannelStore } from '../artifact/channel-store.js';
import { formatArchiveFilename, parseArchiveFilename } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { ERROR_CODES, FerryError, type FerryErrorCode } from '../errors.js';
import { redactUrl } from '../io/redact.js';
import type { SettledArchive } from '../mirror/executor.js';
import type { PlanItem, TagWork } from '../mirror/plan.js';

/** Name of a job of many tags, which is tried once as a whole. */
export const MANY = 'archives';
/** Name of a job of one tag that failed before. */
export const ONE = 'archive';

/** File name, sha256 and md5 (base64url, 0 where there is none), size in bytes (-1 where it is not told), and what is unusual. */
const archiveSchema = z.tuple([
  z.string(),
  z.union([z.string(), z.literal(0)]),
  z.union([z.string(), z.literal(0)]),
  z.number(),
  z
    .object({
      /** The record's own URL. */
      u: z.string().optional(),
      /** Name, version and build, where the file name tells others. */
      n: z.tuple([z.string(), z.string(), z.string()]).optional(),
      /** It failed before: nothing is sent of it until it is checked. */
      q: z.literal(1).optional(),
    })
    .optional(),
]);

/** The twin that is there already: its file name, or more where its record is known. */
const twinSchema = z.object({ w: z.union([z.string(), archiveSchema]) });

const tagSchema = z.array(z.union([archiveSchema, twinSchema]));

const jobSchema = z.object({
  /** Subdir. */
  s: z.string(),
  /** Tags, of one repository. */
  t: z.array(tagSchema).min(1),
  /** The repository holds the config that all artifacts share. */
  c: z.literal(1).optional(),
  /** Some of it may be there: the registry is to be asked first. */
  h: z.literal(1).optional(),
  /** How often a worker gave it back because it could not go on. */
  n: z.number().optional(),
});

/** Such as `["zlib-1.2.13-h4_0.conda", "kzMF…", 0, 1234]`. */
type ArchiveRow = z.infer<typeof archiveSchema>;
/** One tag: its archives, and the twin that is there. */
export type TagRow = z.infer<typeof tagSchema>;
/** A job as Redis has it. */
export type JobData = z.infer<typeof jobSchema>;

const codeSchema = z.custom<FerryErrorCode>((code) => typeof code === 'string' && code in ERROR_CODES);

/** An archive that is there now, with its size; or one that failed, and whether its tag may have been written. */
const settledRowSchema = z.union([
  z.tuple([z.string(), z.number()]),
  z.tuple([z.string(), codeSchema, z.string(), z.union([z.literal(0), z.literal(1)])]),
]);

const troubleSchema = z.object({
  code: codeSchema,
  message: z.string(),
  side: z.enum(['source', 'destination']).optional(),
});

const resultSchema = z.object({
  /** What became of the tags, from the first on; those that are missing were not begun, or ended in the trouble. */
  d: z.array(z.array(settledRowSchema)),
  /** Why the worker could not go on. */
  x: troubleSchema.optional(),
  /** Requests to source and destination since the worker's last result. */
  q: z.tuple([z.number(), z.number()]),
  /** Host and process of the worker. */
  w: z.string(),
});

/** What a worker answers to a job. */
export type JobResult = z.infer<typeof resultSchema>;
/** What ends a run if it lasts: no other archive would fare better. */
export type Trouble = z.infer<typeof troubleSchema>;
/** What became of one archive. */
export type SettledRow = z.infer<typeof settledRowSchema>;

const failureSchema = z.object({ d: z.array(settledRowSchema) });

/** What a worker notes in a job of one tag that failed: as in a {@link JobResult}. */
export type JobFailure = z.infer<typeof failureSchema>;

/** Writes the work on one tag. */
export function tagRow(
  { add, twin }: Pick<PlanItem, 'add' | 'twin'>,
  isSuspect: (record: RepodataRecord) => boolean,
): TagRow {
  const rows: TagRow = add.map((record) => archiveRow(record, isSuspect(record)));
  if (twin !== undefined)
    rows.push({ w: twin.record === undefined ? twin.filename : archiveRow(twin.record, false) });
  return rows;
}

/** File name of the first archive of a tag, which tells which item of the plan it is. */
export function firstFilename(tag: TagRow): string {
  const [first] = tag;
  return Array.isArray(first) ? first[0] : '';
}

/** The work on one tag, and which of its archives failed before. */
export interface ReadTag {
  readonly work: TagWork;
  readonly suspects: ReadonlySet<string>;
}

/** Reads the work on one tag. */
export function readTag(tag: TagRow, subdir: string, store: ChannelStore): ReadTag {
  const add: RepodataRecord[] = [];
  const suspects = new Set<string>();
  let twin: TagWork['twin'];
  for (const part of tag) {
    if (Array.isArray(part)) {
      add.push(recordOf(part, subdir));
      if (part[4]?.q === 1) suspects.add(part[0]);
    } else if (typeof part.w === 'string') twin = { filename: part.w, record: undefined };
    else twin = { filename: part.w[0], record: recordOf(part.w, subdir) };
  }
  const [first] = add;
  if (first === undefined) throw new FerryError('INTERNAL', 'a job has a tag without archives');
  return { work: { subdir, place: store.schema.placeOf(first), add, twin }, suspects };
}

/** Reads a job. @throws FerryError `VERSION_MISMATCH` for what this version would not have written */
export function parseJob(data: unknown): JobData {
  return parse(jobSchema, data, 'a job');
}

/** Reads what a worker answered. @throws FerryError `VERSION_MISMATCH` */
export function parseResult(data: unknown): JobResult {
  return parse(resultSchema, data, 'the result of a job');
}

/** Reads what a worker noted in a job that failed; `undefined` where it did not come to that. */
export function parseFailure(data: unknown): JobFailure | undefined {
  const result = failureSchema.safeParse(data);
  return result.success ? result.data : undefined;
}

/** Writes what became of an archive. */
export function settledRow(archive: SettledArchive): SettledRow {
  const { filename } = archive.record;
  if (archive.outcome === 'added') return [filename, archive.size];
  return [filename, archive.code, archive.message, archive.mayHaveWritten ? 1 : 0];
}

/** Reads what became of the archives of a tag. */
export function readSettled(
  rows: readonly SettledRow[],
  { add, twin }: Pick<PlanItem, 'add' | 'twin'>,
): readonly SettledArchive[] {
  const records = new Map([...add, ...(twin?.record === undefined ? [] : [twin.record])].map(byName));
  return rows.flatMap((row): SettledArchive[] => {
    const record = records.get(row[0]);
    if (record === undefined) return [];
    if (row.length === 2) return [{ record, outcome: 'added', size: row[1] }];
    const [, code, message, mayHaveWritten] = row;
    return [{ record, outcome: 'failed', code, message, mayHaveWritten: mayHaveWritten === 1 }];
  });
}

/** Whether all archives of a tag are there. */
export function isAllThere(rows: readonly SettledRow[]): boolean {
  return rows.every(({ length }) => length === 2);
}

function archiveRow(record: RepodataRecord, isSuspect: boolean): ArchiveRow {
  const { filename, sha256, md5, size, url, name, version, build } = record;
  const told = parseArchiveFilename(filename);
  const isTold = told.name === name && told.version === version && told.build === build;
  const row: ArchiveRow = [filename, short(sha256), short(md5), size ?? -1];
  const unusual = {
    ...(url === undefined ? {} : { u: withoutSecrets(url) }),
    ...(isTold ? {} : { n: [name, version, build] satisfies [string, string, string] }),
    ...(isSuspect ? { q: 1 as const } : {}),
  };
  return Object.keys(unusual).length === 0 ? row : [row[0], row[1], row[2], row[3], unusual];
}

function recordOf([filename, sha256, md5, size, unusual]: ArchiveRow, subdir: string): RepodataRecord {
  const { extension, ...told } = parseArchiveFilename(filename);
  const [name, version, build] = unusual?.n ?? [told.name, told.version, told.build];
  return {
    ...{ name, version, build, extension, listedIn: subdir },
    filename: formatArchiveFilename({ ...told, extension }),
    sha256: long(sha256),
    md5: long(md5),
    size: size === -1 ? undefined : size,
    url: unusual?.u,
  };
}

/** Workers have credentials of their own: what a URL holds of that does not go into Redis. It may be a relative one. */
function withoutSecrets(url: string): string {
  if (!URL.canParse(url)) {
    const [, start = '', query = ''] = /^([^?#]*)(\?[^#]*)?/.exec(url) ?? [];
    const bare = start.replace(/^([\\/]{2})[^\\/]*@/, '$1').replace(/([\\/])t[\\/][^\\/]+/g, '');
    return query === '' ? bare : bare + new URL(redactUrl(`https://example.org/${query}`)).search;
  }
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  bare.hash = '';
  bare.pathname = bare.pathname.replace(/\/t\/[^/]+/g, '');
  return bare.search === '' ? bare.href : redactUrl(bare);
}

function short(hex: string | undefined): string | 0 {
  return hex === undefined ? 0 : Buffer.from(hex, 'hex').toString('base64url');
}

function long(text: string | 0): string | undefined {
  return text === 0 ? undefined : Buffer.from(text, 'base64url').toString('hex');
}

function byName(record: RepodataRecord): readonly [string, RepodataRecord] {
  return [record.filename, record];
}

function parse<T>(schema: z.ZodType<T>, data: unknown, what: string): T {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  throw new FerryError('VERSION_MISMATCH', `${what} in the queue cannot be read`, {
    hint: 'install the same version of conda-ferry on all machines',
  });
}
