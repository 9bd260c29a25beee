/** What was read of the archives of a subdir, so that the next run reads only new and changed ones. */
import { stat } from 'node:fs/promises';
import { z } from 'zod';
import type { JsonObject } from '../../conda/record-details.js';
import { isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import type { IndexedInfo } from '../indexed-info.js';
import { sortedJson } from '../sorted-json.js';
import { readOrUndefined } from './put-file.js';

/** Goes up whenever what is read of an archive, or made of it, changes: then all of them are read again. */
const CACHE_VERSION = 1;
/** A file that was touched so lately may be changed again without its times telling: some disks count in whole seconds. */
const SETTLED_AFTER_MS = 2_000;
const NEWLINE = 0x0a;

/**
 * What tells that a file is what it was: size, inode, and both of its times in nanoseconds. Tools set the time of content at
 * will, so that it alone would not do; the time of the inode is the system's own.
 */
export type FileState = string;

/** What an archive holds, and what its bytes are. */
export interface KnownArchive {
  /** Without what servers say. */
  readonly record: JsonObject;
  readonly info: IndexedInfo;
}

const object = z.record(z.string(), z.unknown());
const flag = z.boolean();
const lineSchema = z.object({
  filename: z.string(),
  state: z.string(),
  record: object,
  info: z.object({
    about: object,
    runExports: object,
    source: object,
    flags: z.object({
      'activate.d': flag,
      'deactivate.d': flag,
      binary_prefix: flag,
      text_prefix: flag,
      post_link: flag,
      pre_link: flag,
      pre_unlink: flag,
    }),
  }),
});

/** What is kept of one file. */
interface CachedArchive extends KnownArchive {
  readonly state: FileState;
}

/** The state of a file, and when it was touched last, in milliseconds since 1970; `undefined` where there is none. */
export async function fileState(
  path: string,
): Promise<{ readonly state: FileState; readonly touchedMs: number; readonly isFile: boolean } | undefined> {
  try {
    const found = await stat(path, { bigint: true });
    const { size, ino, mtimeNs, ctimeNs } = found;
    const touchedMs = Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n);
    return { state: [size, ino, mtimeNs, ctimeNs].join(':'), touchedMs, isFile: found.isFile() };
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

/**
 * The cache of a subdir: a file of JSON lines. What in it cannot be read is read from the archives again.
 */
export class ArchiveCache {
  readonly #path: string;
  readonly #before: ReadonlyMap<string, CachedArchive>;
  readonly #now = new Map<string, CachedArchive>();

  private constructor(path: string, before: ReadonlyMap<string, CachedArchive>) {
    this.#path = path;
    this.#before = before;
  }

  /** Reads the cache of a subdir, such as `.conda-ferry/index/noarch.jsonl`. */
  static async open(path: string): Promise<ArchiveCache> {
    const bytes = await readOrUndefined(path);
    return new ArchiveCache(path, bytes === undefined ? new Map() : parseCache(bytes));
  }

  /** What is known of a file in this state. */
  get(filename: string, state: FileState): KnownArchive | undefined {
    const known = this.#before.get(filename);
    if (known?.state !== state) return undefined;
    this.#now.set(filename, known);
    return known;
  }

  /** Takes what was read of a file, unless it was touched so lately that its state would not tell the next change. */
  set(filename: string, state: FileState, archive: KnownArchive, ageMs: number): void {
    if (ageMs >= SETTLED_AFTER_MS) this.#now.set(filename, { ...archive, state });
  }

  /** Writes what was asked for and taken since it was opened; files that are gone go from it. */
  async save(): Promise<void> {
    const lines = [...this.#now]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([filename, { state, record, info }]) =>
        Buffer.from(`${sortedJson({ filename, state, record, info })}\n`),
      );
    const bytes = Buffer.concat([
      Buffer.from(`${JSON.stringify({ index_cache: CACHE_VERSION })}\n`),
      ...lines,
    ]);
    const there = await readOrUndefined(this.#path);
    if (there === undefined || Buffer.compare(there, bytes) !== 0) await writeFileAtomic(this.#path, bytes);
  }
}

function parseCache(bytes: Uint8Array): ReadonlyMap<string, CachedArchive> {
  const known = new Map<string, CachedArchive>();
  let isHead = true;
  for (let start = 0; start < bytes.byteLength;) {
    const newline = bytes.indexOf(NEWLINE, start);
    // A line without its end was cut.
    if (newline === -1) break;
    const value = parseLine(bytes.subarray(start, newline));
    start = newline + 1;
    if (isHead) {
      const head = z.object({ index_cache: z.literal(CACHE_VERSION) }).safeParse(value);
      if (!head.success) break;
      isHead = false;
      continue;
    }
    const line = lineSchema.safeParse(value);
    if (!line.success) continue;
    const { filename, ...archive } = line.data;
    known.set(filename, archive);
  }
  return known;
}

function parseLine(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}
