import type { ChannelStore } from '../../artifact/channel-store.js';
import { readLedger, writeLedger, type Ledger } from '../../artifact/ledger.js';
import { REPODATA } from '../../artifact/media-types.js';
import { findMetadata } from '../../artifact/metadata-artifact.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { FerryError } from '../../errors.js';
import type { CallOptions } from '../../oci/storage.js';
import { lockDestination } from '../lock-destination.js';
import { mirrorChannel, planMirror, type MirrorOptions } from '../mirror.js';
import type { MirrorPlan, MirrorReport } from '../report.js';
import type { BundledSubdir, BundleManifest } from './manifest.js';

/** Options of {@link importBundle}. */
export interface ImportBundleOptions extends MirrorOptions {
  /** The bundle's manifest; {@link MirrorOptions.source} reads its layouts. */
  readonly bundle: BundleManifest;
}

/** Says what {@link importBundle} would do, without moving anything. @throws FerryError as {@link importBundle} */
export async function planImport(options: ImportBundleOptions): Promise<MirrorPlan> {
  await checkBases(options);
  return planMirror(asMirror(options));
}

/**
 * Brings a destination from the state that a bundle goes on from to the one that it leads to. Afterwards the destination is what
 * a mirror of the bundle's own source would have made of it, and is known as that mirror. A listed archive that is neither in
 * the bundle nor at the destination is reported and not listed.
 * @throws FerryError `BUNDLE_INVALID`, `BUNDLE_BASE_MISMATCH`, and as {@link mirrorChannel}
 */
export async function importBundle(options: ImportBundleOptions): Promise<MirrorReport> {
  await using _ = await lockDestination(options.destination, options);
  const adopted = await checkBases(options);
  // All bases are right before anything is written.
  for (const ledger of adopted) await writeLedger(options.destination, ledger, options);
  return await mirrorChannel({ ...asMirror(options), lockFolder: undefined });
}

function asMirror(options: ImportBundleOptions): MirrorOptions {
  const { source, bundle } = options;
  return { ...options, source: new BundleChannel(source, bundle.source) };
}

/** @returns ledgers to write: of destinations that were filled from a copy of the source, and are mirrors of the source now */
async function checkBases(options: ImportBundleOptions): Promise<readonly Ledger[]> {
  const { bundle, destination, subdirs } = options;
  if (!bundle.complete)
    throw new FerryError('BUNDLE_INVALID', `the bundle of \`${bundle.source}\` is not finished`);
  const adopted: Ledger[] = [];
  for (const [subdir, bundled] of Object.entries(bundle.subdirs)) {
    if (subdirs !== undefined && !subdirs.includes(subdir)) continue;
    const ledger = await checkBase(destination, subdir, bundled, bundle, options);
    if (ledger !== undefined) adopted.push(ledger);
  }
  return adopted;
}

async function checkBase(
  store: ChannelStore,
  subdir: string,
  { base, repodata }: BundledSubdir,
  { source }: BundleManifest,
  options: CallOptions,
): Promise<Ledger | undefined> {
  // Then the bundle has all of it.
  if (base === null) return undefined;
  const { signal } = options;
  const found = await findMetadata(store, subdir, 'repodata.json', { signal });
  const digest = found?.layers.find(({ mediaType }) => mediaType === REPODATA)?.digest;
  if (digest !== undefined && digest === repodata) return undefined;
  const ledger = await readLedger(store, subdir, { signal });
  if (digest === base) {
    const isOther = ledger?.role.kind === 'mirror' && ledger.role.source !== source;
    if (!isOther || ledger.running !== undefined || ledger.repodata !== found?.descriptor.digest)
      return undefined;
    // The state is that of the source, whatever copy of it came here: so the ledger may be believed.
    const { source: _, ...rest } = ledger;
    return { ...rest, role: { kind: 'mirror', source } };
  }
  // The same bundle, part of which is here: archives failed, or the run was killed.
  const isSameBundle = ledger?.source?.digest === repodata || ledger?.running !== undefined;
  if (ledger?.role.source === source && isSameBundle) return undefined;
  throw new FerryError(
    'BUNDLE_BASE_MISMATCH',
    `\`${store.location}\` ${digest === undefined ? 'lacks' : 'has another state than'} the repodata of \`${subdir}\` that the bundle goes on from`,
    { hint: 'import the bundles in between first, or make one with --delta-from a copy of this destination' },
  );
}

/** The layouts of a bundle under the name of the channel that they were made of. */
class BundleChannel implements ChannelSource {
  readonly url: string;
  readonly #layouts: ChannelSource;

  constructor(layouts: ChannelSource, url: string) {
    this.#layouts = layouts;
    this.url = url;
  }

  subdirs: ChannelSource['subdirs'] = (options) => this.#layouts.subdirs(options);
  openMetadata: ChannelSource['openMetadata'] = (path, options) => this.#layouts.openMetadata(path, options);
  openArchive: ChannelSource['openArchive'] = (archive, options) =>
    this.#layouts.openArchive(archive, options);
}
