import {
  isCanonical,
  layersOf,
  makePackageArtifact,
  withoutTwin,
  type PackageArtifact,
} from '../../artifact/package-artifact.js';
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { parseArchiveFilename } from '../../conda/names.js';
import { FerryError } from '../../errors.js';
import { digestHex, type Digest } from '../../io/digest.js';
import type { TempFolder } from '../../io/temp-folder.js';
import { copyGraph } from '../../oci/copy-graph.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { parseImageManifest } from '../../oci/manifest.js';
import type { Repository, StoredManifest } from '../../oci/storage.js';
import { receiveArchive } from '../receive.js';
import type { PlannedArtifact } from './plan-document.js';

/** What {@link rewriteArtifact} works with. */
export interface RewriteOptions {
  readonly store: ChannelStore;
  readonly subdir: string;
  readonly workers: WorkerPool;
  readonly temp: TempFolder;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes an artifact anew without the archive that goes: just what would have been written for the one that stays. That
 * one is read where its info and index are not at hand, since those of a twin's artifact come from the `.conda`. The tag
 * is moved, and the old manifest left without it.
 * @returns the old manifest, also where an earlier try has come so far; `moved` where the tag names something else by now;
 * `gone` where there is nothing left to do
 * @throws FerryError `ARCHIVE_…` where the archive that stays is damaged: then nothing was written
 */
export async function rewriteArtifact(
  repository: Repository,
  planned: PlannedArtifact,
  options: RewriteOptions,
): Promise<Descriptor | 'moved' | 'gone'> {
  const { store, signal } = options;
  const stored = await repository.fetchManifest(planned.tag, { signal });
  if (stored?.descriptor.digest !== planned.manifest) {
    if (stored !== undefined && holdsAny(stored, planned)) return 'moved';
    return (await repository.resolve(planned.manifest, { signal })) ?? 'gone';
  }
  const before = parseImageManifest(stored.bytes);
  const write = async (artifact: PackageArtifact): Promise<void> => {
    const there = new Set<Digest>(before.layers.map(({ digest }) => digest));
    await store.ensureConfig(repository, { signal });
    await copyGraph(artifact, repository, artifact.descriptor, {
      tags: [planned.tag],
      replaces: planned.manifest,
      destinationHas: ({ digest }) => there.has(digest) || digest === store.schema.config.digest,
      signal,
    });
  };
  const gone = parseArchiveFilename(planned.archives[0]?.filename ?? '').extension;
  const quick = withoutTwin(store.schema, stored.bytes, gone);
  if (quick !== undefined) await write(quick);
  else await writeAnew(repository, planned, stored, options, write);
  return stored.descriptor;
}

/** Whether an artifact holds an archive that is to go. */
function holdsAny({ bytes }: StoredManifest, { archives }: PlannedArtifact): boolean {
  const going = new Set<Digest>(archives.map(({ digest }) => digest));
  return parseImageManifest(bytes).layers.some(({ digest }) => going.has(digest));
}

async function writeAnew(
  repository: Repository,
  planned: PlannedArtifact,
  { bytes }: StoredManifest,
  { store, subdir, workers, temp, signal }: RewriteOptions,
  write: (artifact: PackageArtifact) => Promise<void>,
): Promise<void> {
  const manifest = parseImageManifest(bytes);
  const filename = planned.stays ?? '';
  const name = parseArchiveFilename(filename);
  const layer = layersOf(manifest).packages.find(({ extension }) => extension === name.extension)?.descriptor;
  if (layer === undefined) throw new FerryError('PLAN_INVALID', `\`${filename}\` is not where the plan says`);
  const record = { ...name, filename, listedIn: subdir, sha256: digestHex(layer.digest), size: layer.size };
  const source = { openArchive: () => repository.fetch(layer, { signal }) };
  await using archive = await receiveArchive(record, { source, workers, temp, signal });
  const annotations = isCanonical(store.schema, bytes) ? manifest.annotations : undefined;
  await write(makePackageArtifact(store.schema, [archive.packed], { annotations }));
}
