/**
 * Conformance: checks an archive, an artifact, a subdir, a channel in a store or an ordinary channel by every clause that
 * applies, and reports every breach. Clauses are data (`spec/`), rules are one file per area in `rules/`, and what they
 * find goes through one log; the files beside this one read what the rules judge.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { TempFolder } from '../io/temp-folder.js';
import { forEachConcurrently } from '../io/pool.js';
import { checkArchive } from './check-archive.js';
import { checkArtifact, type ArtifactTarget } from './check-artifact.js';
import { checkChannel } from './check-channel.js';
import { CheckContext, type CheckReporter } from './check-context.js';
import { checkFiles } from './check-files.js';
import { CheckLog } from './check-log.js';
import { Expander } from './expander.js';
import { makeReport, type CheckReport } from './report.js';

/** Artifacts or archives under way at once. */
const DEFAULT_CONCURRENCY = 16;

/** What to check. */
export type CheckTarget =
  /** Archive files, each by itself. */
  | {
      readonly kind: 'archive';
      readonly archives: readonly { readonly path: string; readonly filename: string }[];
    }
  /** One artifact: a package's, or one of metadata. */
  | ({ readonly kind: 'artifact' } & ArtifactTarget)
  | { readonly kind: 'channel'; readonly store: ChannelStore }
  /** An ordinary channel. */
  | { readonly kind: 'files'; readonly source: ChannelSource };

/** Options of {@link check}. */
export interface CheckTargetOptions {
  /** How the report calls the target, without secrets. */
  readonly name: string;
  /** Only these. @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /**
   * Whether the index layers of packages are read too, which more than doubles what a registry has to do. One artifact
   * alone is always read so.
   * @defaultValue false
   */
  readonly index?: boolean | undefined;
  /** Whether the bytes of all layers, shards and sidecars are read too. @defaultValue false */
  readonly deep?: boolean | undefined;
  /** Look at so many artifacts or archives only, chosen at random; the same for the same seed. */
  readonly sample?: { readonly size: number; readonly seed: string } | undefined;
  /** Whether warnings break conformance too. @defaultValue false */
  readonly strict?: boolean | undefined;
  /** @defaultValue 16 */
  readonly concurrency?: number | undefined;
  /** Where large archives lie while they are read. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  readonly now?: (() => Date) | undefined;
  readonly reporter?: CheckReporter | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Checks whether something conforms. Breaches are findings of the report and never thrown; nor are single places that
 * cannot be looked at, unless there are too many.
 * @throws FerryError `CHANNEL_NOT_FOUND`, `NOT_FOUND` where there is nothing to check; what the store or source throws
 */
export async function check(target: CheckTarget, options: CheckTargetOptions): Promise<CheckReport> {
  await using expander = new Expander();
  await using temp = await TempFolder.create(options.tempDir);
  const log = new CheckLog();
  const context = new CheckContext(log, {
    expander,
    temp,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    index: target.kind === 'artifact' || options.index === true || options.deep === true,
    deep: options.deep ?? false,
    sample: options.sample,
    subdirs: options.subdirs,
    now: options.now ?? (() => new Date()),
    reporter: options.reporter,
    signal: options.signal,
  });
  await run(target, context);
  const { sample } = options;
  return makeReport({
    log,
    target: options.name,
    kind: kindOf(target, options),
    schema: 'store' in target ? target.store.schema.id : undefined,
    checked: context.counts,
    sample: sample === undefined ? undefined : { ...sample, of: context.population },
    unread: unreadOf(target, context),
    unchecked: context.unchecked,
    strict: options.strict,
  });
}

async function run(target: CheckTarget, context: CheckContext): Promise<void> {
  switch (target.kind) {
    case 'archive':
      return checkArchiveFiles(target.archives, context);
    case 'artifact':
      return checkArtifact(target, context);
    case 'channel':
      return checkChannel(target.store, context);
    case 'files':
      return checkFiles(target.source, context);
  }
}

function kindOf({ kind }: CheckTarget, { subdirs }: CheckTargetOptions): CheckReport['kind'] {
  if (kind === 'archive' || kind === 'artifact') return kind;
  return subdirs?.length === 1 ? 'subdir' : 'channel';
}

function unreadOf({ kind }: CheckTarget, { options }: CheckContext): CheckReport['unread'] {
  if (options.deep || kind === 'archive') return undefined;
  return options.index || kind === 'files' ? 'archives' : 'layers';
}

async function checkArchiveFiles(
  archives: readonly { readonly path: string; readonly filename: string }[],
  context: CheckContext,
): Promise<void> {
  const { concurrency, signal, reporter } = context.options;
  reporter?.planned?.(archives.length);
  await forEachConcurrently(archives, { concurrency, signal }, async ({ path, filename }) => {
    await checkArchive({ archive: { path }, filename, where: filename }, context.log, { signal });
    context.counts.archives += 1;
    reporter?.checked?.();
  });
}
