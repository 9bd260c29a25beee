import type { ChannelStore } from '../../artifact/channel-store.js';
import { checkSchema } from '../../artifact/check-schema.js';
import { REPODATA } from '../../artifact/media-types.js';
import { OciChannel } from '../../artifact/oci-channel.js';
import { checkNotHeld, checkNotPublished } from '../../artifact/run-marks.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { CopyError, FerryError, isFerryError } from '../../errors.js';
import type { TempFolder } from '../../io/temp-folder.js';
import type { CallOptions } from '../../oci/storage.js';
import { readPublished, readState, type Published, type SubdirState } from '../../mirror/state.js';
import type { FillableArchive } from './fill-list.js';

/** Ledger and repodata are two tags: who reads between two writes of another sees them apart for a moment. */
const LOOKS = 3;

/** What a look at the store goes by. */
export interface StoreLookOptions extends CallOptions {
  readonly store: ChannelStore;
  /** Durable name of the channel that the store mirrors. */
  readonly source: string;
}

/** What the store says of a subdir. */
export interface SubdirLook extends AsyncDisposable {
  readonly subdir: string;
  readonly state: SubdirState;
  /** What is listed there; `undefined` where nothing is. */
  readonly published: Published | undefined;
  /** Whether it publishes the uncompressed repodata, or nothing yet. */
  readonly hasPlainJson: boolean;
}

/** Reads a subdir's state; where a ledger seems not to speak of what is published, it is looked at again. */
export async function readStoreState(subdir: string, options: StoreLookOptions): Promise<SubdirState> {
  const { store, source, signal } = options;
  for (let looks = 1; ; looks += 1) {
    const state = await readState(store, subdir, { source, deep: false, signal });
    if (state.trust !== 'unknown' || state.ledger?.role.source !== source || looks === LOOKS) return state;
  }
}

/** Reads what a subdir lists, as its state was found. */
export async function lookAtSubdir(
  subdir: string,
  state: SubdirState,
  options: StoreLookOptions & { readonly temp: TempFolder; readonly workers: WorkerPool },
): Promise<SubdirLook> {
  const { store, temp, workers, signal } = options;
  const { latest } = state;
  const published =
    latest === undefined ? undefined : await readPublished(store, subdir, latest, { temp, workers, signal });
  const layers = published?.found.layers;
  return {
    ...{ subdir, state, published },
    hasPlainJson: layers === undefined || layers.some(({ mediaType }) => mediaType === REPODATA),
    [Symbol.asyncDispose]: async () => published?.[Symbol.asyncDispose](),
  };
}

/** Tells whether an archive is listed, with its bytes if they are known. */
export function isListed({ published }: SubdirLook, { filename, sha256 }: FillableArchive): boolean {
  if (published?.repodata.has(filename) !== true) return false;
  return sha256 === undefined || published.repodata.identity(filename) === `sha256:${sha256}`;
}

/**
 * Makes sure that a store can be filled from a source: it is a mirror of that, or empty, and takes uploads.
 * @throws FerryError `ROLE_MISMATCH` for a channel that is published to, `FOREIGN_RECORDS` for a mirror of something else
 * and for what no ledger speaks of, `ROLLED_BACK`, `SCHEMA_CONFLICT`, `LEDGER_INVALID`; whatever the store throws
 */
export async function checkStore(options: StoreLookOptions): Promise<void> {
  const { store, signal } = options;
  const subdirs = await new OciChannel(store).subdirs({ signal });
  for (const subdir of subdirs) {
    const state = await readStoreState(subdir, options);
    checkNotPublished(state.ledger, store, subdir);
    checkNotHeld(state.ledger, store, subdir);
    checkMirrors(subdir, state, options);
  }
  if (!subdirs.includes('noarch')) await checkSchema(store, 'noarch', { signal });
  try {
    await store.metadataRepository('noarch', 'ledger').checkPush?.({ signal });
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new CopyError('destination', `\`${store.location}\` takes no uploads`, error);
  }
}

function checkMirrors(
  subdir: string,
  { trust, ledger }: SubdirState,
  { store, source }: StoreLookOptions,
): void {
  const what = `\`${subdir}\` of \`${store.location}\``;
  const other = ledger?.role.source;
  if (other !== undefined && other !== source) {
    throw new FerryError('FOREIGN_RECORDS', `${what} is a mirror of \`${other}\`, and not of \`${source}\``, {
      hint: 'choose another store, or the upstream that it mirrors',
    });
  }
  if (trust !== 'unknown') return;
  throw new FerryError('FOREIGN_RECORDS', `no ledger speaks of what ${what} lists`, {
    hint: `if it is a mirror of the upstream, run conda-ferry mirror once: it takes over what is there`,
  });
}
