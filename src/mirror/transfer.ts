import type { ChannelStore } from '../artifact/channel-store.js';
import {
  isCanonical,
  layersOf,
  makePackageArtifact,
  type PackageArtifact,
  type PackedArchive,
  type StoredArchive,
} from '../artifact/package-artifact.js';
import { LATEST } from '../artifact/metadata-artifact.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { parseArchiveFilename } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { CopyError, FerryError, isFerryError, isSystemError, TransportError } from '../errors.js';
import { digestHex, sha256Digest, type Digest } from '../io/digest.js';
import { Resources } from '../io/resources.js';
import { copyGraph, type CopyOptions } from '../oci/copy-graph.js';
import { parseImageManifest, tryParseImageManifest, type ImageManifest } from '../oci/manifest.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { DeleteOptions, Repository } from '../oci/storage.js';
import { takeRoom } from './archive-room.js';
import { findMountable } from './mount-archives.js';
import type { PlanItem, TagWork } from './plan.js';
import { asCopyError } from './stored-artifact.js';
import { receiveArchive, type ReceivedArchive, type ReceiveOptions } from './receive.js';

/** How often a merge of twins is tried against other writers. */
const MAX_MERGES = 5;

/** What {@link transferItem} works with. */
export interface TransferOptions extends Omit<ReceiveOptions, 'uploadTo' | 'source'> {
  readonly source: ChannelSource;
  readonly store: ChannelStore;
  /** The source, where its blobs can be mounted. @defaultValue all archives are fetched */
  readonly mountSource?: ChannelStore | undefined;
  /** Archives that failed before: nothing of them is sent until they are checked. */
  readonly isSuspect: (record: RepodataRecord) => boolean;
  /** What the caller knows of the destination. @defaultValue what a manifest there names is there */
  readonly known?: KnownContent | undefined;
}

/** What is known of one repository by having looked. */
export interface KnownContent {
  /** `true` there, `false` not there whatever a manifest says, `undefined` not looked at. */
  has(digest: Digest): boolean | undefined;
  /** What is there and damaged. It is removed, where that is possible, just before the right bytes are sent. */
  readonly damaged: readonly Descriptor[];
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

/** An archive at hand, or one that can be mounted. */
interface CarriedArchive {
  readonly packed: PackedArchive | StoredArchive;
  /** Whether its blob is at the destination already. */
  readonly uploaded: boolean;
}

/** Codes that mean that no other package would fare better. */
const FATAL_AT_DESTINATION = new Set(['UNAUTHORIZED', 'DENIED', 'RATE_LIMITED', 'LOCK_TIMEOUT', 'LOCK_LOST']);

/**
 * Carries one tag: fetch, check, pack, push; or mount, where the source's artifact tells enough. An archive that is at
 * fault is an outcome and stops nothing else.
 * @throws CopyError (destination), FerryError `DISK_FULL`: what ends the whole run
 */
export async function transferItem(
  item: TagWork,
  options: TransferOptions,
): Promise<readonly TransferOutcome[]> {
  const { store, mountSource, isSuspect, temp, signal } = options;
  const repository = store.packageRepository(item.subdir, item.place);
  const carried: { readonly record: RepodataRecord; readonly archive: CarriedArchive }[] = [];
  const outcomes: TransferOutcome[] = [];
  const mountable =
    mountSource && (await findMountable(item, (record) => !isSuspect(record), mountSource, options));
  const mountFrom = mountable?.from;
  const toFetch = item.add.filter((record) => mountable?.archives.has(record) !== true);
  // Its twin may have to be read again; one that nobody lists any more is about as large.
  const twins = item.twin === undefined ? [] : [item.twin.record ?? item.add[0] ?? {}];
  using _ = await takeRoom(temp, [...toFetch, ...twins], { signal });
  await using received = new Resources();
  for (const record of item.add) {
    const stored = mountable?.archives.get(record);
    if (stored !== undefined) {
      carried.push({ record, archive: { packed: stored, uploaded: false } });
      continue;
    }
    try {
      // What can be mounted need not go up while it comes down.
      const uploadTo = isSuspect(record) || mountFrom !== undefined ? undefined : repository;
      const archive = received.use(await receiveArchive(record, { ...options, uploadTo }));
      carried.push({ record, archive });
    } catch (error) {
      outcomes.push({ record, outcome: 'failed', error: await packageFault(error, item, options) });
    }
  }
  const [first] = carried;
  if (first === undefined) return outcomes;
  try {
    const archives = carried.map(({ archive }) => archive);
    const existing =
      item.twin === undefined ? undefined : await readExisting(repository, item, item.twin, options);
    await store.ensureConfig(repository, { signal, mountFrom });
    await using twin = await existing?.twin?.().catch(async (error: unknown) => {
      const record = item.twin?.record;
      if (existing.manifest !== undefined || record === undefined) throw error;
      // It was not there, and is not to be had: it must not stay listed.
      outcomes.push({ record, outcome: 'failed', error: await packageFault(error, item, options) });
      return undefined;
    });
    const all = twin === undefined ? archives : [...archives, twin];
    await pushMerged(item, repository, all, existing?.manifest, { ...options, mountFrom });
  } catch (error) {
    const fault = await packageFault(asCopyError(first.record, error), item, options);
    return [
      ...outcomes,
      ...carried.map(({ record }) => ({ record, outcome: 'failed' as const, error: fault })),
    ];
  }
  for (const { record, archive } of carried) {
    const { digest, size } = archive.packed.layer;
    outcomes.push({ record, outcome: 'added', digest, size });
  }
  return outcomes;
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
  item: TagWork,
  { filename, record }: NonNullable<PlanItem['twin']>,
  options: TransferOptions,
): Promise<Existing> {
  const { store, signal } = options;
  const { extension, name, version, build } = parseArchiveFilename(filename);
  // Some registries cannot read for a moment what others are writing: absence is believed the second time.
  const stored =
    (await repository.fetchManifest(item.place.tag, { signal })) ??
    (await repository.fetchManifest(item.place.tag, { signal }));
  const manifest = stored === undefined ? undefined : tryParseImageManifest(stored.bytes);
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

/**
 * Pushes the artifact. Where twins meet, the tag is read again afterwards, and merged again if another writer took a
 * layer away; so writers converge.
 */
async function pushMerged(
  item: TagWork,
  repository: Repository,
  carried: readonly CarriedArchive[],
  existing: ImageManifest | undefined,
  options: TransferOptions & Pick<CopyOptions, 'mountFrom'>,
): Promise<void> {
  const { store, mountFrom, signal } = options;
  const archives = carried.map(({ packed }) => packed);
  const atDestination = new Set<Digest>([store.schema.config.digest]);
  for (const { uploaded, packed } of carried) if (uploaded) atDestination.add(packed.layer.digest);

  let base = existing;
  for (let merges = 1; ; merges += 1) {
    for (const layer of base?.layers ?? []) atDestination.add(layer.digest);
    const artifact = makePackageArtifact(store.schema, archives, { existing: base });
    const { known } = options;
    if (merges === 1) await makeRoom(repository, artifact, item, options);
    await copyGraph(artifact, repository, artifact.descriptor, {
      tags: [item.place.tag],
      destinationHas: ({ digest }) => known?.has(digest) ?? atDestination.has(digest),
      mountFrom,
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

/** Stores take what has the right digest and size for what is there already, and would keep it as it is. */
async function makeRoom(
  repository: Repository,
  { descriptor, manifest }: PackageArtifact,
  { place }: TagWork,
  { known, signal }: TransferOptions,
): Promise<void> {
  const coming = new Set([descriptor, manifest.config, ...manifest.layers].map(({ digest }) => digest));
  for (const damaged of known?.damaged ?? []) {
    if (coming.has(damaged.digest)) await removeDamaged(repository, damaged, { tags: [place.tag], signal });
  }
}

/**
 * Removes content whose bytes are not those of its digest, so that the right ones can be written. A store that deletes
 * nothing keeps it; then only looking again tells whether writing helped.
 */
export async function removeDamaged(
  repository: Repository,
  content: Descriptor,
  options: DeleteOptions,
): Promise<void> {
  try {
    await repository.delete?.(content, options);
  } catch (error) {
    const isRefused = (
      ['UNSUPPORTED', 'DENIED', 'UNAUTHORIZED', 'REGISTRY_REFUSED', 'NOT_FOUND'] as const
    ).some((code) => isFerryError(error, code));
    if (!isRefused) throw error;
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
async function packageFault(error: unknown, item: TagWork, options: TransferOptions): Promise<FerryError> {
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

/** Tells whether nobody answers at the source's own host; a record may send us to another one. */
export function isSourceGone(error: FerryError, source: Pick<ChannelSource, 'url' | 'origin'>): boolean {
  const origin = source.origin ?? (URL.canParse(source.url) ? new URL(source.url).origin : undefined);
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (!(cause instanceof TransportError)) continue;
    if (!isSystemError(cause.cause, 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN')) return false;
    return new URL(cause.url).origin === origin;
  }
  return false;
}
