import type { ChannelStore } from '../artifact/channel-store.js';
import {
  isCanonical,
  layersOf,
  makePackageArtifact,
  type PackageArtifact,
  type PackedArchive,
} from '../artifact/package-artifact.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { FerryError, isFerryError, isSystemError, TransportError } from '../errors.js';
import type { Digest } from '../io/digest.js';
import { copyGraph } from '../oci/copy-graph.js';
import { parseImageManifest, type ImageManifest } from '../oci/manifest.js';
import type { Repository } from '../oci/storage.js';
import type { PlanItem } from './plan.js';
import { destinationError, receiveArchive, type ReceivedArchive, type ReceiveOptions } from './receive.js';

/** How often a merge of twins is tried against other writers. */
const MAX_MERGES = 5;

/** What {@link transferItem} works with. */
export interface TransferOptions extends Omit<ReceiveOptions, 'uploadTo'> {
  readonly store: ChannelStore;
  /** Archives that failed before: nothing of them is sent until they are checked. */
  readonly isSuspect: (record: RepodataRecord) => boolean;
}

/** What became of one archive. */
export type TransferOutcome =
  | {
      readonly record: RepodataRecord;
      readonly outcome: 'added';
      readonly digest: Digest;
      readonly size: number;
    }
  | { readonly record: RepodataRecord; readonly outcome: 'failed'; readonly error: FerryError };

/** Codes that mean that no other package would fare better. */
const FATAL_AT_DESTINATION = new Set([
  'UNAUTHORIZED',
  'DENIED',
  'NETWORK',
  'TIMEOUT',
  'RATE_LIMITED',
  'LOCK_TIMEOUT',
  'LOCK_LOST',
]);

/**
 * Carries one tag: fetch, check, pack, push. An archive that is at fault is an outcome and stops nothing else.
 * @throws CopyError (destination), FerryError `DISK_FULL`: what ends the whole run
 */
export async function transferItem(
  item: PlanItem,
  options: TransferOptions,
): Promise<readonly TransferOutcome[]> {
  const { store, signal } = options;
  const repository = store.packageRepository(item.subdir, item.place);
  const received: { readonly record: RepodataRecord; readonly archive: ReceivedArchive }[] = [];
  const outcomes: TransferOutcome[] = [];
  try {
    const existing = item.twin === undefined ? undefined : await readExisting(repository, item, options);
    for (const record of item.add) {
      try {
        const uploadTo = options.isSuspect(record) ? undefined : repository;
        received.push({ record, archive: await receiveArchive(record, { ...options, uploadTo }) });
      } catch (error) {
        outcomes.push({ record, outcome: 'failed', error: packageFault(error) });
      }
    }
    if (received.length === 0) return outcomes;

    await using twin = await receiveTwin(existing, options);
    const archives = received.map(({ archive }) => archive);
    try {
      await store.ensureConfig(repository, { signal });
      await pushMerged(
        item,
        repository,
        twin === undefined ? archives : [...archives, twin],
        existing,
        options,
      );
    } catch (error) {
      const [first] = received;
      const fault = packageFault(first === undefined ? error : destinationError(first.record, error));
      return [
        ...outcomes,
        ...received.map(({ record }) => ({ record, outcome: 'failed' as const, error: fault })),
      ];
    }
    for (const { record, archive } of received) {
      const { digest, size } = archive.packed.layer;
      outcomes.push({ record, outcome: 'added', digest, size });
    }
    return outcomes;
  } finally {
    for (const { archive } of received) await archive[Symbol.asyncDispose]();
  }
}

interface Existing {
  readonly manifest: ImageManifest;
  /** The twin, if its archive has to be read again for the artifact to become what we would have written. */
  readonly reread: RepodataRecord | undefined;
}

/**
 * Reads the artifact that a twin is to join. Of one that another tool wrote, info and index are not kept, so where the
 * `.conda` is the one that is there, it is read again; so is an archive whose md5 is not told.
 */
async function readExisting(
  repository: Repository,
  item: PlanItem,
  { store, signal }: TransferOptions,
): Promise<Existing | undefined> {
  const stored = await repository.fetchManifest(item.place.tag, { signal });
  if (stored === undefined) return undefined;
  let manifest: ImageManifest;
  try {
    manifest = parseImageManifest(stored.bytes);
  } catch (error) {
    // Something else stands under the tag; it makes room for what belongs there.
    if (isFerryError(error, 'MANIFEST_INVALID')) return undefined;
    throw error;
  }
  store.rememberConfig(repository, manifest);
  const extension = item.twin?.filename.endsWith('.conda') === true ? 'conda' : 'tar.bz2';
  const layer = layersOf(manifest).packages.find((found) => found.extension === extension)?.descriptor;
  const isEnough = extension === 'tar.bz2' && layer?.annotations?.[store.schema.md5Annotation] !== undefined;
  return {
    manifest,
    reread: isEnough || isCanonical(store.schema, stored.bytes) ? undefined : item.twin?.record,
  };
}

/** Reads a twin again. If the source has it no more, the artifact keeps it as it is. */
async function receiveTwin(
  existing: Existing | undefined,
  options: TransferOptions,
): Promise<ReceivedArchive | undefined> {
  if (existing?.reread === undefined) return undefined;
  try {
    return await receiveArchive(existing.reread, { ...options, uploadTo: undefined });
  } catch (error) {
    packageFault(error);
    return undefined;
  }
}

/**
 * Pushes the artifact. Where twins meet, the tag is read again afterwards, and merged again if another writer took a
 * layer away; so writers converge.
 */
async function pushMerged(
  item: PlanItem,
  repository: Repository,
  received: readonly ReceivedArchive[],
  existing: Existing | undefined,
  options: TransferOptions,
): Promise<void> {
  const { store, signal } = options;
  const archives: readonly PackedArchive[] = received.map(({ packed }) => packed);
  const atDestination = new Set<Digest>([store.schema.config.digest]);
  for (const { uploaded, packed } of received) if (uploaded) atDestination.add(packed.layer.digest);

  let base = existing?.manifest;
  for (let merges = 1; ; merges += 1) {
    for (const layer of base?.layers ?? []) atDestination.add(layer.digest);
    const artifact = makePackageArtifact(store.schema, archives, { existing: base });
    await copyGraph(artifact, repository, artifact.descriptor, {
      tags: [item.place.tag],
      destinationHas: ({ digest }) => atDestination.has(digest),
      signal,
    });
    if (layersOf(artifact.manifest).packages.length < 2) return;
    const after = await repository.fetchManifest(item.place.tag, { signal });
    // Some registries cannot read for a moment what others are writing; what was accepted is not lost by that.
    if (after === undefined || holdsAll(artifact, after.bytes)) return;
    if (merges === MAX_MERGES) {
      throw new FerryError(
        'REGISTRY_REFUSED',
        `\`${repository.name}:${item.place.tag}\` keeps losing a layer to another writer`,
      );
    }
    base = parseImageManifest(after.bytes);
  }
}

function holdsAll(artifact: PackageArtifact, bytes: Uint8Array): boolean {
  const found = new Set(
    layersOf(parseImageManifest(bytes)).packages.map(({ descriptor }) => descriptor.digest),
  );
  return layersOf(artifact.manifest).packages.every(({ descriptor }) => found.has(descriptor.digest));
}

/** Returns what is the package's own fault, and throws the rest. */
function packageFault(error: unknown): FerryError {
  if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
  // Nobody answers at the source: no other archive can be had either.
  if (error instanceof TransportError && isSystemError(error.cause, 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'))
    throw error;
  if ('side' in error && error.side === 'destination' && FATAL_AT_DESTINATION.has(error.code)) throw error;
  return error;
}
