import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource, Validators } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';
import { collect } from '../io/bytes.js';
import { digestOf, type Digest } from '../io/digest.js';

/** Far above the largest repodata there is (200 MB in 2026), and what fits into memory. */
const MAX_REPODATA_BYTES = 1024 * 1024 * 1024;

/** Repodata files in the order they are preferred. */
const REPODATA_FILES = ['repodata.json.zst', 'repodata.json'] as const;

/** One of the files that a subdir's repodata may be in. */
export type RepodataFile = (typeof REPODATA_FILES)[number];

/** Which file a snapshot was taken of, and how to ask whether it changed. */
export interface SnapshotOrigin {
  readonly file: RepodataFile;
  readonly validators: Validators;
}

/** One consistent copy of a subdir's repodata, for the whole run. */
export interface Snapshot {
  readonly subdir: string;
  readonly origin: SnapshotOrigin;
  /** The JSON text. */
  readonly bytes: Uint8Array;
  /** The source's own compressed form, if that is what was read. */
  readonly zst: Uint8Array | undefined;
  /** Of {@link bytes}. */
  readonly digest: Digest;
}

/** Answer to {@link takeSnapshot}. */
export type SnapshotAnswer =
  | { readonly status: 'absent' }
  | { readonly status: 'unchanged' }
  | { readonly status: 'found'; readonly snapshot: Snapshot };

/** What {@link takeSnapshot} works with. */
export interface SnapshotOptions {
  /** Ask only whether this file changed. */
  readonly unless?: SnapshotOrigin | undefined;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a subdir's repodata: compressed where there is that, else plain.
 * @throws FerryError `REPODATA_INVALID`; IntegrityError `SIZE_EXCEEDED`; what the source throws
 */
export async function takeSnapshot(
  source: ChannelSource,
  subdir: string,
  options: SnapshotOptions,
): Promise<SnapshotAnswer> {
  const { unless, signal } = options;
  for (const file of unless === undefined ? REPODATA_FILES : [unless.file]) {
    const path = `${subdir}/${file}`;
    const answer = await source.openMetadata(path, { unless: unless?.validators, signal });
    if (answer.status === 'unchanged') {
      if (unless !== undefined) return { status: 'unchanged' };
      throw new FerryError(
        'REGISTRY_REFUSED',
        `\`${source.url}/${path}\` answered that it did not change, unasked`,
      );
    }
    if (answer.status === 'absent') continue;
    const body = await collect(answer.body, MAX_REPODATA_BYTES, `\`${path}\``);
    const isCompressed = file.endsWith('.zst');
    const bytes = isCompressed ? await decompress(body, path, options) : body;
    const origin = { file, validators: answer.validators };
    const zst = isCompressed ? body : undefined;
    return { status: 'found', snapshot: { subdir, origin, bytes, zst, digest: digestOf(bytes) } };
  }
  // The file that was read last time is gone; another form of it may still be there.
  return unless === undefined
    ? { status: 'absent' }
    : takeSnapshot(source, subdir, { workers: options.workers, signal });
}

/** Refuses a snapshot that is older than the one before. @throws FerryError `SOURCE_OLDER` */
export function checkNotOlder(snapshot: Snapshot, before: Validators | undefined): void {
  const [now, then] = [snapshot.origin.validators.lastModified, before?.lastModified];
  if (now === undefined || then === undefined || !(Date.parse(now) < Date.parse(then))) return;
  throw new FerryError(
    'SOURCE_OLDER',
    `repodata of \`${snapshot.subdir}\` is of ${now}, older than what was mirrored last (${then})`,
    { hint: 'a stale cache at the source? pass --allow-older if it was rolled back on purpose' },
  );
}

async function decompress(bytes: Uint8Array, path: string, options: SnapshotOptions): Promise<Uint8Array> {
  const input = { bytes, maxBytes: MAX_REPODATA_BYTES, what: `\`${path}\`` };
  return options.workers.run('decompress', input, options.signal);
}
