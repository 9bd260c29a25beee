/** One artifact's way from schema to schema: a new manifest over blobs that are mounted, or copied. */
import { INFO_INDEX, INFO_TAR_GZIP } from '../../artifact/media-types.js';
import { LATEST } from '../../artifact/metadata-artifact.js';
import { isCanonical, layersOf } from '../../artifact/package-artifact.js';
import {
  describePackage,
  type ArtifactParts,
  type HeldArchive,
  type PartialInfo,
} from '../../artifact/relabel.js';
import type { PackageContent } from '../../artifact/schema.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { CopyError, isFerryError, type FerryError } from '../../errors.js';
import { openerOf, type Bytes, type OpenBytes } from '../../io/bytes.js';
import { digestHex, digestOf, type Digest } from '../../io/digest.js';
import type { TempFolder } from '../../io/temp-folder.js';
import { copyGraph } from '../../oci/copy-graph.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { parseImageManifest } from '../../oci/manifest.js';
import type { ContentSource } from '../../oci/storage.js';
import { takeRoom } from '../archive-room.js';
import { receiveArchive, type ReceivedArchive } from '../receive.js';
import { asCopyError, fromSource, readStoredArtifact } from '../stored-artifact.js';
import type { MigrationContext } from './migration-context.js';
import type { MigrationItem } from './prepare-subdir.js';

/** A record that could not be migrated. */
export interface Fault {
  readonly record: RepodataRecord;
  readonly error: FerryError;
}

/** What {@link migrateItem} works with. */
export interface ItemContext extends MigrationContext {
  readonly temp: TempFolder;
  /** Whether the destination may hold some of it already. */
  readonly asksFirst: boolean;
  /** Called before the first request that writes. */
  readonly beforeWriting: () => Promise<void>;
}

/** What became of one artifact. */
export interface ItemOutcome {
  readonly item: MigrationItem;
  /** What its tag at the destination names, and whether that was written now; `undefined` if all of it failed. */
  readonly artifact: { readonly digest: Digest; readonly isNew: boolean } | undefined;
  /** Records of the archives that it holds. */
  readonly held: readonly RepodataRecord[];
  readonly faults: readonly Fault[];
  /** Archives whose bytes were read or sent, and how many bytes that was. */
  readonly moved: { readonly archives: number; readonly bytes: number };
}

/** Codes that mean that no other package would fare better. */
const FATAL_AT_DESTINATION = new Set(['UNAUTHORIZED', 'DENIED', 'RATE_LIMITED', 'LOCK_TIMEOUT', 'LOCK_LOST']);

/**
 * Migrates one artifact. What is the package's own fault is an outcome.
 * @throws FerryError for what ends the whole run: `DISK_FULL`, or an end that does not answer at all
 */
export async function migrateItem(item: MigrationItem, context: ItemContext): Promise<ItemOutcome> {
  const { destination, signal } = context;
  const moved = new Map<Digest, number>();
  const faults: Fault[] = [];
  const outcome = (
    artifact: ItemOutcome['artifact'],
    held: readonly { readonly record: RepodataRecord }[],
  ): ItemOutcome => ({
    item,
    artifact,
    held: held.map(({ record }) => record),
    faults,
    moved: { archives: moved.size, bytes: [...moved.values()].reduce((sum, size) => sum + size, 0) },
  });
  let parts: ArtifactParts;
  try {
    parts = await readSource(item, context);
  } catch (error) {
    const fault = await packageFault(error, item, context);
    faults.push(...item.records.map((record) => ({ record, error: fault })));
    return outcome(undefined, []);
  }
  faults.push(...parts.faults);
  if (parts.archives.length === 0) return outcome(undefined, []);
  const present = context.asksFirst ? await findPresent(item, parts, context) : undefined;
  if (present !== undefined) return outcome({ digest: present, isNew: false }, parts.archives);

  await context.beforeWriting();
  const layers = lackingParts(parts).size === 0 ? [] : parts.archives.map(({ layer }) => layer);
  using _ = await takeRoom(context.temp, layers, { signal });
  await using completed = await completeParts(parts, item, context);
  faults.push(...completed.faults);
  for (const { layer } of completed.read) moved.set(layer.digest, layer.size);
  if (completed.content === undefined) return outcome(undefined, []);
  const artifact = describePackage(destination.schema, completed.content);
  const repository = destination.packageRepository(item.subdir, item.to);
  const old = context.source.packageRepository(item.subdir, item.from);
  const source: ContentSource = {
    fetch: (wanted, open) => {
      if (wanted.digest === artifact.descriptor.digest) return openerOf(artifact.bytes)(open);
      const own = completed.blobs.get(wanted.digest);
      if (own !== undefined) return own(open);
      if (completed.content?.packages.some(({ digest }) => digest === wanted.digest) === true)
        moved.set(wanted.digest, wanted.size);
      return fromSource(old.fetch(wanted, open), wanted);
    },
  };
  const mountFrom = context.mounts ? old.name : undefined;
  try {
    await destination.ensureConfig(repository, { signal, mountFrom });
    await copyGraph(source, repository, artifact.descriptor, {
      tags: [item.to.tag],
      // A mount answers that too, and at the first run nothing is there.
      destinationHas: ({ digest }) => {
        if (digest === destination.schema.config.digest) return true;
        return context.asksFirst && !context.mounts ? undefined : false;
      },
      mountFrom,
      signal,
    });
  } catch (error) {
    const [first] = completed.archives;
    const wrapped = first === undefined ? error : asCopyError(first.record, error);
    const fault = await packageFault(wrapped, item, context);
    faults.push(...completed.archives.map(({ record }) => ({ record, error: fault })));
    return outcome(undefined, []);
  }
  return outcome({ digest: artifact.descriptor.digest, isNew: true }, completed.archives);
}

/** Tells of each archive what has to be read, if anything; nothing is moved. */
export function lackingParts({ archives, info }: ArtifactParts): ReadonlyMap<HeldArchive, 'info' | 'md5'> {
  const lacking = new Map<HeldArchive, 'info' | 'md5'>();
  archives.forEach((archive, i) => {
    if (i === 0 && info === undefined) lacking.set(archive, 'info');
    else if (archive.md5 === undefined) lacking.set(archive, 'md5');
  });
  return lacking;
}

/**
 * Reads the source's artifact.
 * @throws as {@link readStoredArtifact}
 */
export async function readSource(
  item: MigrationItem,
  { source, signal }: MigrationContext,
): Promise<ArtifactParts> {
  return (await readStoredArtifact(source, item.subdir, item.from, item.records, { signal })).parts;
}

/** Finds the artifact at the destination, if it is what this run would write. */
export async function findPresent(
  item: MigrationItem,
  parts: ArtifactParts,
  { destination, signal }: MigrationContext,
): Promise<Digest | undefined> {
  const { schema } = destination;
  const repository = destination.packageRepository(item.subdir, item.to);
  const content = contentOf(parts);
  if (content !== undefined) {
    const { descriptor } = describePackage(schema, content);
    const found = await repository.resolve(item.to.tag, { signal });
    if (found?.digest !== descriptor.digest) return undefined;
    destination.rememberConfig(repository);
    return descriptor.digest;
  }
  // What it will be is known only once the archive is read, so what a run before this one wrote is looked at instead.
  const stored = await repository.fetchManifest(item.to.tag, { signal });
  if (stored === undefined || !isCanonical(schema, stored.bytes)) return undefined;
  const held = layersOf(parseImageManifest(stored.bytes)).packages.map(({ descriptor }) => descriptor.digest);
  const wanted = parts.archives.map(({ layer }) => layer.digest);
  const isSame = held.length === wanted.length && wanted.every((digest) => held.includes(digest));
  return isSame ? stored.descriptor.digest : undefined;
}

/** Tells whether a tag at the destination names what was written there. */
export async function isAtDestination(
  item: MigrationItem,
  digest: Digest,
  { destination, signal }: MigrationContext,
): Promise<boolean> {
  const repository = destination.packageRepository(item.subdir, item.to);
  if ((await repository.resolve(item.to.tag, { signal }))?.digest === digest) return true;
  // Some registries tell another digest than that of the bytes.
  const stored = await repository.fetchManifest(item.to.tag, { signal });
  return stored?.descriptor.digest === digest;
}

function contentOf({ archives, info, annotations }: ArtifactParts): PackageContent | undefined {
  if (info === undefined) return undefined;
  const packages = archives.flatMap((archive) => {
    const { record, layer, md5 } = archive;
    const { filename, extension } = record;
    return md5 === undefined ? [] : [{ filename, extension, digest: layer.digest, size: layer.size, md5 }];
  });
  return packages.length === archives.length ? { packages, ...info, annotations } : undefined;
}

interface CompletedParts extends AsyncDisposable {
  /** `undefined` if no archive is left. */
  readonly content: PackageContent | undefined;
  readonly archives: readonly HeldArchive[];
  /** Those that were read. */
  readonly read: readonly HeldArchive[];
  /** What need not come from the source again. */
  readonly blobs: ReadonlyMap<Digest, OpenBytes>;
  readonly faults: readonly Fault[];
}

/** Reads the archives that the artifact does not tell enough of. One that cannot be read is left out. */
async function completeParts(
  parts: ArtifactParts,
  item: MigrationItem,
  context: ItemContext,
): Promise<CompletedParts> {
  const received: ReceivedArchive[] = [];
  const read: HeldArchive[] = [];
  const faults: Fault[] = [];
  const blobs = new Map<Digest, OpenBytes>();
  const dispose = async (): Promise<void> => {
    for (const archive of received) await archive[Symbol.asyncDispose]();
  };
  let now = parts;
  try {
    for (;;) {
      const [next] = lackingParts(now);
      if (next === undefined) break;
      const [lacking, what] = next;
      read.push(lacking);
      try {
        const archive = await readArchive(lacking, item, context);
        received.push(archive);
        const { layer, info, open } = archive.packed;
        blobs.set(layer.digest, open);
        now = {
          ...now,
          info: what === 'info' ? ownInfo(info, blobs) : now.info,
          archives: now.archives.map((held) => (held === lacking ? { ...held, md5: layer.md5 } : held)),
        };
      } catch (error) {
        faults.push({ record: lacking.record, error: await packageFault(error, item, context) });
        const isLeader = now.archives[0] === lacking;
        const archives = now.archives.filter((held) => held !== lacking);
        now = { ...now, archives, info: isLeader ? undefined : now.info };
        if (archives.length === 0) break;
      }
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  const { archives } = now;
  const content = archives.length === 0 ? undefined : contentOf(now);
  return { content, archives, read, blobs, faults, [Symbol.asyncDispose]: dispose };
}

function ownInfo(
  packed: { readonly infoLayer: Uint8Array; readonly indexJson: Uint8Array },
  blobs: Map<Digest, OpenBytes>,
): PartialInfo {
  const add = (mediaType: string, bytes: Uint8Array): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(digest, openerOf(bytes));
    return { mediaType, digest, size: bytes.byteLength };
  };
  return { info: add(INFO_TAR_GZIP, packed.infoLayer), index: add(INFO_INDEX, packed.indexJson) };
}

/** Fetches an archive from its layer, which names it even where the record has no sha256. */
async function readArchive(
  { record, layer }: HeldArchive,
  item: MigrationItem,
  context: ItemContext,
): Promise<ReceivedArchive> {
  const repository = context.source.packageRepository(item.subdir, item.from);
  const openArchive = (): Bytes => fromSource(repository.fetch(layer, { signal: context.signal }), layer);
  if (record.sha256 === undefined) return receiveArchive(record, { ...context, source: { openArchive } });
  const known = { ...record, sha256: digestHex(layer.digest), size: layer.size };
  return receiveArchive(known, { ...context, source: { openArchive } });
}

/**
 * Returns what is the package's own fault, and throws what no other package would fare better with: an end that does
 * not answer at all, or lets nobody in.
 */
async function packageFault(
  error: unknown,
  item: MigrationItem,
  { source, destination, signal }: MigrationContext,
): Promise<FerryError> {
  if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
  if (error.code === 'RATE_LIMITED') throw error;
  const isDestination = error instanceof CopyError && error.side === 'destination';
  if (isDestination && FATAL_AT_DESTINATION.has(error.code)) throw error;
  if (error.code === 'NETWORK' || error.code === 'TIMEOUT') {
    const store = isDestination ? destination : source;
    await store.metadataRepository(item.subdir, 'repodata.json').resolve(LATEST, { signal });
  }
  return error;
}
