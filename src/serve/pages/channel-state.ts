/** How a channel stands at the moment when somebody looks at its pages. */
import { isFerryError, type FerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { untilAborted } from '../../io/single-flight.js';
import type { Generation, PackageListing, ServedChannel, ShardSet } from '../channels/served-channel.js';

/** A subdir: its packages are known, or will be, or cannot be. */
export type SubdirState = { readonly subdir: string; readonly generation?: Generation | undefined } & (
  | { readonly kind: 'ready'; readonly generation: Generation; readonly shards: ShardSet }
  | { readonly kind: 'waiting' }
  | { readonly kind: 'failed'; readonly error: FerryError }
);

/** A channel's subdirs, sorted, and all that they list. */
export interface ChannelState {
  readonly subdirs: readonly SubdirState[];
  readonly names: PackageNames;
}

/** Package names with the subdirs that list them, in order. */
export type PackageNames = ReadonlyMap<string, readonly string[]>;

/** How long a page waits for what may take longer; then it says so, and comes again. In milliseconds. */
const PATIENCE_MS = 2_000;
/** As {@link PATIENCE_MS}, for what takes a moment or, in large channels, a minute. */
const SHARDS_PATIENCE_MS = 500;

/**
 * Looks at a channel; what does not answer in time counts as waiting.
 * @returns `undefined` where not even the subdirs are known in time
 * @throws FerryError what keeps the channel from being read
 */
export async function readChannelState(
  channel: ServedChannel,
  signal: AbortSignal | undefined,
): Promise<ChannelState | undefined> {
  const found = await inTime((limit) => channel.subdirs({ signal: limit }), signal);
  if (found === undefined) return undefined;
  const states = await Promise.all(
    [...found].sort(compareText).map((subdir) => readSubdirState(channel, subdir, signal)),
  );
  const subdirs = states.filter((state) => state !== undefined);
  return { subdirs, names: namesOf(channel, subdirs) };
}

/** What all subdirs say of a package, as far as they are ready. */
export async function readListings(
  { subdirs, names }: ChannelState,
  name: string,
  signal: AbortSignal | undefined,
): Promise<readonly { readonly subdir: string; readonly listing: PackageListing }[]> {
  const listed = names.get(name) ?? [];
  const read = await Promise.all(
    subdirs.map(async (state) => {
      if (state.kind !== 'ready' || !listed.includes(state.subdir)) return undefined;
      const listing = await state.shards.listing(name, { signal });
      return listing && { subdir: state.subdir, listing };
    }),
  );
  return read.filter((found) => found !== undefined);
}

async function readSubdirState(
  channel: ServedChannel,
  subdir: string,
  signal: AbortSignal | undefined,
): Promise<SubdirState | undefined> {
  let generation: Generation | undefined;
  try {
    const found = await inTime(
      async (limit) => ({ generation: await channel.generation(subdir, { signal: limit }) }),
      signal,
    );
    if (found === undefined) return { kind: 'waiting', subdir };
    ({ generation } = found);
    if (generation === undefined) return undefined;
    const ready = generation;
    // Waits for them a moment, so that small channels are there at once, and what can never be made is told.
    const shards =
      ready.shards ?? (await inTime((limit) => ready.whenSharded(limit), signal, SHARDS_PATIENCE_MS));
    if (shards === undefined) return { kind: 'waiting', subdir, generation };
    return { kind: 'ready', subdir, generation, shards };
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return { kind: 'failed', subdir, generation, error };
  }
}

async function inTime<T>(
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal | undefined,
  patienceMs = PATIENCE_MS,
): Promise<T | undefined> {
  signal?.throwIfAborted();
  const limit = AbortSignal.timeout(patienceMs);
  const both = signal === undefined ? limit : AbortSignal.any([signal, limit]);
  try {
    return await untilAborted(work(both), both);
  } catch (error) {
    if (!limit.aborted || signal?.aborted === true || isFerryError(error)) throw error;
    return undefined;
  }
}

/** The same generations are looked at again and again, and large channels have some ten thousand names. */
const merged = new WeakMap<
  ServedChannel,
  { readonly sets: readonly ShardSet[]; readonly names: PackageNames }
>();

function namesOf(channel: ServedChannel, subdirs: readonly SubdirState[]): PackageNames {
  const ready = subdirs.filter((state) => state.kind === 'ready');
  const sets = ready.map(({ shards }) => shards);
  const known = merged.get(channel);
  if (known?.sets.length === sets.length && known.sets.every((set, index) => set === sets[index]))
    return known.names;
  const places = new Map<string, string[]>();
  for (const { subdir, shards } of ready) {
    for (const name of shards.names) {
      const place = places.get(name);
      if (place === undefined) places.set(name, [subdir]);
      else place.push(subdir);
    }
  }
  const names = new Map([...places].sort(([a], [b]) => compareText(a, b)));
  merged.set(channel, { sets, names });
  return names;
}
