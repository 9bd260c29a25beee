import type { ChannelStore } from '../artifact/channel-store.js';
import { readLedger, type Ledger } from '../artifact/ledger.js';
import { REPODATA, ZSTD_SUFFIX } from '../artifact/media-types.js';
import {
  findMetadata,
  LATEST,
  resolveLatest,
  openMetadataLayer,
  type FoundMetadata,
} from '../artifact/metadata-artifact.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import { Repodata } from '../conda/repodata/repodata.js';
import { isFerryError } from '../errors.js';
import type { OpenBytes } from '../io/bytes.js';
import type { TempFolder } from '../io/temp-folder.js';
import type { Descriptor } from '../oci/descriptor.js';
import { MAX_REPODATA_BYTES } from './snapshot.js';
import { readText } from './spooled-text.js';

/**
 * How far the published repodata can be taken for the state of the store. `vouched`: it is; `interrupted`: all it
 * lists is there, and more may be; `unknown`: nothing is known; `empty`: nothing was ever published.
 */
export type Trust = 'vouched' | 'interrupted' | 'unknown' | 'empty';

/** What the destination says of a subdir, before the source is asked. */
export interface SubdirState {
  readonly trust: Trust;
  readonly ledger: Ledger | undefined;
  /** Manifest behind the repodata's `latest`. */
  readonly latest: Descriptor | undefined;
}

/** What {@link readState} compares the ledger with. */
export interface StateOptions {
  /** The mirror's source, by its durable name. */
  readonly source: string;
  /** Go on without a ledger that cannot be read: the registry itself is asked. */
  readonly deep: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads what is known of a subdir in three requests: ledger (two) and the repodata's `latest`.
 * @throws FerryError `LEDGER_INVALID`, unless `deep`
 */
export async function readState(
  store: ChannelStore,
  subdir: string,
  options: StateOptions,
): Promise<SubdirState> {
  const ledger = await readLedger(store, subdir, options).catch((error: unknown) => {
    if (options.deep && isFerryError(error, 'LEDGER_INVALID')) return undefined;
    throw error;
  });
  const latest = await resolveLatest(store, subdir, 'repodata.json', options);
  return { trust: trustIn(ledger, latest, store, options.source), ledger, latest };
}

function trustIn(
  ledger: Ledger | undefined,
  latest: Descriptor | undefined,
  store: ChannelStore,
  source: string,
): Trust {
  if (ledger === undefined) return latest === undefined ? 'empty' : 'unknown';
  const { running } = ledger;
  const isOurs =
    latest?.digest === ledger.repodata || (latest !== undefined && latest.digest === running?.publishing);
  if (!isOurs || ledger.schema !== store.schema.id || ledger.role.source !== source) return 'unknown';
  return running === undefined ? 'vouched' : 'interrupted';
}

/** Published repodata with the layers it came in. Disposing lets go of its bytes. */
export interface Published extends AsyncDisposable {
  readonly repodata: Repodata;
  readonly found: FoundMetadata;
  /** Reads the JSON text again. */
  readonly open: OpenBytes;
}

/**
 * Reads the published repodata that `latest` was found to name; `undefined` where it is gone. Asking for the tag again
 * might bring another's, which no ledger vouches for.
 */
export async function readPublished(
  store: ChannelStore,
  subdir: string,
  latest: Descriptor,
  options: {
    readonly temp: TempFolder;
    readonly workers: WorkerPool;
    /** Read the plain form although there is a compressed one. @defaultValue false */
    readonly plain?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Published | undefined> {
  const { temp, workers, signal } = options;
  const find = (reference: string): Promise<FoundMetadata | undefined> =>
    findMetadata(store, subdir, 'repodata.json', { signal, reference });
  // Some registries tell another digest than that of the bytes, and then know nothing by it.
  const found = (await find(latest.digest)) ?? (await find(LATEST));
  if (found === undefined) return undefined;
  const zst = REPODATA + ZSTD_SUFFIX;
  const isCompressed = options.plain !== true && found.layers.some((layer) => layer.mediaType === zst);
  const text = await readText(openMetadataLayer(found, isCompressed ? zst : REPODATA, { signal }), {
    isCompressed,
    maxBytes: MAX_REPODATA_BYTES,
    what: `\`${found.repository.name}\``,
    temp,
    workers,
  });
  try {
    const repodata = await Repodata.read(text.open, subdir, { signal, digest: text.digest });
    return { repodata, found, open: text.open, [Symbol.asyncDispose]: () => text[Symbol.asyncDispose]() };
  } catch (error) {
    await text[Symbol.asyncDispose]();
    throw error;
  }
}
