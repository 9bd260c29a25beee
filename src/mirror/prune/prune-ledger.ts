/** What a prune writes into the ledger of a subdir: it forgets first, and remembers what stayed after all. */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { isSameLedger, writeLedger, type Ledger } from '../../artifact/ledger.js';
import { LATEST } from '../../artifact/metadata-artifact.js';
import { tagMoved } from '../../oci/tag-moved.js';
import type { SubdirPrunePlan } from './plan-document.js';

/**
 * The ledger before anything goes: it vouches for nothing of what is to go, and knows by its times that it may still be
 * there, so that after a kill the next prune finds it.
 */
export function ledgerBefore(ledger: Ledger, plan: SubdirPrunePlan): Ledger {
  const archives = plan.artifacts.flatMap((artifact) => artifact.archives);
  const going = new Set([...archives.map(({ filename }) => filename), ...plan.forget]);
  const times = new Map([
    ...Object.entries(ledger.unlisted ?? {}),
    ...Object.entries(plan.unlisted),
    ...archives.map(({ filename, since }) => [filename, since] as const),
  ]);
  for (const filename of plan.forget) times.delete(filename);
  return withTimes({ ...ledger, kept: without(ledger.kept, (filename) => going.has(filename)) }, times);
}

/** The ledger after it: nothing of what is gone, and all that was to go and is there. */
export function ledgerAfter(
  ledger: Ledger,
  plan: SubdirPrunePlan,
  { isGone, isThere }: Readonly<Record<'isGone' | 'isThere', (filename: string) => boolean>>,
): Ledger {
  const there = plan.artifacts
    .flatMap(({ archives }) => archives)
    .filter(({ filename }) => isThere(filename))
    .map(({ filename, digest }) => [filename, digest] as const);
  const times = Object.entries(ledger.unlisted ?? {}).filter(([filename]) => !isGone(filename));
  return withTimes({ ...ledger, kept: { ...ledger.kept, ...Object.fromEntries(there) } }, new Map(times));
}

/**
 * Writes a ledger if it says something else than the one before, and nobody else has written one meanwhile.
 * @returns what is stored now
 * @throws FerryError `TAG_MOVED`
 */
export async function writeLedgerUnmoved(
  store: ChannelStore,
  before: Ledger | undefined,
  after: Ledger,
  signal: AbortSignal | undefined,
): Promise<Ledger> {
  if (isSameLedger(after, before)) return after;
  const repository = store.metadataRepository(after.subdir, 'ledger');
  const known = store.latestOf(repository) ?? 'nothing';
  const found = await repository.fetchManifest(LATEST, { signal });
  if ((found?.descriptor.digest ?? 'nothing') !== known) throw tagMoved(repository.name, LATEST);
  await writeLedger(store, after, { signal });
  return after;
}

/** Without an empty list of times, which older versions do not know. */
function withTimes(ledger: Ledger, times: ReadonlyMap<string, string>): Ledger {
  const { unlisted: _, ...rest } = ledger;
  return times.size === 0 ? rest : { ...rest, unlisted: Object.fromEntries(times) };
}

function without(
  names: Readonly<Record<string, string>>,
  isGone: (name: string) => boolean,
): Record<string, string> {
  return Object.fromEntries(Object.entries(names).filter(([name]) => !isGone(name)));
}
