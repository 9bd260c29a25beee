import type { ChannelStore } from '../artifact/channel-store.js';
import {
  isCanonical,
  layersOf,
  makePackageArtifact,
  type PackageArtifact,
  type PackedArchive,
} from '../artifact/package-artifact.js';
import { LATEST } from '../artifact/metadata-artifact.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { parseArchiveFilename } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { CopyError, FerryError, isFerryError, isSystemError, TransportError } from '../errors.js';
import { digestHex, sha256Digest, type Digest } from '../io/digest.js';
import { copyGraph } from '../oci/copy-graph.js';
import { parseImageManifest, type ImageManifest } from '../oci/manifest.js';
import type { Repository } from '../oci/storage.js';
import type { PlanItem } from './plan.js';
import { destinationError, receiveArchive, type ReceivedArchive, type ReceiveOptions } from './receive.js';

/** How often a merge of twins is tried against other writers. */
const MAX_MERGES = 5;

/** What {@link transferItem} works with. */
export interface TransferOptions extends Omit<ReceiveOptions, 'uploadTo' | 'source'> {
  readonly source: ChannelSource;
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
const FATAL_AT_DESTINATION = new Set(['UNAUTHORIZED', 'DENIED', 'RATE_LIMITED', 'LOCK_TIMEOUT', 'LOCK_LOST']);

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
    for (const record of item.add) {
      try {
        const uploadTo = options.isSuspect(record) ? undefined : repository;
        received.push({ record, archive: await receiveArchive(record, { ...options, uploadTo }) });
      } catch (error) {
        outcomes.push({ record, outcome: 'failed', error: await packageFault(error, item, options) });
      }
    }
    const [first] = received;
    if (first === undefined) return outcomes;
    try {
      const archives = received.map(({ archive }) => archive);
      const existing =
        item.twin === undefined ? undefined : await readExisting(repository, item, item.twin, options);
      await store.ensureConfig(repository, { signal });
      await using twin = await existing?.twin?.().catch(async (error: unknown) => {
        const record = item.twin?.record;
        if (existing.manifest !== undefined || record === undefined) throw error;
        // It was not there, and is not to be had: it must not stay listed.
        outcomes.push({ record, outcome: 'failed', error: await packageFault(error, item, options) });
        return undefined;
      });
      const all = twin === undefined ? archives : [...archives, twin];
      await pushMerged(item, repository, all, existing?.manifest, options);
    } catch (error) {
      const fault = await packageFault(destinationError(first.record, error), item, options);
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
  readonly manifest: ImageManifest | undefined;
  /** Reads the twin's archive again, where that is needed for the artifact to become what we would have written. */
  readonly twin: (() => Promise<ReceivedArchive>) | undefined;
}

/**
 * Reads the artifact that a twin is to join. Of one that another tool wrote, info and index are not kept, so where the
 * `.conda` is the one that is there, it is read again; so is an archive whose md5 is not told. Where the twin turns out
 * not to be there, it is fetched from the source.
 */
async function readExisting(
  repository: Repository,
  item: PlanItem,
  { filename, record }: NonNullable<PlanItem['twin']>,
  options: TransferOptions,
): Promise<Existing> {
  const { store, signal } = options;
  const { extension, name, version, build } = parseArchiveFilename(filename);
  // Some registries cannot read for a moment what others are writing: absence is believed the second time.
  const stored =
    (await repository.fetchManifest(item.place.tag, { signal })) ??
    (await repository.fetchManifest(item.place.tag, { signal }));
  const manifest = stored === undefined ? undefined : tryParse(stored.bytes);
  if (manifest !== undefined) store.rememberConfig(repository, manifest);
  const layer =
    manifest && layersOf(manifest).packages.find((found) => found.extension === extension)?.descriptor;
  const isWanted =
    layer !== undefined && (record?.sha256 === undefined || layer.digest === sha256Digest(record.sha256));
  if (stored === undefined || manifest === undefined || !isWanted) {
    if (record === undefined) return { manifest: undefined, twin: undefined };
    return { manifest: undefined, twin: () => receiveArchive(record, { ...options, uploadTo: undefined }) };
  }
  const isEnough = extension === 'tar.bz2' && layer.annotations?.[store.schema.md5Annotation] !== undefined;
  if (isEnough || isCanonical(store.schema, stored.bytes)) return { manifest, twin: undefined };
  const { digest, size } = layer;
  const stand = { filename, extension, name, version, build, listedIn: item.subdir };
  const source = { openArchive: () => repository.fetch(layer, { signal }) };
  const twin = (): Promise<ReceivedArchive> =>
    receiveArchive(
      { ...stand, sha256: digestHex(digest), size },
      { ...options, source, uploadTo: undefined },
    );
  return { manifest, twin };
}

/** What stands under a tag, if it is an image manifest; anything else makes room for what belongs there. */
function tryParse(bytes: Uint8Array): ImageManifest | undefined {
  try {
    return parseImageManifest(bytes);
  } catch (error) {
    if (isFerryError(error, 'MANIFEST_INVALID')) return undefined;
    throw error;
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
  existing: ImageManifest | undefined,
  options: TransferOptions,
): Promise<void> {
  const { store, signal } = options;
  const archives: readonly PackedArchive[] = received.map(({ packed }) => packed);
  const atDestination = new Set<Digest>([store.schema.config.digest]);
  for (const { uploaded, packed } of received) if (uploaded) atDestination.add(packed.layer.digest);

  let base = existing;
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

/**
 * Returns what is the package's own fault, and throws what no other package would fare better with: a source or a
 * destination that does not answer at all.
 */
async function packageFault(error: unknown, item: PlanItem, options: TransferOptions): Promise<FerryError> {
  if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
  if (!(error instanceof CopyError) || error.side === 'source') {
    if (isSourceGone(error, options.source)) throw error;
    return error;
  }
  if (FATAL_AT_DESTINATION.has(error.code)) throw error;
  if (error.code === 'NETWORK' || error.code === 'TIMEOUT') {
    // One package that a proxy refuses to let through must not stop the others for ever.
    await options.store.metadataRepository(item.subdir, 'ledger').resolve(LATEST, options);
  }
  return error;
}

/** Whether nobody answers at the source's own host; a record may send us to another one. */
export function isSourceGone(error: FerryError, source: Pick<ChannelSource, 'url'>): boolean {
  if (!(error instanceof TransportError)) return false;
  if (!isSystemError(error.cause, 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN')) return false;
  return URL.canParse(source.url) && new URL(error.url).origin === new URL(source.url).origin;
}
