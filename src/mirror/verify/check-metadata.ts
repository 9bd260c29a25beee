/** The metadata artifacts beside the repodata: its companions, the channel's own files, the sidecars of attestations. */
import { metadataMediaType, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import { findMetadata, type FoundMetadata } from '../../artifact/metadata-artifact.js';
import { isChannelFile, METADATA_FILES, type MetadataFile } from '../../artifact/schema.js';
import type { Repodata } from '../../conda/repodata/repodata.js';
import { isSidecarDigest } from '../../conda/sidecar.js';
import { messageOf } from '../../errors.js';
import { sha256Digest } from '../../io/digest.js';
import { forEachConcurrently } from '../../io/pool.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { Repository } from '../../oci/storage.js';
import { attestedRecords } from '../sidecars/attested-records.js';
import { readFault } from './check-repodata.js';
import { finding, isRefusal, type Finding } from './findings.js';
import { faultOrThrow, type VerifyContext } from './verify-context.js';

/** These have checks of their own. */
const OTHERS: ReadonlySet<MetadataFile> = new Set(['repodata.json', 'attestations', 'ledger']);

/**
 * Looks whether the metadata files beside the repodata can be read, as far as they are there.
 * @param subdir empty for the channel's own files
 */
export async function checkCompanions(subdir: string, context: VerifyContext): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const file of METADATA_FILES) {
    if (OTHERS.has(file) || isChannelFile(file) !== (subdir === '')) continue;
    const fault = await companionFault(subdir, file, context);
    if (fault !== undefined)
      findings.push(finding('METADATA_UNREADABLE', { subdir, filename: file }, fault, false));
  }
  return findings;
}

async function companionFault(
  subdir: string,
  file: MetadataFile,
  context: VerifyContext,
): Promise<string | undefined> {
  let found: FoundMetadata | undefined;
  try {
    found = await findMetadata(context.store, subdir, file, context);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    return messageOf(await faultOrThrow(error, subdir, context));
  }
  if (found === undefined) return undefined;
  const mediaType = metadataMediaType(file);
  const layers = found.layers.filter((layer) =>
    [mediaType, mediaType + ZSTD_SUFFIX].includes(layer.mediaType),
  );
  if (!layers.some((layer) => layer.mediaType === mediaType))
    return `it has no layer of type \`${mediaType}\``;
  for (const layer of layers) {
    const fault = await layerFault(subdir, layer, found.repository, context);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** Small files are looked for at any depth; only `deep` reads them. */
async function layerFault(
  subdir: string,
  layer: Descriptor,
  repository: Repository,
  context: VerifyContext,
): Promise<string | undefined> {
  if (context.depth === 'deep') {
    const fault = await readFault(subdir, layer, repository, context);
    return fault === undefined ? undefined : messageOf(fault);
  }
  try {
    return (await repository.exists(layer, context)) ? undefined : `${layer.digest} is not there`;
  } catch (error) {
    return messageOf(await faultOrThrow(error, subdir, context));
  }
}

/**
 * Looks for the sidecars that records name; signatures are not verified.
 * @param isWanted tells which archives are looked at
 * @see CEP draft, conda/ceps pull 142
 */
export async function checkSidecars(
  repodata: Repodata,
  isWanted: (filename: string) => boolean,
  context: VerifyContext,
): Promise<readonly Finding[]> {
  const { subdir } = repodata;
  const findings: Finding[] = [];
  const attested = [...attestedRecords(repodata, isWanted)].filter(({ attestationsSha256 }) =>
    isSidecarDigest(attestationsSha256),
  );
  await forEachConcurrently(attested, context, async ({ filename, attestationsSha256 }) => {
    const fault = await sidecarFault(subdir, attestationsSha256, context);
    if (fault !== undefined) findings.push(finding(fault.code, { subdir, filename }, fault.message, false));
  });
  return findings;
}

async function sidecarFault(
  subdir: string,
  sidecar: string,
  context: VerifyContext,
): Promise<Pick<Finding, 'code' | 'message'> | undefined> {
  const { store } = context;
  const wanted = sha256Digest(sidecar);
  const repository = store.metadataRepository(subdir, 'attestations');
  const what = `\`${repository.name}:${sidecar}\``;
  try {
    const found = await findMetadata(store, subdir, 'attestations', { ...context, reference: sidecar });
    if (found === undefined) return { code: 'SIDECAR_MISSING', message: `${what} is not there` };
    const layer = found.layers.find(({ digest }) => digest === wanted);
    if (layer === undefined)
      return { code: 'SIDECAR_UNREADABLE', message: `${what} does not hold ${wanted}` };
    if (context.depth === 'manifests') return undefined;
    const fault = await layerFault(subdir, layer, repository, context);
    return fault === undefined ? undefined : { code: 'SIDECAR_UNREADABLE', message: `${what}: ${fault}` };
  } catch (error) {
    if (isRefusal(error)) return { code: 'SIDECAR_MISSING', message: `${what} is not there, or not for us` };
    const fault = await faultOrThrow(error, subdir, context);
    return { code: 'SIDECAR_UNREADABLE', message: `${what}: ${messageOf(fault)}` };
  }
}
