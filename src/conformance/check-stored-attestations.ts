/** The sidecars with attestations of a channel in a store: artifacts of their own, each under its digest as the tag. */
import type { ChannelStore } from '../artifact/channel-store.js';
import { isSidecarDigest, MAX_SIDECAR_BYTES } from '../conda/sidecar.js';
import { collect } from '../io/bytes.js';
import { sha256Digest } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { CheckContext } from './check-context.js';
import type { ListedPackage, SubdirListing } from './check-documents.js';
import { isContentFault } from './content-fault.js';
import { readManifest } from './read-manifest.js';
import { checkSidecar } from './rules/attestations.js';
import { checkMetadataManifest, plainLayer } from './rules/metadata-artifact.js';
import { chooseSample } from './sample.js';

/** A listed archive whose record names a sidecar. */
interface Attested extends ListedPackage {
  /** Lower-case hex. */
  readonly attestations: string;
}

/**
 * Checks the sidecars that a subdir's records name, or a sample of them. Signatures are not verified. Where the store
 * cannot be asked once, it is not asked again: registries refuse repositories that are not there.
 * @throws FerryError as {@link CheckContext.look} does
 */
export async function checkStoredAttestations(
  store: ChannelStore,
  { subdir, archives }: SubdirListing,
  context: CheckContext,
): Promise<void> {
  const { sample, concurrency, signal } = context.options;
  const attested = archives.filter(isAttested);
  const chosen = sample === undefined ? attested : chooseSample(attested, sample.size, sample.seed);
  if (chosen.length === 0) return;
  const leaf = store.schema.metadataRepository('attestations');
  await context.look(`${subdir}/${leaf}`, async () => {
    await forEachConcurrently(chosen, { concurrency, signal }, async (archive) => {
      await checkOne(store, subdir, archive, `${subdir}/${leaf}:${archive.attestations}`, context);
    });
  });
}

function isAttested(archive: ListedPackage): archive is Attested {
  return isSidecarDigest(archive.attestations);
}

async function checkOne(
  store: ChannelStore,
  subdir: string,
  { attestations, filename, sha256 }: Attested,
  where: string,
  context: CheckContext,
): Promise<void> {
  const { log, options } = context;
  const { schema } = store;
  const repository = store.metadataRepository(subdir, 'attestations');
  const stored = await repository.fetchManifest(attestations, { signal: options.signal });
  log.expect('cep142/present', stored !== undefined, () => ({
    where,
    found: `no sidecar, and the record of \`${filename}\` names one`,
    expected: 'an artifact with the sidecar, or no `attestations_sha256`',
  }));
  if (stored === undefined) return;
  context.counts.artifacts += 1;
  const manifest = readManifest(stored, where, schema.id, log);
  if (manifest === undefined) return;
  checkMetadataManifest({ schema, file: 'attestations', where, manifest }, log);
  const layer = plainLayer('attestations', manifest);
  const bytes = layer === undefined ? 'no layer of that type' : await readLayer(layer);
  log.expect('cep142/bytes-kept', typeof bytes !== 'string', () => ({
    where,
    found: String(bytes),
    expected: `the sidecar sha256:${attestations}`,
  }));
  if (typeof bytes !== 'string') checkSidecar({ bytes, filename, sha256, where }, log);

  async function readLayer(descriptor: Descriptor): Promise<Uint8Array | string> {
    if (descriptor.digest !== sha256Digest(attestations)) return descriptor.digest;
    try {
      return await collect(
        repository.fetch(descriptor, { signal: options.signal }),
        MAX_SIDECAR_BYTES,
        'the sidecar',
      );
    } catch (error) {
      if (isContentFault(error)) return error.message;
      throw error;
    }
  }
}
