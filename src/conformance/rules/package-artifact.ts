import type { Schema } from '../../artifact/schema.js';
import { INFO_INDEX, INFO_TAR_GZIP, packageExtension } from '../../artifact/media-types.js';
import { shorten } from '../../conda/archive/member-path.js';
import type { ArchiveExtension } from '../../conda/names.js';
import { digestHex } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { ImageManifest } from '../../oci/manifest.js';
import type { CheckLog } from '../check-log.js';
import type { JsonObject } from './json-value.js';

/** An archive that repodata lists at the place of an artifact. */
export interface ListedArchive {
  readonly filename: string;
  readonly extension: ArchiveExtension;
  /** Lower-case hex. */
  readonly sha256: string | undefined;
  /** In bytes. */
  readonly size: number | undefined;
}

/** What `info/index.json` says of the package, as far as it can be read. */
export type IndexReading = { readonly value: JsonObject } | { readonly unreadable: string };

/** A package artifact, read and ready to be judged. */
export interface PackageSubject {
  readonly schema: Schema;
  readonly subdir: string;
  /** Repository below the subdir. */
  readonly leaf: string;
  /** Absent where the artifact was asked for by digest. */
  readonly tag: string | undefined;
  /** Such as `noarch/czlib:1.3.1-h4ab18f5_1`. */
  readonly where: string;
  readonly manifest: ImageManifest;
  /** Of the index layer; `undefined` where there is none, or it was not read. */
  readonly index: IndexReading | undefined;
  /** What repodata lists here; `undefined` where no repodata was read. */
  readonly listed: readonly ListedArchive[] | undefined;
}

/** The layers of an artifact by what they are. */
export interface SortedLayers {
  readonly packages: readonly { readonly extension: ArchiveExtension; readonly descriptor: Descriptor }[];
  readonly info: readonly Descriptor[];
  readonly index: readonly Descriptor[];
  readonly others: readonly Descriptor[];
}

/** Sorts all layers of an artifact by media type. */
export function sortLayers({ layers }: ImageManifest): SortedLayers {
  const ofType = (mediaType: string): Descriptor[] => layers.filter((layer) => layer.mediaType === mediaType);
  return {
    packages: layers.flatMap((descriptor) => {
      const extension = packageExtension(descriptor.mediaType);
      return extension === undefined ? [] : [{ extension, descriptor }];
    }),
    info: ofType(INFO_TAR_GZIP),
    index: ofType(INFO_INDEX),
    others: layers.filter(
      ({ mediaType }) =>
        packageExtension(mediaType) === undefined && mediaType !== INFO_TAR_GZIP && mediaType !== INFO_INDEX,
    ),
  };
}

/** Clauses of {@link checkListed}, by schema. */
export interface ListedClauses {
  /** For a listed archive that the artifact does not hold. */
  readonly absent: 'v0/D1' | 'v1/N1';
  /** For one under the media type of another format. */
  readonly type: 'v0/D4' | 'v1/P2';
}

/**
 * Compares what repodata lists with the package layers: the archive is there, and its bytes are those that clients
 * will ask for.
 */
export function checkListed(
  subject: PackageSubject,
  { packages }: SortedLayers,
  clauses: ListedClauses,
  log: CheckLog,
): void {
  // That there is no archive at all was said of the layers.
  if (packages.length === 0) return;
  const { listed, where, schema } = subject;
  for (const { filename, extension, sha256, size } of listed ?? []) {
    const layer = packages.find((candidate) => candidate.extension === extension)?.descriptor;
    const misnamed = packages.find(({ descriptor }) => digestHex(descriptor.digest) === sha256);
    if (layer === undefined && misnamed !== undefined) {
      log.report(clauses.type, {
        where,
        found: `\`${filename}\` as \`${misnamed.descriptor.mediaType}\``,
        expected: `the media type of a \`.${extension}\``,
      });
      continue;
    }
    const isThere = log.expect(clauses.absent, layer !== undefined, () => ({
      where,
      found: `no layer that holds \`${filename}\``,
      expected: 'the archive that repodata lists',
      hint: schema.holdsTwins
        ? 'push the archive, or publish repodata without its record'
        : 'the schema holds one archive of a build: publish repodata without this record',
    }));
    if (!isThere || layer === undefined) continue;
    if (sha256 !== undefined) {
      const isSame = log.expect('cep36/record-sha256', digestHex(layer.digest) === sha256, () => ({
        where,
        found: `package layer ${layer.digest}`,
        expected: `sha256:${sha256}, as the record of \`${filename}\` says`,
        hint: 'clients ask for the digest of the record; push that archive again',
      }));
      // Other bytes have another size.
      if (!isSame) continue;
    }
    if (size !== undefined) {
      log.expect('cep36/record-size', layer.size === size, () => ({
        where,
        found: `package layer of ${String(layer.size)} bytes`,
        expected: `${String(size)} bytes, as the record of \`${filename}\` says`,
      }));
    }
  }
}

/** A field of `info/index.json` that is text; `undefined` where it is not, or nothing was read. */
export function indexText(index: IndexReading | undefined, field: string): string | undefined {
  if (index === undefined || 'unreadable' in index) return undefined;
  const value = index.value[field];
  return typeof value === 'string' ? value : undefined;
}

/** Names what an artifact holds, for a finding. */
export function namesOf(layers: readonly Descriptor[]): string {
  return layers.map(({ mediaType }) => `\`${shorten(mediaType)}\``).join(', ');
}
