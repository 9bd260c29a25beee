import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { parseIndexJson } from '../conda/archive/index-json.js';
import { isSubdir, parseArchiveFilename } from '../conda/names.js';
import { FerryError, isSystemError } from '../errors.js';
import type { OpenBytes } from '../io/bytes.js';
import { sha256Digest } from '../io/digest.js';
import { copyGraph } from '../oci/copy-graph.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseImageManifest } from '../oci/manifest.js';
import type { ChannelStore } from './channel-store.js';
import { checkPackedInfo, makePackageArtifact, type PackedArchive } from './package-artifact.js';
import type { WorkerPool } from './worker-pool.js';

/** Options of {@link packArchiveFile}. */
export interface PackOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/** An artifact that was stored. */
export interface StoredPackage {
  readonly filename: string;
  /** Such as `noarch/dependent`, below the channel. */
  readonly repository: string;
  readonly tag: string;
  /** Of the manifest. */
  readonly descriptor: Descriptor;
}

/**
 * Packs an archive file and stores the artifact, beside its twin if that is there already.
 * @throws FerryError `ARCHIVE_…`, `NAME_UNREPRESENTABLE`, `NOT_FOUND` where there is no such file
 */
export async function packArchiveFile(path: string, options: PackOptions): Promise<StoredPackage> {
  const { store, workers, signal } = options;
  const filename = basename(path);
  const { extension } = parseArchiveFilename(filename);
  const sums = await sumsOf(path);
  const info = await workers.run('pack', { archive: { path }, extension }, signal);
  const name = checkPackedInfo(info, filename, undefined);
  const { subdir } = parseIndexJson(info.indexJson);
  if (typeof subdir !== 'string' || !isSubdir(subdir)) {
    throw new FerryError('ARCHIVE_INDEX_INVALID', `\`info/index.json\` of \`${filename}\` names no subdir`);
  }
  const open: OpenBytes = (open = {}) =>
    createReadStream(path, { start: open.offset ?? 0, ...(open.signal === undefined ? {} : { signal: open.signal }) });
  const archive: PackedArchive = {
    name,
    layer: { filename, extension, digest: sha256Digest(sums.sha256), size: sums.size, md5: sums.md5 },
    info,
    open,
  };
  const place = store.schema.placeOf(name);
  const repository = store.packageRepository(subdir, place);
  const present = await repository.fetchManifest(place.tag, { signal });
  const existing = present === undefined ? undefined : parseImageManifest(present.bytes);
  const artifact = makePackageArtifact(store.schema, [archive], { existing });
  await store.ensureConfig(repository, { signal });
  const kept = new Set(existing?.layers.map(({ digest }) => digest));
  await copyGraph(artifact, repository, artifact.descriptor, {
    tags: [place.tag],
    destinationHas: ({ digest }) => (kept.has(digest) ? true : undefined),
    signal,
  });
  return { filename, repository: repository.name, tag: place.tag, descriptor: artifact.descriptor };
}

async function sumsOf(path: string): Promise<{ sha256: string; md5: string; size: number }> {
  const [sha256, md5] = [createHash('sha256'), createHash('md5')];
  let size = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      const bytes = chunk as Buffer;
      sha256.update(bytes);
      md5.update(bytes);
      size += bytes.byteLength;
    }
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'EISDIR')) throw error;
    throw new FerryError('NOT_FOUND', `there is no file \`${path}\``, { cause: error });
  }
  return { sha256: sha256.digest('hex'), md5: md5.digest('hex'), size };
}
