import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource, Validators } from '../conda/channel-source.js';
import { Repodata } from '../conda/repodata/repodata.js';
import { FerryError, isFerryError, messageOf } from '../errors.js';
import type { OpenBytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import type { TempFolder } from '../io/temp-folder.js';
import { readText, type SpooledText } from './spooled-text.js';

/** Far above the largest repodata there is (200 MB in 2026). */
export const MAX_REPODATA_BYTES = 4 * 1024 ** 3;

/** Repodata files in the order they are preferred. */
const REPODATA_FILES = ['repodata.json.zst', 'repodata.json'] as const;

/** Which file a snapshot was taken of, and how to ask whether it changed. */
export interface SnapshotOrigin {
  /** Such as `repodata.json.zst`. */
  readonly file: string;
  readonly validators: Validators;
}

/** One consistent copy of a subdir's repodata, for the whole run. Disposing lets go of its bytes. */
export interface Snapshot extends AsyncDisposable {
  readonly subdir: string;
  readonly origin: SnapshotOrigin;
  readonly repodata: Repodata;
  /** Reads the JSON text again. */
  readonly open: OpenBytes;
  /** The source's own compressed form, if that is what was read. */
  readonly zst: SpooledText['zst'];
  /** Of the JSON text. */
  readonly digest: Digest;
  /** When the file that was read was changed last, as its server says. */
  readonly lastModified: string | undefined;
  /** What was wrong at the source without being in the way. */
  readonly warnings: readonly string[];
  /** Set where some packages were read only: of how many that the subdir has. */
  readonly part?: { readonly packages: number } | undefined;
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
  /** Files to look for, in that order. @defaultValue repodata.json.zst, repodata.json */
  readonly files?: readonly string[] | undefined;
  readonly temp: TempFolder;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a subdir's repodata: compressed where there is that, else plain. The bytes lie in a temporary file and are read
 * again when they are needed; in memory is only where each record stands and what it says.
 * @throws FerryError `REPODATA_INVALID`; IntegrityError `SIZE_EXCEEDED`; what the source throws
 */
export async function takeSnapshot(
  source: ChannelSource,
  subdir: string,
  options: SnapshotOptions,
): Promise<SnapshotAnswer> {
  const { unless, temp, workers, signal, files = REPODATA_FILES } = options;
  for (const file of unless === undefined ? files : [unless.file]) {
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
    const text = await readText(answer.body, {
      isCompressed: file.endsWith('.zst'),
      maxBytes: MAX_REPODATA_BYTES,
      what: `\`${path}\``,
      temp,
      workers,
    });
    try {
      const repodata = await parse(text, subdir, `${source.url}/${path}`, signal);
      const { validators } = answer;
      const { open, zst } = text;
      const snapshot: Snapshot = {
        ...{ subdir, repodata, open, zst, digest: repodata.digest },
        ...{ origin: { file, validators }, lastModified: validators.lastModified, warnings: [] },
        [Symbol.asyncDispose]: () => text[Symbol.asyncDispose](),
      };
      return { status: 'found', snapshot };
    } catch (error) {
      await text[Symbol.asyncDispose]();
      const plain = isFerryError(error, 'REPODATA_INVALID')
        ? await takePlainInstead(source, subdir, file, error, options)
        : undefined;
      if (plain === undefined) throw error;
      return plain;
    }
  }
  // The file that was read last time is gone; another form of it may still be there.
  return unless === undefined
    ? { status: 'absent' }
    : takeSnapshot(source, subdir, { temp, workers, signal, files });
}

/**
 * A compressed form that cannot be read (cut short, or no zstd) is the source's fault, and says nothing of the plain file,
 * which is what the standards speak of. Connections that break are no such fault, and never come here.
 */
async function takePlainInstead(
  source: ChannelSource,
  subdir: string,
  file: string,
  fault: FerryError,
  options: SnapshotOptions,
): Promise<SnapshotAnswer | undefined> {
  if (!file.endsWith('.zst')) return undefined;
  const plain = file.slice(0, -'.zst'.length);
  const answer = await takeSnapshot(source, subdir, { ...options, unless: undefined, files: [plain] }).catch(
    (error: unknown) => {
      options.signal?.throwIfAborted();
      // Of two faults the first one tells more.
      if (!isFerryError(error)) throw error;
      return undefined;
    },
  );
  if (answer?.status !== 'found') return undefined;
  // The next run looks at the compressed form again, whatever was said of the other one.
  const origin = { file, validators: {} };
  const warning = `${subdir}: \`${file}\` cannot be read, \`${plain}\` was taken instead: ${messageOf(fault)}`;
  return { status: 'found', snapshot: { ...answer.snapshot, origin, warnings: [warning] } };
}

/** Refuses a snapshot that is older than the one before. @throws FerryError `SOURCE_OLDER` */
export function checkNotOlder(snapshot: Snapshot, before: Validators | undefined): void {
  const [now, then] = [snapshot.lastModified, before?.lastModified];
  if (now === undefined || then === undefined || !(Date.parse(now) < Date.parse(then))) return;
  throw new FerryError(
    'SOURCE_OLDER',
    `repodata of \`${snapshot.subdir}\` is of ${now}, older than what was mirrored last (${then})`,
    { hint: 'a stale cache at the source? pass --allow-older if it was rolled back on purpose' },
  );
}

/**
 * Refuses a snapshot that lists nothing, where something was listed: an empty file is a channel without packages (CEP 26),
 * and also what a source that broke in the middle looks like.
 * @throws FerryError `SOURCE_VANISHED`
 */
export function checkNotVanished({ subdir, repodata, part }: Snapshot, before: Repodata | undefined): void {
  const listed = part?.packages ?? repodata.recordCount;
  if (listed > 0 || before === undefined || before.recordCount === 0) return;
  throw new FerryError(
    'SOURCE_VANISHED',
    `\`${subdir}\` of the source lists nothing, where ${String(before.recordCount)} archives were listed`,
    { hint: 'pass --allow-older if that is meant' },
  );
}

async function parse(
  { open, digest }: SpooledText,
  subdir: string,
  file: string,
  signal: AbortSignal | undefined,
): Promise<Repodata> {
  try {
    return await Repodata.read(open, subdir, { signal, digest });
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new FerryError(error.code, `\`${file}\` cannot be read`, { cause: error });
  }
}
