/** One metadata file beside the repodata: read, fitted, pushed; its `latest` is left for the end of the run. */
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { RememberedCompanion } from '../../artifact/ledger.js';
import { metadataMediaType, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import {
  describeMetadata,
  moveLatest,
  pushMetadata,
  resolveLatest,
  type MetadataLayer,
} from '../../artifact/metadata-artifact.js';
import { isChannelFile, type MetadataFile } from '../../artifact/schema.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { FerryError, isFerryError, messageOf } from '../../errors.js';
import { digestOf } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { CallOptions } from '../../oci/storage.js';
import { isSourceGone } from '../transfer.js';
import {
  probeCompanion,
  readCompanion,
  type CompanionAnswer,
  type CompanionContent,
} from './read-companion.js';

/** What conda-oci-mirror uses for repodata; these are as large and read as often. */
const ZSTD_LEVEL = 15;

/** What carrying metadata files works with; a run's context has all but the tag. */
export interface CompanionContext {
  readonly source: ChannelSource;
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  /** The history tag that the repodata of this run gets, such as `2026.11.21.07.35.00`. */
  readonly historyTag: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What became of a metadata file. `unchanged`: the source's bytes were pushed; `spliced`: what of them fits; `kept`: all
 * was as it should be; `absent`: the source has none; `stale`: an older one stays, and `warning` says why.
 */
export interface CompanionReport {
  /** Empty for the files of the channel. */
  readonly subdir: string;
  readonly file: MetadataFile;
  readonly outcome: 'unchanged' | 'spliced' | 'kept' | 'absent' | 'stale';
  readonly warning?: string;
}

/** A manifest that was pushed, and that `latest` does not name yet. */
export interface PendingMove {
  readonly subdir: string;
  readonly file: MetadataFile;
  readonly descriptor: Descriptor;
}

/** What is remembered of metadata files, by their names: `companions` of a ledger. */
export type RememberedCompanions = Readonly<Record<string, RememberedCompanion>>;

/** What became of several metadata files. */
export interface CarriedCompanions {
  readonly reports: readonly CompanionReport[];
  /** To be made by {@link moveCompanions} before the repodata's `latest` is moved. */
  readonly moves: readonly PendingMove[];
  /** For the ledger, once the moves are made. */
  readonly companions: RememberedCompanions;
}

/** One file to carry. */
export interface CompanionTask {
  readonly subdir: string;
  readonly file: MetadataFile;
  readonly remembered: RememberedCompanion | undefined;
  /** Whether the source need only say that the file did not change: the one that is published would fit still. */
  readonly isConditional: boolean;
  /** Fits the text to what the mirror holds; `undefined` where it fits. @throws FerryError where it is malformed */
  fit(bytes: Uint8Array): Promise<Uint8Array | undefined> | Uint8Array | undefined;
}

/**
 * Carries metadata files, one after the other, since each may be large. What is wrong with them at the source is a
 * warning: nobody needs them as much as the packages.
 * @throws CopyError, FerryError where the destination fails, or nobody answers at the source
 */
export async function carryCompanions(
  tasks: readonly CompanionTask[],
  context: CompanionContext,
): Promise<CarriedCompanions> {
  const reports: CompanionReport[] = [];
  const moves: PendingMove[] = [];
  const companions: Record<string, RememberedCompanion> = {};
  for (const task of tasks) {
    context.signal?.throwIfAborted();
    const { subdir, file } = task;
    const carried = await carryOne(task, context);
    reports.push({ subdir, file, ...carried.report });
    if (carried.pushed !== undefined) moves.push({ subdir, file, descriptor: carried.pushed });
    if (carried.remembered !== undefined) companions[file] = carried.remembered;
  }
  return { reports, moves, companions };
}

/**
 * Moves `latest` of what {@link carryCompanions} pushed.
 * @throws FerryError `TAG_MOVED` where it is found to be somebody else's by now
 */
export async function moveCompanions(
  store: ChannelStore,
  moves: readonly PendingMove[],
  { signal }: CallOptions = {},
): Promise<void> {
  for (const { subdir, file, descriptor } of moves)
    await moveLatest(store, subdir, file, descriptor, { signal });
}

/**
 * Says whether {@link carryCompanions} would publish a file anew. One that was never published is not read for that; what is
 * wrong with a file at the source costs the destination nothing.
 * @throws FerryError where nobody answers at the source
 */
export async function foreseeCompanion(
  task: CompanionTask,
  context: Omit<CompanionContext, 'historyTag'>,
): Promise<boolean> {
  const { subdir, file, remembered } = task;
  if (remembered === undefined) {
    try {
      return (await probeCompanion(subdir, file, !isChannelFile(file), context)) === 'found';
    } catch (error) {
      if (!isFerryError(error) || isSourceGone(error, context.source)) throw error;
      return false;
    }
  }
  const read = await readFitted(task, context);
  if ('fault' in read || read.answer.status !== 'found') return false;
  return remembered.digest !== digestOf(read.fitted ?? read.answer.content.bytes);
}

interface CarriedOne {
  readonly report: Pick<CompanionReport, 'outcome' | 'warning'>;
  readonly pushed?: Descriptor;
  readonly remembered?: RememberedCompanion | undefined;
}

async function carryOne(task: CompanionTask, context: CompanionContext): Promise<CarriedOne> {
  const { remembered } = task;
  const read = await readFitted(task, context);
  if ('fault' in read) return { report: { outcome: 'stale', warning: read.fault }, remembered };
  const { answer, fitted } = read;
  if (answer.status === 'unchanged') return { report: { outcome: 'kept' }, remembered };
  if (answer.status === 'absent') {
    if (remembered === undefined) return { report: { outcome: 'absent' } };
    const warning = `${nameOf(task)}: the source has it no more; the last one stays`;
    return { report: { outcome: 'stale', warning }, remembered };
  }
  return publish(task, answer.content, fitted, context);
}

/** Reads the file and fits it, or says what is wrong with it at the source. */
async function readFitted(
  task: CompanionTask,
  { source, workers, signal }: Omit<CompanionContext, 'historyTag'>,
): Promise<
  { readonly answer: CompanionAnswer; readonly fitted: Uint8Array | undefined } | { readonly fault: string }
> {
  const { subdir, file, remembered } = task;
  try {
    const unless = task.isConditional ? remembered : undefined;
    const answer = await readCompanion(subdir, file, !isChannelFile(file), {
      source,
      workers,
      unless,
      signal,
    });
    const fitted = answer.status === 'found' ? await task.fit(answer.content.bytes) : undefined;
    return { answer, fitted };
  } catch (error) {
    if (!isFerryError(error) || error.code === 'INTERNAL' || isSourceGone(error, source)) throw error;
    const stays = remembered === undefined ? 'it is left out' : 'the last one stays';
    return { fault: `${nameOf(task)}: ${messageOf(error)}; ${stays}` };
  }
}

async function publish(
  task: CompanionTask,
  content: CompanionContent,
  fitted: Uint8Array | undefined,
  context: CompanionContext,
): Promise<CarriedOne> {
  const { subdir, file, remembered } = task;
  const { store, signal } = context;
  const bytes = fitted ?? content.bytes;
  const isSpliced = fitted !== undefined;
  const entry = (manifest: Descriptor['digest']): RememberedCompanion => {
    const { etag, lastModified } = content.validators;
    return {
      file: content.form,
      digest: digestOf(bytes),
      ...(etag === undefined ? {} : { etag }),
      ...(lastModified === undefined ? {} : { last_modified: lastModified }),
      manifest,
      ...(isSpliced ? { spliced: true } : {}),
    };
  };
  if (remembered?.digest === digestOf(bytes)) {
    return { report: { outcome: 'kept' }, remembered: entry(remembered.manifest) };
  }
  const layers = await layersOf(file, bytes, isSpliced ? undefined : content.zst, context);
  const root = describeMetadata(store, layers);
  const latest = await resolveLatest(store, subdir, file, { signal });
  // An earlier run of ours wrote it.
  if (latest !== undefined && latest.digest === remembered?.manifest)
    store.rememberConfig(store.metadataRepository(subdir, file));
  if (latest?.digest === root.digest) return { report: { outcome: 'kept' }, remembered: entry(root.digest) };
  const pushed = await pushMetadata(store, subdir, file, layers, { tags: [context.historyTag], signal });
  if (pushed.digest !== root.digest) throw new FerryError('INTERNAL', `\`${file}\` came out twice`);
  const outcome = isSpliced ? 'spliced' : 'unchanged';
  return { report: { outcome }, pushed, remembered: entry(pushed.digest) };
}

/** Plain, and compressed for the files that clients ask for so. */
async function layersOf(
  file: MetadataFile,
  bytes: Uint8Array,
  own: Uint8Array | undefined,
  { workers, signal }: CompanionContext,
): Promise<MetadataLayer[]> {
  const mediaType = metadataMediaType(file);
  const plain = { mediaType, title: file, bytes };
  if (isChannelFile(file)) return [plain];
  const zst = own ?? (await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal));
  return [plain, { mediaType: mediaType + ZSTD_SUFFIX, title: `${file}.zst`, bytes: zst }];
}

function nameOf({ subdir, file }: CompanionTask): string {
  return subdir === '' ? file : `${subdir}/${file}`;
}
