import { createHash } from 'node:crypto';
import type { ChannelStore } from '../artifact/channel-store.js';
import { layersOf } from '../artifact/package-artifact.js';
import type { ArchiveName } from '../conda/names.js';
import { formatArchiveFilename } from '../conda/names.js';
import type { JsonObject } from '../conda/record-details.js';
import { checkIndexJson, parseIndexJson } from '../conda/archive/index-json.js';
import { FerryError } from '../errors.js';
import { collect } from '../io/bytes.js';
import { digestHex, type Digest } from '../io/digest.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseImageManifest, type ImageManifest } from '../oci/manifest.js';
import type { CallOptions, Repository } from '../oci/storage.js';
import { makeRecord } from './make-record.js';

const MAX_INDEX_BYTES = 16 * 1024 * 1024;
const MD5 = /^[0-9a-f]{32}$/;

/** A record made out of an artifact. */
export interface StoredRecord {
  readonly filename: string;
  readonly record: JsonObject;
  /** Of the artifact. */
  readonly manifest: Digest;
}

/**
 * Makes the record of an archive that is stored, out of its artifact's index layer. Where nobody wrote its md5 down, the
 * archive is read once.
 * @returns `undefined` where no such archive is stored
 * @throws FerryError `ARCHIVE_INDEX_INVALID`, `ARCHIVE_INDEX_MISMATCH`, `ARCHIVE_SUBDIR_MISMATCH`, `MANIFEST_INVALID`
 */
export async function readStoredRecord(
  store: ChannelStore,
  subdir: string,
  name: ArchiveName,
  indexedTimestamp: number | undefined,
  options: CallOptions,
): Promise<StoredRecord | undefined> {
  const place = store.schema.placeOf(name);
  const repository = store.packageRepository(subdir, place);
  const stored = await repository.fetchManifest(place.tag, options);
  if (stored === undefined) return undefined;
  const manifest = parseImageManifest(stored.bytes);
  const layer = layersOf(manifest).packages.find(({ extension }) => extension === name.extension)?.descriptor;
  if (layer === undefined) return undefined;
  const filename = formatArchiveFilename(name);
  const indexJson = await readIndex(repository, manifest, filename, options);
  checkIndexJson(parseIndexJson(indexJson), { ...name, filename, subdir });
  const annotated = layer.annotations?.[store.schema.md5Annotation] ?? '';
  const md5 = MD5.test(annotated) ? annotated : await md5Of(repository, layer, options);
  const record = makeRecord(
    indexJson,
    { sha256: digestHex(layer.digest), md5, size: layer.size },
    indexedTimestamp,
  );
  return { filename, record, manifest: stored.descriptor.digest };
}

async function readIndex(
  repository: Repository,
  manifest: ImageManifest,
  filename: string,
  { signal }: CallOptions,
): Promise<Uint8Array> {
  const { index } = layersOf(manifest);
  if (index !== undefined)
    return collect(
      repository.fetch(index, { signal }),
      MAX_INDEX_BYTES,
      `\`info/index.json\` of \`${filename}\``,
    );
  throw new FerryError('MANIFEST_INVALID', `the artifact of \`${filename}\` has no index layer`);
}

async function md5Of(repository: Repository, layer: Descriptor, { signal }: CallOptions): Promise<string> {
  const hash = createHash('md5');
  for await (const chunk of repository.fetch(layer, { signal })) hash.update(chunk);
  return hash.digest('hex');
}
