/**
 * Migration: a channel of one schema as a channel of the other, with new manifests over the same blobs. The source is
 * only read, so going back is deleting the destination.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { OciChannel } from '../../artifact/oci-channel.js';
import { WorkerPool } from '../../artifact/worker-pool.js';
import { checkSubdirs } from '../../conda/names.js';
import { FerryError } from '../../errors.js';
import { quietSignal } from '../../io/quiet-signal.js';
import { Resources } from '../../io/resources.js';
import { TempFolder } from '../../io/temp-folder.js';
import { DEFAULT_CONCURRENCY } from '../mirror.js';
import type { MirrorReporter } from '../report.js';
import { isSameRegistry } from '../stored-artifact.js';
import { carryMetadata } from './carry-metadata.js';
import { checkSameMigration, type MigrationFailures } from './failures-file.js';
import { migrateSubdir } from './migrate-subdir.js';
import type { MigrationContext } from './migration-context.js';
import { planItems } from './plan-items.js';
import { prepareSubdir, type PreparedSubdir } from './prepare-subdir.js';
import { lockDestination, type LockOptions } from '../lock-destination.js';
import type { MigratedSubdir, MigrationEnds, MigrationPlan, MigrationReport } from './report.js';

/** Options of {@link migrateChannel} and {@link planMigration}. */
export interface MigrateOptions {
  /** Only read. */
  readonly source: ChannelStore;
  /** Of the other schema. Where it is in the same registry as the source, blobs are mounted. */
  readonly destination: ChannelStore;
  /** Subdirs to migrate. @defaultValue all that the source has */
  readonly subdirs?: readonly string[] | undefined;
  /** Artifacts under way at once. @defaultValue 16 */
  readonly concurrency?: number | undefined;
  /** Leave out packages that fail, instead of stopping at the first one. @defaultValue false */
  readonly keepGoing?: boolean | undefined;
  /** What failed before: only that is tried, and the run keeps going. @defaultValue all is migrated */
  readonly retryFailed?: MigrationFailures | undefined;
  /** @defaultValue threads of its own */
  readonly workers?: WorkerPool | undefined;
  /** Where temporary files go. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  /** As {@link LockOptions.lockFolder}. @defaultValue nobody is kept out */
  readonly lockFolder?: LockOptions['lockFolder'];
  readonly reporter?: MirrorReporter | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Says what {@link migrateChannel} would do: reads the source's manifests, writes nothing and opens no archive.
 * @throws FerryError as {@link migrateChannel}
 */
export async function planMigration(options: MigrateOptions): Promise<MigrationPlan> {
  await using resources = new Resources();
  const context = await openContext(options, resources);
  const subdirs = [];
  for (const prepared of await prepareAll(options, context)) subdirs.push(await planItems(prepared, context));
  return { ...endsOf(options), mounts: context.mounts, subdirs };
}

/**
 * Migrates a channel to the other schema. A run that was killed, or ended at a package that failed, goes on the next
 * time; what is there already is not written again.
 * @returns what was done; with `keepGoing`, packages that failed are in it
 * @throws FerryError `USAGE` where the two do not fit, `SCHEMA_CONFLICT`, `FOREIGN_RECORDS`, `CHANNEL_NOT_FOUND`, `LOCK_TIMEOUT`; without
 * `keepGoing` that of the first package that fails; CopyError where the destination fails as a whole
 */
export async function migrateChannel(options: MigrateOptions): Promise<MigrationReport> {
  await using resources = new Resources();
  await using _ = await lockDestination(options.destination, options);
  const context = await openContext(options, resources);
  const all = await prepareAll(options, context);
  const records = all.flatMap(({ items }) => items.flatMap((item) => item.records));
  const bytes = context.mounts ? 0 : records.reduce((sum, { size = 0 }) => sum + size, 0);
  context.reporter.planned?.({ archives: records.length, bytes });

  const subdirs: MigratedSubdir[] = [];
  for (const prepared of all) {
    context.signal?.throwIfAborted();
    subdirs.push(await migrateSubdir(prepared, context));
  }
  const isWhole = context.only === undefined && options.subdirs === undefined;
  const metadata = isWhole ? await carryMetadata('', undefined, context) : [];
  return { ...endsOf(options), mounts: context.mounts, subdirs, metadata };
}

async function openContext(options: MigrateOptions, resources: Resources): Promise<MigrationContext> {
  const { source, destination, retryFailed } = options;
  checkEnds(options);
  if (retryFailed !== undefined) checkSameMigration(retryFailed, endsOf(options));
  return {
    source,
    channel: new OciChannel(source),
    destination,
    mounts: isSameRegistry(source, destination),
    workers: options.workers ?? resources.use(new WorkerPool()),
    temp: resources.use(await TempFolder.create(options.tempDir)),
    resources,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    keepGoing: options.keepGoing === true || retryFailed !== undefined,
    only: retryFailed === undefined ? undefined : bySubdir(retryFailed),
    reporter: options.reporter ?? {},
    now: options.now ?? (() => new Date()),
    signal: options.signal === undefined ? undefined : quietSignal(options.signal),
  };
}

function checkEnds({ source, destination }: MigrateOptions): void {
  if (source.schema.id === destination.schema.id) {
    throw new FerryError(
      'USAGE',
      `both ends are of schema ${source.schema.id}: there is nothing to migrate`,
      {
        hint: 'to carry a channel as it is, use mirror',
      },
    );
  }
  if (isSameRegistry(source, destination) && source.path === destination.path) {
    throw new FerryError(
      'USAGE',
      `\`${source.location}\` cannot hold both schemas: their repositories would mix`,
      {
        hint: 'give the destination a path of its own',
      },
    );
  }
}

function endsOf({ source, destination }: MigrateOptions): MigrationEnds {
  return {
    source: source.location,
    destination: destination.location,
    from: source.schema.id,
    to: destination.schema.id,
  };
}

function bySubdir({ failures }: MigrationFailures): ReadonlyMap<string, ReadonlySet<string>> {
  const only = new Map<string, Set<string>>();
  for (const { subdir, filename } of failures) {
    const filenames = only.get(subdir) ?? new Set();
    only.set(subdir, filenames.add(filename));
  }
  return only;
}

async function prepareAll(
  { subdirs }: MigrateOptions,
  context: MigrationContext,
): Promise<readonly PreparedSubdir[]> {
  const { channel, only, signal } = context;
  checkSubdirs(subdirs);
  const wanted = new Set(subdirs ?? only?.keys() ?? (await channel.subdirs({ signal })));
  const all: PreparedSubdir[] = [];
  for (const subdir of wanted) {
    if (only !== undefined && !only.has(subdir)) continue;
    const prepared = await prepareSubdir(subdir, context);
    if (prepared !== undefined) all.push(prepared);
  }
  if (all.length > 0 || only !== undefined) return all;
  const { schema } = context.source;
  const { destination } = context;
  throw new FerryError(
    'CHANNEL_NOT_FOUND',
    `there is no repodata of schema ${schema.id} at \`${context.source.location}\``,
    { hint: `if the channel is of schema ${destination.schema.id}, migrate it to ${schema.id}` },
  );
}
