import { FerryError } from '../errors.js';
import type { Annotations, Descriptor } from '../oci/descriptor.js';
import { INFO_INDEX, INFO_TAR_GZIP, packageMediaType } from './media-types.js';
import type { PackageContent, PackageLayer } from './schema.js';

/** Annotation that holds the name a layer has as a file. @see image-spec v1.1, "Pre-Defined Annotation Keys" */
export const TITLE = 'org.opencontainers.image.title';

/**
 * The layers of a package artifact, the same in both schemas but for the annotation that holds the md5: the archives,
 * `.conda` first, then info and index.
 * @see v0/D4, v0/D5, v1/P5
 */
export function packageLayers(content: PackageContent, md5Annotation: string): readonly Descriptor[] {
  const packages = [...content.packages].sort((a, b) => layerRank(a) - layerRank(b));
  const first = packages[0];
  if (first === undefined) throw new FerryError('INTERNAL', 'an artifact needs an archive');
  const stem = first.filename.slice(0, -first.extension.length - 1);
  return [
    ...packages.map((archive) =>
      layer(packageMediaType(archive.extension), archive, {
        [TITLE]: archive.filename,
        [md5Annotation]: archive.md5,
      }),
    ),
    layer(INFO_TAR_GZIP, content.info, { [TITLE]: `${stem}/info.tar.gz` }),
    layer(INFO_INDEX, content.index, { [TITLE]: `${stem}/info/index.json` }),
  ];
}

/** `.conda` first. */
function layerRank(layer: PackageLayer): number {
  return layer.extension === 'conda' ? 0 : 1;
}

/** One key order for every layer: digests depend on it. */
function layer(
  mediaType: string,
  content: Pick<Descriptor, 'digest' | 'size'>,
  annotations: Annotations,
): Descriptor {
  return { mediaType, digest: content.digest, size: content.size, annotations };
}
