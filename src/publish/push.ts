/**
 * Push: archive files are checked, stored, and listed in the repodata of their subdirs. Other writers may do the same at
 * the same moment, from wherever they are.
 */
import { basename } from 'node:path';
import type { ChannelStore } from '../artifact/channel-store.js';
import type { StoredPackage } from '../artifact/pack.js';
import { FerryError, isFerryError } from '../errors.js';
import { digestHex, type Digest } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import type { Annotations } from '../oci/descriptor.js';
import type { Finding } from '../conformance/check-log.js';
import { prepareArchive, type PreparedArchive } from './prepare-archive.js';
import { publishSubdir } from './publish-subdir.js';
import type { CommitOptions } from './commit.js';

/** Archives read, or stored, at once. */
const DEFAULT_CONCURRENCY = 4;

/** Hears what a push does while it does it. All methods may be missing. */
export interface PushReporter {
  /** So many archives are to be checked. */
  planned?(archives: number): void;
  /** One of them is stored, or failed. */
  done?(): void;
  warning?(message: string): void;
}

/** Options of {@link pushArchives}. */
export interface PushOptions extends CommitOptions {
  readonly store: ChannelStore;
  /** Paths of archive files, each with the name of its package. */
  readonly archives: readonly string[];
  /** Publish in the place of other bytes of the same name, or what was yanked. @defaultValue false */
  readonly replace?: boolean | undefined;
  /** Publish to a mirror, or a channel of another tool. @defaultValue false */
  readonly force?: boolean | undefined;
  /** Annotations that the artifacts get. @defaultValue none */
  readonly annotations?: Annotations | undefined;
  /** Store the archives and leave the repodata as it is. @defaultValue false */
  readonly storeOnly?: boolean | undefined;
  /** Check everything and write nothing. @defaultValue false */
  readonly dryRun?: boolean | undefined;
  /** @defaultValue 4 */
  readonly concurrency?: number | undefined;
  /** Where temporary files go. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  readonly reporter?: PushReporter | undefined;
}

/** What became of an archive, or would: `there` it was listed before, with these bytes. */
export type PushStatus = 'added' | 'replaced' | 'there' | 'stored';

/** An archive that is published. */
export interface PushedArchive {
  readonly path: string;
  readonly subdir: string;
  readonly filename: string;
  readonly status: PushStatus;
  /** Of the archive. */
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** Such as `org/channel/noarch/zlib`. */
  readonly repository: string;
  readonly tag: string;
  /** Of the artifact's manifest; `undefined` where nothing was written. */
  readonly manifest: Digest | undefined;
}

/** An archive that is not published; the others are. */
export interface PushFailure {
  readonly path: string;
  readonly filename: string;
  readonly error: FerryError;
  /** What rules it breaks, with `ARCHIVE_FAULTY`. */
  readonly findings?: readonly Finding[] | undefined;
}

/** What a push did, or would do. */
export interface PushReport {
  readonly channel: string;
  readonly schema: string;
  readonly dryRun: boolean;
  readonly published: readonly PushedArchive[];
  readonly failed: readonly PushFailure[];
  /** Subdirs whose repodata was brought up to date: its manifest, and how many archives it lists. */
  readonly subdirs: readonly {
    readonly subdir: string;
    readonly repodata: Digest;
    readonly records: number;
  }[];
}

/**
 * Publishes archive files. Each is checked first by the rules that `check` has, so that a bad one never leaves; one that is
 * listed with the same bytes is skipped. A returned success means that the operation is in the published repodata, and in the
 * log from which every later writer merges it.
 * @returns archives that failed are in it: `ARCHIVE_FAULTY`, `ARCHIVE_EXISTS` (other bytes are listed under that name),
 * `ARCHIVE_REMOVED` (it was yanked), `ARCHIVE_…`, `NAME_UNREPRESENTABLE`, `TWIN_UNREPRESENTABLE`, `NOT_FOUND`
 * @throws FerryError `ROLE_MISMATCH`, `SCHEMA_CONFLICT`, `TAG_MOVED`, `OPERATION_INVALID`, what the store throws as a whole
 */
export async function pushArchives(options: PushOptions): Promise<PushReport> {
  const { store, reporter = {}, signal, concurrency = DEFAULT_CONCURRENCY, dryRun = false } = options;
  const paths = [...new Set(options.archives)];
  reporter.planned?.(paths.length);
  const failed: PushFailure[] = [];
  const fail = (path: string, error: FerryError, findings?: readonly Finding[]): void => {
    failed.push({ path, filename: basename(path), error, ...(findings === undefined ? {} : { findings }) });
    reporter.done?.();
  };
  const prepared: PreparedArchive[] = [];
  await forEachConcurrently(paths, { concurrency, signal }, async (path) => {
    const answer = await prepareArchive(path, options);
    if ('error' in answer) fail(path, answer.error, answer.findings);
    else prepared.push(answer);
  });
  const bySubdir = groupArchives(prepared, fail);
  if (!dryRun && bySubdir.size > 0) await checkDestination(store, [...bySubdir.keys()], options);

  const published: PushedArchive[] = [];
  const subdirs: { readonly subdir: string; readonly repodata: Digest; readonly records: number }[] = [];
  for (const [subdir, archives] of bySubdir) {
    const { head, outcomes } = await publishSubdir(subdir, archives, {
      ...options,
      concurrency,
      dryRun,
      reporter,
    });
    for (const outcome of outcomes) {
      const { archive } = outcome;
      if ('error' in outcome)
        failed.push({ path: archive.path, filename: archive.layer.filename, error: outcome.error });
      else published.push(describePushed(store, archive, outcome.status, outcome.stored));
    }
    if (!dryRun && options.storeOnly !== true && head.digest !== undefined)
      subdirs.push({ subdir, repodata: head.digest, records: head.listing.recordCount });
  }
  return {
    channel: store.location,
    schema: store.schema.id,
    dryRun,
    published: inOrder(published, paths),
    failed: inOrder(failed, paths),
    subdirs,
  };
}

/** By subdir, `.conda` first: where the schema holds one archive of a build, that is the one. */
function groupArchives(
  prepared: readonly PreparedArchive[],
  fail: (path: string, error: FerryError) => void,
): ReadonlyMap<string, readonly PreparedArchive[]> {
  const groups = new Map<string, Map<string, PreparedArchive>>();
  for (const archive of [...prepared].sort((a, b) => rank(a) - rank(b))) {
    const { subdir, layer, path } = archive;
    const group = groups.get(subdir) ?? new Map<string, PreparedArchive>();
    groups.set(subdir, group);
    const other = group.get(layer.filename);
    if (other === undefined) group.set(layer.filename, archive);
    else if (other.layer.digest !== layer.digest)
      fail(path, new FerryError('ARCHIVE_EXISTS', `\`${other.path}\` has the same name and other bytes`));
  }
  return new Map([...groups].map(([subdir, group]) => [subdir, [...group.values()]]));
}

function rank({ layer }: PreparedArchive): number {
  return layer.extension === 'conda' ? 0 : 1;
}

/** One early error instead of one for each archive. */
async function checkDestination(
  store: ChannelStore,
  subdirs: readonly string[],
  { signal }: PushOptions,
): Promise<void> {
  const [subdir = ''] = subdirs;
  try {
    await store.metadataRepository(subdir, 'ledger').checkPush?.({ signal });
  } catch (cause) {
    if (!isFerryError(cause)) throw cause;
    throw new FerryError(cause.code, `\`${store.location}\` takes no uploads`, { cause, hint: cause.hint });
  }
}

function describePushed(
  store: ChannelStore,
  { path, subdir, layer, place }: PreparedArchive,
  status: PushStatus,
  stored: StoredPackage | undefined,
): PushedArchive {
  return {
    path,
    subdir,
    filename: layer.filename,
    status,
    digest: layer.digest,
    size: layer.size,
    repository: store.packageRepository(subdir, place).name,
    tag: place.tag,
    manifest: stored?.descriptor.digest,
  };
}

function inOrder<T extends { readonly path: string }>(items: readonly T[], paths: readonly string[]): T[] {
  const places = new Map(paths.map((path, place) => [path, place]));
  return items.toSorted((a, b) => (places.get(a.path) ?? 0) - (places.get(b.path) ?? 0));
}

/** The sha256 of an archive as records have it. */
export function sha256Of({ layer }: Pick<PreparedArchive, 'layer'>): string {
  return digestHex(layer.digest);
}
