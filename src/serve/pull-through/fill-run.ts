import type { ChannelStore } from '../../artifact/channel-store.js';
import { LATEST } from '../../artifact/metadata-artifact.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import type { Digest } from '../../io/digest.js';
import { Resources } from '../../io/resources.js';
import { TempFolder } from '../../io/temp-folder.js';
import { NO_FILTERS, type Filters } from '../../mirror/filters/filters.js';
import { mirrorChannel } from '../../mirror/mirror.js';
import type { MirrorReport } from '../../mirror/report.js';
import type { ReplacedManifest } from '../../oci/storage.js';
import { tagMoved } from '../../oci/tag-moved.js';
import type { LockedArchive } from '../../provenance/lock-files/locked-archives.js';
import type { FillableArchive } from './fill-list.js';
import type { StoreFillerOptions } from './filler-options.js';
import { isListed, lookAtSubdir, readStoreState, type SubdirLook } from './store-look.js';

/** What a run begins with, whole or in shards. */
const REPODATA_PATH = /^(?<subdir>[^/]+)\/(?:repodata\.json(?:\.zst)?|repodata_shards\.msgpack\.zst)$/;

/** What {@link fillStore} works with. */
export interface FillRunOptions extends Pick<
  StoreFillerOptions,
  | 'store'
  | 'concurrency'
  | 'lockFolder'
  | 'keepGenerations'
  | 'tempDir'
  | 'tempLimitBytes'
  | 'stopGraceMs'
  | 'now'
  | 'reporter'
> {
  readonly source: ChannelSource;
  readonly workers: WorkerPool;
  /** Whether somebody else's run is to be waited for. */
  readonly mustWait: (look: SubdirLook) => boolean;
  /** Archives that were put before, and are only looked at: their names are enough. */
  readonly confirming: ReadonlySet<FillableArchive>;
  /** The repodata that our last run published in a subdir; while that stands, nobody took anything off it. */
  readonly ownLatest: (subdir: string) => Digest | undefined;
  /** Whether a first run of the store publishes noarch beside what is asked for: clients cannot do without it. */
  readonly withNoarch: boolean;
  readonly stop: AbortSignal;
  readonly signal: AbortSignal;
}

/** What {@link fillStore} did. */
export interface FillOutcome {
  /** Archives that were found to be listed. */
  readonly listed: readonly FillableArchive[];
  /** Archives that were not, and that the run was about. */
  readonly tried: readonly FillableArchive[];
  /** Of the mirror run; `undefined` where there was nothing to do. */
  readonly report: MirrorReport | undefined;
}

/**
 * Puts archives into the store by a run of the mirror: of all that the subdirs list, and of these. So records are the
 * upstream's own, what was listed stays listed, and whatever is killed leaves what a killed mirror leaves.
 * @throws FerryError as `mirrorChannel`
 */
export async function fillStore(
  archives: ReadonlyMap<string, readonly FillableArchive[]>,
  options: FillRunOptions,
): Promise<FillOutcome> {
  const { store, source, workers, signal } = options;
  await using resources = new Resources();
  const temp = resources.use(await TempFolder.create(options.tempDir));
  const lookOptions = { store, source: source.url, temp, workers, signal };
  const looks: SubdirLook[] = [];
  const listed: FillableArchive[] = [];
  const tried: FillableArchive[] = [];
  for (const [subdir, wanted] of archives) {
    const state = await readStoreState(subdir, lookOptions);
    if (state.trust === 'vouched' && state.latest?.digest === options.ownLatest(subdir)) {
      if (wanted.every((archive) => options.confirming.has(archive))) {
        listed.push(...wanted);
        continue;
      }
    }
    const look = resources.use(await lookAtSubdir(subdir, state, lookOptions));
    const there = wanted.filter((archive) => {
      const isConfirming = options.confirming.has(archive);
      return isListed(look, isConfirming ? { ...archive, sha256: undefined } : archive);
    });
    // As long as no ledger vouches for the list, it may not stay: a run is needed to say so.
    const isDone = there.length === wanted.length && state.trust === 'vouched';
    if (!isDone && options.mustWait(look)) continue;
    listed.push(...there);
    if (isDone) continue;
    looks.push(look);
    tried.push(...wanted.filter((archive) => !there.includes(archive)));
  }
  if (looks.length === 0) return { listed, tried, report: undefined };
  const subdirs = looks.map(({ subdir }) => subdir);
  const isFirst =
    options.withNoarch &&
    !subdirs.includes('noarch') &&
    (await readStoreState('noarch', lookOptions)).trust === 'empty';
  const seen = new Map<string, ReplacedManifest>(isFirst ? [['noarch', 'nothing']] : []);
  for (const { subdir, state } of looks) seen.set(subdir, state.latest?.digest ?? 'nothing');
  const report = await mirrorChannel({
    source: guarded(source, store, seen),
    destination: store,
    subdirs: isFirst ? ['noarch', ...subdirs] : subdirs,
    filters: filtersOf(looks, tried),
    plainJson: looks.every(({ hasPlainJson }) => hasPlainJson),
    concurrency: options.concurrency,
    keepGenerations: options.keepGenerations,
    lockFolder: options.lockFolder,
    tempDir: options.tempDir,
    tempLimitBytes: options.tempLimitBytes,
    workers,
    reporter: { warning: (message) => options.reporter?.warning?.(message) },
    now: options.now,
    stop: options.stop,
    stopGraceMs: options.stopGraceMs,
    signal,
  });
  return { listed, tried, report };
}

/**
 * A source that is read only as long as the store lists what it was seen to list. A run looks at the store just before it reads
 * the upstream's repodata, when it begins and whenever somebody else has published meanwhile: what they listed is not among
 * what this run is to keep, so it must not go on.
 */
function guarded(
  source: ChannelSource,
  store: ChannelStore,
  seen: ReadonlyMap<string, ReplacedManifest>,
): ChannelSource {
  return {
    ...source,
    openMetadata: async (path, options) => {
      const subdir = REPODATA_PATH.exec(path)?.groups?.['subdir'] ?? '';
      const repository = store.metadataRepository(subdir, 'repodata.json');
      if (seen.has(subdir) && store.latestOf(repository) !== seen.get(subdir))
        throw tagMoved(repository.name, LATEST);
      return source.openMetadata(path, options);
    },
  };
}

/**
 * All that is listed, and what is to come. No hashes: the record that the upstream has now is the one to be mirrored. What
 * was listed and is gone upstream is no fault, so it is said to come from no channel.
 */
function filtersOf(looks: readonly SubdirLook[], tried: readonly FillableArchive[]): Filters {
  const archives: LockedArchive[] = [];
  for (const { subdir, published } of looks)
    for (const filename of published?.repodata.filenames() ?? [])
      archives.push({ subdir, filename, url: '', channel: '' });
  for (const archive of tried) {
    const { subdir, filename } = archive;
    const look = looks.find((candidate) => candidate.subdir === subdir);
    if (look?.published?.repodata.has(filename) !== true) archives.push({ subdir, filename, url: '' });
  }
  return { ...NO_FILTERS, lock: { archives, ignored: { pypi: 0, elsewhere: 0 } } };
}
