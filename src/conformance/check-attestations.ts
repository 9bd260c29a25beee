/** The sidecars with attestations that lie beside the archives of an ordinary channel. */
import type { ChannelSource } from '../conda/channel-source.js';
import { isSidecarDigest, MAX_SIDECAR_BYTES } from '../conda/sidecar.js';
import { FerryError, isFerryError } from '../errors.js';
import { collect } from '../io/bytes.js';
import { digestHex, digestOf } from '../io/digest.js';
import type { CheckContext } from './check-context.js';
import type { ListedPackage } from './check-documents.js';
import { checkSidecar, hasAttestations } from './rules/attestations.js';

/**
 * Checks the sidecar of one archive, or that there is none. Signatures are not verified.
 * @throws what the source throws
 * @see CEP 27; CEP draft, conda/ceps pull 142
 */
export async function checkAttestations(
  source: ChannelSource,
  subdir: string,
  { filename, sha256, attestations, url }: ListedPackage,
  context: CheckContext,
): Promise<void> {
  const { log } = context;
  const where = `${subdir}/${filename}.sigs`;
  if (attestations === undefined) {
    // Beside archives that lie elsewhere nobody looks without being told to.
    if (url !== undefined) return;
    const unlisted = await read(source, where, context);
    const isListed = unlisted === undefined || unlisted === 'large' || !hasAttestations(unlisted);
    log.expect('cep142/present', isListed, () => ({
      where,
      found: 'a sidecar, and a record without `attestations_sha256`',
      expected: 'the digest of the sidecar in the record',
    }));
    return;
  }
  // The schema of records has said so.
  if (!isSidecarDigest(attestations)) return;
  if (url !== undefined)
    throw new FerryError('UNSUPPORTED', 'it lies outside of the channel, where this check does not go');
  await checkNamed(source, { where, filename, sha256, attestations }, context);
}

interface NamedSidecar {
  /** Its changing address. */
  readonly where: string;
  readonly filename: string;
  readonly sha256: string | undefined;
  /** The digest that the record names. */
  readonly attestations: string;
}

/** The sidecar that a record names: under its digest, and under the address that changes. */
async function checkNamed(
  source: ChannelSource,
  { where, filename, sha256, attestations }: NamedSidecar,
  context: CheckContext,
): Promise<void> {
  const { log } = context;
  const path = `${where}.${attestations}`;
  const fixed = await read(source, path, context);
  const current = await read(source, where, context);
  const isPresent = log.expect('cep142/present', fixed !== undefined || current !== undefined, () => ({
    where,
    found: 'no sidecar, and a record that names one',
    expected: 'a sidecar, or no `attestations_sha256`',
  }));
  if (!isPresent) return;
  if (fixed === 'large') {
    log.report('cep142/client-fails', {
      where: path,
      found: `more than ${String(MAX_SIDECAR_BYTES)} bytes`,
      expected: 'a sidecar that clients take',
    });
    if (current === 'large') return;
  }
  const isFixed = fixed !== undefined && fixed !== 'large' && digestHex(digestOf(fixed)) === attestations;
  if (fixed !== undefined && fixed !== 'large') {
    log.expect('cep142/bytes-kept', isFixed, () => ({
      where: path,
      found: digestOf(fixed),
      expected: 'the bytes that its name says',
    }));
  }
  const currentDigest =
    current === undefined || current === 'large' ? undefined : digestHex(digestOf(current));
  const isSame = currentDigest === attestations;
  if (current === undefined) {
    log.report('cep142/mutable-url', { where, found: 'no such file', expected: 'the current sidecar' });
  } else {
    log.expect('cep142/same-bytes', isSame, () => ({
      where,
      found:
        currentDigest === undefined
          ? `more than ${String(MAX_SIDECAR_BYTES)} bytes`
          : `sha256:${currentDigest}${fixed === undefined ? ', and nothing under the digest of the record' : ''}`,
      expected: `sha256:${attestations}, as the record says`,
    }));
  }
  // Of a record that names another sidecar than there is, that was said.
  if (fixed !== undefined || isSame) {
    log.expect('cep142/immutable-url', fixed !== undefined, () => ({
      where: path,
      found: 'no such file',
      expected: 'the sidecar that the record names',
    }));
  }
  const bytes = isFixed ? fixed : isSame ? current : undefined;
  if (bytes === undefined || bytes === 'large') return;
  checkSidecar({ bytes, filename, sha256, where }, log);
}

async function read(
  source: ChannelSource,
  path: string,
  { options }: CheckContext,
): Promise<Uint8Array | 'large' | undefined> {
  const answer = await source.openMetadata(path, { signal: options.signal });
  if (answer.status !== 'found') return undefined;
  try {
    return await collect(answer.body, MAX_SIDECAR_BYTES, `\`${path}\``);
  } catch (error) {
    if (isFerryError(error, 'SIZE_EXCEEDED')) return 'large';
    throw error;
  }
}
