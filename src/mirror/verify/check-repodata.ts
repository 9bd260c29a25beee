/** The published repodata of a subdir: whether it can be read, and whether both of its forms say the same. */
import { REPODATA, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import { resolveLatest } from '../../artifact/metadata-artifact.js';
import { messageOf, type FerryError } from '../../errors.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { Repository } from '../../oci/storage.js';
import { readPublished, type Published } from '../state.js';
import { finding, type Finding } from './findings.js';
import { faultOrThrow, type VerifyContext } from './verify-context.js';

/** What the published repodata of a subdir turned out to be. */
export interface RepodataAudit {
  /** Manifest behind `latest`. */
  readonly latest: Descriptor | undefined;
  /** `undefined` where no form of it can be read. */
  readonly published: Published | undefined;
  readonly findings: readonly Finding[];
  /** Layers that are there and damaged. */
  readonly damaged: readonly Descriptor[];
}

/**
 * Reads the published repodata: the compressed form, and the plain one where the two do not agree or the other cannot
 * be read. The plain one is then believed: it is the file, the other a copy of it.
 * @throws what the store throws where it cannot be asked
 * @see CEP 36
 */
export async function checkRepodata(subdir: string, context: VerifyContext): Promise<RepodataAudit> {
  const latest = await resolveLatest(context.store, subdir, 'repodata.json', context);
  const where = { subdir, filename: 'repodata.json' };
  if (latest === undefined) {
    const missing = finding('REPODATA_MISSING', where, '`latest` names nothing', false);
    return { latest, published: undefined, findings: [missing], damaged: [] };
  }
  const first = await read(subdir, latest, false, context);
  if ('published' in first && agrees(first.published)) {
    const { published } = first;
    const fault = await plainFault(subdir, published, context);
    if (fault === undefined) return { latest, published, findings: [], damaged: [] };
    const unreadable = finding('REPODATA_UNREADABLE', where, `the plain form: ${fault}`, true);
    const damaged = await damagedLayers(subdir, published, context);
    return { latest, published, findings: [unreadable], damaged };
  }
  const plain = await read(subdir, latest, true, context);
  if ('published' in plain) {
    const found =
      'fault' in first
        ? finding('REPODATA_UNREADABLE', where, `the compressed form: ${first.fault}`, true)
        : finding('REPODATA_FORMS_DIFFER', where, '`repodata.json.zst` holds other bytes', true);
    const { published } = plain;
    const damaged = await damagedLayers(subdir, published, context);
    return { latest, published, findings: [found], damaged };
  }
  if ('published' in first) {
    const { published } = first;
    const found = finding('REPODATA_UNREADABLE', where, `the plain form: ${plain.fault}`, true);
    const damaged = await damagedLayers(subdir, published, context);
    return { latest, published, findings: [found], damaged };
  }
  const found = finding('REPODATA_UNREADABLE', where, first.fault, false);
  return { latest, published: undefined, findings: [found], damaged: [] };
}

async function read(
  subdir: string,
  latest: Descriptor,
  plain: boolean,
  context: VerifyContext,
): Promise<{ readonly published: Published } | { readonly fault: string }> {
  try {
    const published = await readPublished(context.store, subdir, latest, { ...context, plain });
    return published === undefined ? { fault: 'it is gone' } : { published };
  } catch (error) {
    return { fault: messageOf(await faultOrThrow(error, subdir, context)) };
  }
}

/** That the plain form is the right one was told from its digest; whether its bytes are there is another matter. */
async function plainFault(
  subdir: string,
  published: Published,
  context: VerifyContext,
): Promise<string | undefined> {
  const { layers, repository } = published.found;
  const plain = plainOf(published);
  if (plain === undefined) return 'the artifact does not hold it';
  // Where there is no other form, it was just read.
  if (layers.length === 1) return undefined;
  if (context.depth === 'deep') {
    const fault = await readFault(subdir, plain, repository, context);
    return fault === undefined ? undefined : messageOf(fault);
  }
  try {
    return (await repository.exists(plain, context)) ? undefined : `${plain.digest} is not there`;
  } catch (error) {
    return messageOf(await faultOrThrow(error, subdir, context));
  }
}

async function damagedLayers(
  subdir: string,
  { found: { layers, repository } }: Published,
  context: VerifyContext,
): Promise<readonly Descriptor[]> {
  const damaged: Descriptor[] = [];
  for (const layer of layers) {
    const fault = await readFault(subdir, layer, repository, context);
    if (fault !== undefined && fault.code !== 'NOT_FOUND') damaged.push(layer);
  }
  return damaged;
}

/** Reads content for nothing but whether that works. */
export async function readFault(
  subdir: string,
  content: Descriptor,
  repository: Repository,
  context: VerifyContext,
): Promise<FerryError | undefined> {
  try {
    for await (const _ of repository.fetch(content, context)) continue;
    return undefined;
  } catch (error) {
    return faultOrThrow(error, subdir, context);
  }
}

function plainOf({ found }: Published): Descriptor | undefined {
  return found.layers.find(({ mediaType }) => mediaType === REPODATA);
}

/** Whether what was read has the digest that the manifest names for the plain form. */
function agrees(published: Published): boolean {
  const hasCompressed = published.found.layers.some(({ mediaType }) => mediaType === REPODATA + ZSTD_SUFFIX);
  return !hasCompressed || plainOf(published)?.digest === published.repodata.digest;
}
