import { isAbsolute } from 'node:path';
import type { ChannelStore } from '../../artifact/channel-store.js';
import { layersOf } from '../../artifact/package-artifact.js';
import { readInfoLayer } from '../../artifact/read-info-layer.js';
import { limitExceeded, type ExpansionLimit } from '../../conda/archive/limits.js';
import type { InfoMember } from '../../conda/archive/read-info.js';
import { parseArchiveFilename } from '../../conda/names.js';
import { sha256Digest } from '../../io/digest.js';
import { tryParseImageManifest } from '../../oci/manifest.js';

/** What a page shows of an archive's `info/`: bytes by paths such as `about.json`. */
export type ShownInfo = ReadonlyMap<string, Uint8Array>;

/** What asking for {@link ShownInfo} may be told. */
export interface ReadInfoOptions {
  readonly signal?: AbortSignal | undefined;
  /** Of the archive that is meant, in hex: the name alone may mean another one by now. */
  readonly sha256?: string | undefined;
}

const MIB = 1024 * 1024;

/** Packed; those of most packages have some kilobytes. A page is no reason to move more. */
const MAX_LAYER_BYTES = 16 * MIB;
/** Unpacked, with what is passed over: licences and test data. */
const LAYER_EXPANSION: ExpansionLimit = { freeBytes: 8 * MIB, ratio: 200, maxBytes: 128 * MIB };
/** `paths.json`: some 250 bytes describe a file, and 40,000 files are more than a page shows. */
const MAX_PATHS_BYTES = 10 * MIB;
/** Any other file. */
const MAX_FILE_BYTES = MIB;
/** All of them together. */
const MAX_SHOWN_BYTES = 16 * MIB;

/** What pages show of `info/`, the recipe by all names it has. */
const SHOWN_FILES: ReadonlySet<string> = new Set([
  'index.json',
  'about.json',
  'run_exports.json',
  'paths.json',
  'files',
  'recipe/recipe.yaml',
  'recipe/meta.yaml',
]);

/**
 * Reads what a page shows of an archive's `info/`, out of the info layer of its artifact. Of a file that is too large to be
 * shown, nothing is given.
 * @returns `undefined` where the store holds no such archive, or its artifact no info layer
 * @throws FerryError `ARCHIVE_…` for a layer that cannot be read; what the store fails with
 */
export async function readStoredInfo(
  store: ChannelStore,
  subdir: string,
  filename: string,
  { signal, sha256 }: ReadInfoOptions = {},
): Promise<ShownInfo | undefined> {
  const name = parseArchiveFilename(filename);
  const place = store.schema.placeOf(name);
  const repository = store.packageRepository(subdir, place);
  const stored = await repository.fetchManifest(place.tag, { signal });
  const manifest = stored && tryParseImageManifest(stored.bytes);
  if (manifest === undefined) return undefined;
  const { info, packages } = layersOf(manifest);
  const archive = packages.find(({ extension }) => extension === name.extension);
  if (info === undefined || archive === undefined) return undefined;
  if (sha256 !== undefined && archive.descriptor.digest !== sha256Digest(sha256)) return undefined;
  if (info.size > MAX_LAYER_BYTES)
    throw limitExceeded(`the info layer has more than ${String(MAX_LAYER_BYTES)} bytes`);

  const shown = new Map<string, Uint8Array>();
  let total = 0;
  await readInfoLayer(
    repository.fetch(info, { signal }),
    info.size,
    (member) => {
      // Some writers put it in front.
      const path = member.name.replace(/^\.\//, '');
      if (member.type !== 'file' || !isShown(path, member.size)) return undefined;
      // Also of a path that comes again and again.
      total += member.size;
      if (total > MAX_SHOWN_BYTES)
        throw limitExceeded(`the info layer has more than ${String(MAX_SHOWN_BYTES)} bytes to show`);
      const chunks: Uint8Array[] = [];
      return {
        write: (chunk) => {
          // Copied: the chunk is part of a larger one, which would stay in memory with it.
          chunks.push(new Uint8Array(chunk));
        },
        end: () => {
          shown.set(path, Buffer.concat(chunks));
        },
      };
    },
    LAYER_EXPANSION,
  );
  return shown;
}

/**
 * Where the artifact of an archive stands, for people: `oci://ghcr.io/org/conda-forge/noarch/tzdata:2025b-h78e105d_0`.
 * @throws FerryError `NAME_UNREPRESENTABLE`, ParseError `RECORD_INVALID` for what no artifact can be of
 */
export function describeArtifact(store: ChannelStore, subdir: string, filename: string): string {
  const { repository, tag } = store.schema.placeOf(parseArchiveFilename(filename));
  const { location } = store.registry;
  const name = `${location}/${store.repositoryName(subdir, repository)}:${tag}`;
  return isAbsolute(location) ? `oci-layout:${name}` : `oci://${name}`;
}

/** As {@link readStoredInfo}, of an archive whose `info/` was read already. */
export function shownInfoOf(members: readonly InfoMember[]): ShownInfo {
  return new Map(
    members.flatMap((member) =>
      member.type === 'file' && isShown(member.path, member.bytes.byteLength)
        ? [[member.path, member.bytes] as const]
        : [],
    ),
  );
}

function isShown(path: string, bytes: number): boolean {
  return SHOWN_FILES.has(path) && bytes <= (path === 'paths.json' ? MAX_PATHS_BYTES : MAX_FILE_BYTES);
}
