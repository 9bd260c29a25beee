import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { parseIndexJson } from '../conda/archive/index-json.js';
import { formatArchiveFilename, isSubdir, parseArchiveFilename } from '../conda/names.js';
import { FerryError, isSystemError, UnrepresentableError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic-file.js';
import type { Bytes, OpenBytes } from '../io/bytes.js';
import { sha256Digest } from '../io/digest.js';
import { TempFolder } from '../io/temp-folder.js';
import { copyGraph } from '../oci/copy-graph.js';
import type { Annotations, Descriptor } from '../oci/descriptor.js';
import { tryParseImageManifest, type ImageManifest } from '../oci/manifest.js';
import type { Repository, StoredManifest } from '../oci/storage.js';
import type { ChannelStore } from './channel-store.js';
import {
  checkPackedInfo,
  isCanonical,
  layersOf,
  makePackageArtifact,
  type PackageArtifact,
  type PackedArchive,
} from './package-artifact.js';
import type { WorkerPool } from './worker-pool.js';

/** An archive up to this size is held in memory while it is packed. */
const SMALL_ARCHIVE_BYTES = 1024 * 1024;
/** Blobs up to this size are sent without asking whether they are there. */
const SENT_UNASKED_BYTES = 64 * 1024;
/** How often an artifact is pushed against other writers of the same tag. */
const MAX_PUSHES = 5;

/** Options of {@link packArchiveFile}. */
export interface PackOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  /** Annotations that the user adds to the manifest. @defaultValue those of the artifact that is there */
  readonly annotations?: Annotations | undefined;
  /** Put the archive in the place of other bytes of that name. @defaultValue false: `ARCHIVE_EXISTS` */
  readonly replace?: boolean | undefined;
  /** Where temporary files go. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
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

/** An archive file that was read. */
export interface ReadArchive extends PackedArchive {
  /** As its `info/index.json` says. */
  readonly subdir: string;
}

/**
 * Packs an archive file and stores the artifact: {@link readArchiveFile}, then {@link storeArchive}.
 * @throws FerryError as these do
 */
export async function packArchiveFile(path: string, options: PackOptions): Promise<StoredPackage> {
  return storeArchive(await readArchiveFile(path, options), options);
}

/**
 * Reads an archive file as an artifact wants it.
 * @throws FerryError `ARCHIVE_…`, `RECORD_INVALID` (the file's name), `NOT_FOUND` where there is no such file
 */
export async function readArchiveFile(
  path: string,
  options: Pick<PackOptions, 'workers' | 'signal'>,
): Promise<ReadArchive> {
  const archive = await packFile(path, basename(path), options);
  return { ...archive, subdir: subdirOf(archive) };
}

/**
 * Stores the artifact of an archive, beside its twin if that is there already. The tag is read again afterwards, and merged
 * again if another writer took a layer away; so writers converge. What is there already is not written again.
 * @throws FerryError `ARCHIVE_EXISTS`, `NAME_UNREPRESENTABLE`, `TWIN_UNREPRESENTABLE`, `REGISTRY_REFUSED`
 */
export async function storeArchive(archive: ReadArchive, options: PackOptions): Promise<StoredPackage> {
  const { store, signal } = options;
  const { subdir } = archive;
  const { filename } = archive.layer;
  const place = store.schema.placeOf(archive.name);
  const repository = store.packageRepository(subdir, place);
  const stored = (artifact: PackageArtifact): StoredPackage => {
    return { filename, repository: repository.name, tag: place.tag, descriptor: artifact.descriptor };
  };
  let pushed: PackageArtifact | undefined;
  for (let pushes = 0; ; pushes += 1) {
    const present = await repository.fetchManifest(place.tag, { signal });
    // Some registries cannot read for a moment what was just written.
    if (present === undefined && pushed !== undefined) return stored(pushed);
    // After the first time only what is missing counts: two who annotate a pair of twins differently would never end.
    const annotations = pushed === undefined ? options.annotations : undefined;
    const artifact = await mergeInto(repository, present, archive, { ...options, annotations });
    if (present?.descriptor.digest === artifact.descriptor.digest) return stored(artifact);
    if (pushes === MAX_PUSHES) {
      const what = `\`${repository.name}:${place.tag}\``;
      throw new FerryError('REGISTRY_REFUSED', `${what} keeps losing a layer to another writer`);
    }
    await store.ensureConfig(repository, { signal });
    const there = new Set(parsePresent(present)?.layers.map(({ digest }) => digest)).add(
      store.schema.config.digest,
    );
    await copyGraph(artifact, repository, artifact.descriptor, {
      tags: [place.tag],
      // To ask for a small blob of a new build costs half of what sending it does, and it is hardly ever there.
      destinationHas: ({ digest, size }) =>
        there.has(digest) || (size <= SENT_UNASKED_BYTES ? false : undefined),
      signal,
    });
    pushed = artifact;
  }
}

/** Reads an archive file. `filename` is what it is called, whatever the file's own name. */
async function packFile(
  path: string,
  filename: string,
  options: Pick<PackOptions, 'workers' | 'signal'>,
): Promise<PackedArchive> {
  const { workers, signal } = options;
  const { extension } = parseArchiveFilename(filename);
  const { bytes, ...sums } = await sumsOf(path, signal);
  // A small one at hand is packed at once: a thread takes longer to start.
  const archive = bytes === undefined ? { path } : { bytes };
  const info = await workers.run('pack', { archive, extension }, signal);
  const name = checkPackedInfo(info, filename, undefined);
  const open: OpenBytes = (open = {}) => readFile(path, open.signal, open.offset);
  const layer = { filename, extension, digest: sha256Digest(sums.sha256), size: sums.size, md5: sums.md5 };
  return { name, layer, info, open };
}

function subdirOf({ info, layer }: PackedArchive): string {
  const { subdir } = parseIndexJson(info.indexJson);
  if (typeof subdir === 'string' && isSubdir(subdir)) return subdir;
  throw new FerryError(
    'ARCHIVE_INDEX_INVALID',
    `\`info/index.json\` of \`${layer.filename}\` names no subdir`,
  );
}

/**
 * Makes the artifact of an archive and its twin, if that is under the tag. Of a twin that another tool put there only
 * the archive is taken: it is read again, so that the artifact is the same as if we had packed both.
 */
async function mergeInto(
  repository: Repository,
  present: StoredManifest | undefined,
  archive: PackedArchive,
  options: PackOptions,
): Promise<PackageArtifact> {
  const { store, annotations } = options;
  const { schema } = store;
  const existing = parsePresent(present);
  if (options.replace !== true) checkNotOther(existing, archive);
  if (!schema.holdsTwins) {
    checkNotSecond(existing, archive);
    // Of the same archive, whose artifact may have annotations of a user; a twin makes room with all it had.
    return makePackageArtifact(schema, [archive], {
      existing: holds(existing, archive) ? existing : undefined,
      annotations,
    });
  }
  if (present !== undefined && isCanonical(schema, present.bytes)) {
    return makePackageArtifact(schema, [archive], { existing, annotations });
  }
  const packages = existing === undefined ? [] : layersOf(existing).packages;
  const twin = packages.find(({ extension }) => extension !== archive.layer.extension);
  if (twin === undefined) return makePackageArtifact(schema, [archive], { annotations });
  await using temp = await TempFolder.create(options.tempDir);
  const path = temp.newPath();
  await writeFileAtomic(path, repository.fetch(twin.descriptor, { signal: options.signal }));
  const filename = formatArchiveFilename({ ...archive.name, extension: twin.extension });
  const packed = await packFile(path, filename, options);
  const open: OpenBytes = (open) => repository.fetch(twin.descriptor, open);
  return makePackageArtifact(schema, [archive, { ...packed, open }], { annotations });
}

/** Other bytes under a name that somebody may rely on are not replaced by the way. */
function checkNotOther(existing: ImageManifest | undefined, { layer }: PackedArchive): void {
  const packages = existing === undefined ? [] : layersOf(existing).packages;
  const other = packages.find(({ extension }) => extension === layer.extension)?.descriptor.digest;
  if (other === undefined || other === layer.digest) return;
  throw new FerryError('ARCHIVE_EXISTS', `\`${layer.filename}\` is stored already, with digest ${other}`, {
    hint: 'give the new build another build number; push takes --replace, pack another folder',
  });
}

function holds(existing: ImageManifest | undefined, { layer }: PackedArchive): boolean {
  const packages = existing === undefined ? [] : layersOf(existing).packages;
  return packages.length === 1 && packages[0]?.descriptor.digest === layer.digest;
}

/** Where the schema holds one archive only, that is the `.conda`. @see v1/P6 */
function checkNotSecond(existing: ImageManifest | undefined, { layer }: PackedArchive): void {
  const packages = existing === undefined ? [] : layersOf(existing).packages;
  if (layer.extension === 'conda' || packages.every(({ extension }) => extension !== 'conda')) return;
  throw new UnrepresentableError(
    'TWIN_UNREPRESENTABLE',
    'v1/P6',
    `\`${layer.filename}\` has no place: its \`.conda\` is stored, and the schema holds one archive of a build`,
  );
}

/** What stands under the tag, unless it is no image manifest; then it is replaced. */
function parsePresent(present: StoredManifest | undefined): ImageManifest | undefined {
  return present && tryParseImageManifest(present.bytes);
}

/** @returns also the bytes themselves, where they are few */
async function sumsOf(
  path: string,
  signal: AbortSignal | undefined,
): Promise<{ sha256: string; md5: string; size: number; bytes: Uint8Array | undefined }> {
  const [sha256, md5] = [createHash('sha256'), createHash('md5')];
  let size = 0;
  const chunks: Uint8Array[] = [];
  try {
    for await (const bytes of readFile(path, signal)) {
      sha256.update(bytes);
      md5.update(bytes);
      size += bytes.byteLength;
      if (size <= SMALL_ARCHIVE_BYTES) chunks.push(bytes);
      else chunks.length = 0;
    }
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'EISDIR')) throw error;
    throw new FerryError('NOT_FOUND', `there is no file \`${path}\``, { cause: error });
  }
  const bytes = size <= SMALL_ARCHIVE_BYTES ? Buffer.concat(chunks) : undefined;
  return { sha256: sha256.digest('hex'), md5: md5.digest('hex'), size, bytes };
}

/** Rejects with the signal's own reason, unlike a stream that is given the signal. */
async function* readFile(path: string, signal: AbortSignal | undefined, start = 0): Bytes {
  for await (const chunk of createReadStream(path, { start })) {
    signal?.throwIfAborted();
    yield chunk as Buffer;
  }
}
