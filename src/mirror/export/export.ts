/**
 * Export: any channel to an ordinary conda channel in a folder, with shards. Archives come first, the files that name them
 * last, each by rename; so whatever is killed, what is listed is there.
 */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { checkSubdirs, KNOWN_SUBDIRS } from '../../conda/names.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { FerryError } from '../../errors.js';
import { acquireDirectoryLock } from '../../io/directory-lock.js';
import { quietSignal } from '../../io/quiet-signal.js';
import { Resources } from '../../io/resources.js';
import { TempFolder } from '../../io/temp-folder.js';
import { FOLDER_LOCK } from '../../publish/folder/channel-folder.js';
import { digestOfFile } from '../../publish/folder/put-file.js';
import type { Refused } from '../wanted-records.js';
import { hasFilters, type Filters } from '../filters/filters.js';
import { selectRecords, type SelectableOptions } from '../filters/select-records.js';
import type { Selection } from '../filters/selection.js';
import type { MirrorReport, MirrorReporter, SubdirReport } from '../report.js';
import { copyChannelDocuments } from './documents.js';
import { writeIndexFiles } from './index-files.js';
import {
  prepareExport,
  viewExport,
  type ExportView,
  type ExportWork,
  type PrepareExportOptions,
} from './plan.js';
import { runExport, type ExportContext } from './run.js';
import { readExportState, writeExportState, type ExportState } from './state.js';
import { noRepodata } from '../no-repodata.js';

/** What reports name as the schema of a channel in a folder. */
const PLAIN_SCHEMA = 'plain';

/** Archives under way at once; enough to keep one server busy. */
const DEFAULT_CONCURRENCY = 16;
/** Another run takes minutes: there is no use in waiting for it. */
const LOCK_TIMEOUT_MS = 1_000;

/** What a channel has to have even without packages: clients ask for it first. @see CEP 26 */
const EMPTY_NOARCH =
  '{"info":{"subdir":"noarch"},"packages":{},"packages.conda":{},"removed":[],"repodata_version":1}\n';

/** Options of {@link exportChannel} and {@link planExport}. */
export interface ExportOptions {
  readonly source: ChannelSource;
  /** The channel's folder; made if absent. */
  readonly folder: string;
  /** @defaultValue all that the source has */
  readonly subdirs?: readonly string[] | undefined;
  /** What of it to export. @defaultValue everything */
  readonly filters?: Filters | undefined;
  /** Tells which records are wanted besides. @defaultValue all */
  readonly select?: ((record: RepodataRecord) => boolean) | undefined;
  /** Archives under way at once. @defaultValue 16 */
  readonly concurrency?: number | undefined;
  /** Read every archive in the folder again instead of trusting its repodata. @defaultValue false */
  readonly deep?: boolean | undefined;
  /** Take repodata that is older than what was exported last. @defaultValue false */
  readonly allowOlder?: boolean | undefined;
  /** Keep records that others listed in the folder. @defaultValue false: stop instead */
  readonly merge?: boolean | undefined;
  /** Where temporary files go. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  /** Worker threads that several runs share. @defaultValue some of its own, which end with the run */
  readonly workers?: WorkerPool | undefined;
  readonly reporter?: MirrorReporter | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What {@link exportChannel} would do in one subdir. Bytes count archives to fetch, as far as records say. */
export interface PlannedExport {
  readonly subdir: string;
  readonly listed: number;
  readonly there: number;
  /** Files that have the right size, and are read before they are taken for the archive. */
  readonly toCheck: number;
  readonly toAdd: number;
  readonly bytes: number;
  readonly invalid: readonly Refused[];
  /** Records that filters leave out, by why. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** What {@link exportChannel} would do. */
export interface ExportPlan {
  readonly source: string;
  readonly destination: string;
  readonly schema: string;
  readonly subdirs: readonly PlannedExport[];
}

/** Says what {@link exportChannel} would do; nothing is moved or written. @throws FerryError as {@link exportChannel} */
export async function planExport(options: ExportOptions): Promise<ExportPlan> {
  await using resources = new Resources();
  const folder = checkFolder(options);
  const works = await prepareAll(options, {
    ...(await prepareOptions(options, resources)),
    state: await readExportState(folder),
  });
  return {
    ...names(options),
    subdirs: works.map(({ subdir, repodata, there, toCheck, toAdd, invalid, leftOut }) => ({
      subdir,
      listed: repodata.recordCount,
      there: there.size,
      toCheck: toCheck.length,
      toAdd: toAdd.length,
      bytes: bytesOf(toAdd),
      invalid,
      leftOut,
    })),
  };
}

/**
 * Brings a folder in line with a channel: archives that it lacks, repodata without what would send clients elsewhere, shards,
 * and the companions that the source has. Archives that the source no longer lists stay, unlisted.
 * @returns what was done; archives that failed are in it, are not listed, and do not throw
 * @throws FerryError `CHANNEL_NOT_FOUND`, `SOURCE_OLDER`, `SOURCE_VANISHED`, `FOREIGN_RECORDS`, `LEDGER_INVALID`,
 * `LOCK_TIMEOUT` (another run is at it), `DISK_FULL`. The next run goes on from there.
 */
export async function exportChannel(options: ExportOptions): Promise<MirrorReport> {
  const folder = checkFolder(options);
  const { reporter = {}, now = () => new Date() } = options;
  const startedAt = now();
  await using resources = new Resources();
  const prepare = await prepareOptions(options, resources);
  const found = options.subdirs ?? (await options.source.subdirs(prepare));
  // A source that is not there leaves no folder behind.
  await mkdir(folder, { recursive: true });
  const { signal } = prepare;
  await using lock = await acquireDirectoryLock(join(folder, FOLDER_LOCK), {
    signal,
    timeoutMs: LOCK_TIMEOUT_MS,
  });
  const memory = new Memory(folder, await readExportState(folder), () => lock.assertHeld());
  const context: ExportContext = {
    ...prepare,
    state: memory.state,
    reporter,
    now,
    remember: async (subdir, known) =>
      memory.change({ subdirs: { ...memory.state.subdirs, [subdir]: known } }),
  };
  const works = await prepareAll({ ...options, subdirs: found ?? KNOWN_SUBDIRS }, context);
  const toAdd = works.flatMap((work) => work.toAdd);
  reporter.planned?.({ archives: toAdd.length, bytes: bytesOf(toAdd) });

  const subdirs: SubdirReport[] = [];
  for (const work of works) {
    signal?.throwIfAborted();
    subdirs.push(await runExport(work, context));
  }
  await ensureNoarch(folder, context);
  const warn = (message: string): void => reporter.warning?.(message);
  const before = memory.state.files;
  await memory.change({ files: { ...(await copyChannelDocuments({ ...context, folder, before, warn })) } });
  return {
    ...names(options),
    startedAt: startedAt.toISOString(),
    endedAt: now().toISOString(),
    isInterrupted: false,
    subdirs,
  };
}

/** The state, written whenever it changes. */
class Memory {
  state: ExportState;
  readonly #folder: string;
  readonly #assertHeld: () => Promise<void>;

  constructor(folder: string, state: ExportState, assertHeld: () => Promise<void>) {
    this.#folder = folder;
    this.state = state;
    this.#assertHeld = assertHeld;
  }

  async change(part: Partial<ExportState>): Promise<void> {
    const changed = { ...this.state, ...part };
    if (isDeepStrictEqual(changed, this.state)) return;
    // A machine that slept may have lost the lock to another run.
    await this.#assertHeld();
    await writeExportState(this.#folder, changed);
    this.state = changed;
  }
}

/** @throws FerryError `USAGE` where source and destination are one */
function checkFolder({ source, folder }: ExportOptions): string {
  const root = resolve(folder);
  if (source.url === pathToFileURL(root).href)
    throw new FerryError('USAGE', `\`${root}\` is the source and the destination`);
  return root;
}

async function prepareOptions(
  options: ExportOptions,
  resources: Resources,
): Promise<Omit<PrepareExportOptions, 'state'>> {
  return {
    source: options.source,
    folder: resolve(options.folder),
    select: options.select ?? (() => true),
    workers: options.workers ?? resources.use(new WorkerPool()),
    temp: resources.use(await TempFolder.create(options.tempDir)),
    resources,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    deep: options.deep ?? false,
    allowOlder: options.allowOlder ?? false,
    merge: options.merge ?? false,
    signal: options.signal === undefined ? undefined : quietSignal(options.signal),
  };
}

async function prepareAll(options: ExportOptions, prepare: PrepareExportOptions): Promise<ExportWork[]> {
  checkSubdirs(options.subdirs);
  const wanted = options.subdirs ?? (await options.source.subdirs(prepare)) ?? KNOWN_SUBDIRS;
  const views: ExportView[] = [];
  for (const subdir of new Set(wanted)) {
    const view = await viewExport(subdir, prepare);
    if (view !== undefined) views.push(view);
  }
  const selections = await select(views, options, prepare);
  const works: ExportWork[] = [];
  for (const view of views) works.push(await prepareExport(view, selections?.get(view.subdir), prepare));
  if (works.length > 0) return works;
  throw noRepodata(
    options.source,
    options.subdirs,
    'give the folder above `noarch` and `linux-64`; for other subdirs over HTTP pass --subdir',
  );
}

async function select(
  views: readonly ExportView[],
  { filters, now = () => new Date() }: ExportOptions,
  { signal }: PrepareExportOptions,
): Promise<ReadonlyMap<string, Selection> | undefined> {
  if (filters === undefined || !hasFilters(filters)) return undefined;
  const bySubdir = new Map(views.map((view) => [view.subdir, view]));
  const subdirs = views.map(({ subdir, snapshot }) => ({
    subdir,
    details: (options: SelectableOptions) => snapshot.repodata.details(options),
  }));
  return selectRecords(subdirs, filters, {
    nowMs: now().getTime(),
    firstSeen: (subdir, filename) => {
      const view = bySubdir.get(subdir);
      const since = view?.isOurs === true ? view.known?.waiting?.[filename] : undefined;
      return since === undefined ? undefined : Date.parse(since);
    },
    isPublished: (subdir, filename, identity) =>
      identity !== undefined && bySubdir.get(subdir)?.previous?.identity(filename) === identity,
    signal,
  });
}

async function ensureNoarch(root: string, context: ExportContext): Promise<void> {
  const folder = join(root, 'noarch');
  if ((await digestOfFile(join(folder, 'repodata.json'))) !== undefined) return;
  const { workers, now, signal, reporter } = context;
  const { files } = await writeIndexFiles(Buffer.from(EMPTY_NOARCH), undefined, {
    folder,
    subdir: 'noarch',
    workers,
    createdAt: now(),
    before: {},
    mark: () => Promise.resolve(),
    now,
    warn: (message) => reporter.warning?.(message),
    signal,
  });
  await context.remember('noarch', { source: context.source.url, files: { ...files }, foreign: [] });
}

function names({ source, folder }: ExportOptions): { source: string; destination: string; schema: string } {
  return { source: source.url, destination: resolve(folder), schema: PLAIN_SCHEMA };
}

function bytesOf(records: readonly RepodataRecord[]): number {
  return records.reduce((total, { size = 0 }) => total + size, 0);
}
