/** Since when archives are not listed: by the generations that listed them, and by the ledger. */
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { Ledger } from '../../artifact/ledger.js';
import type { Digest } from '../../io/digest.js';
import type { Repodata } from '../../conda/repodata/repodata.js';
import { findGeneration, sidecarsOf } from '../generations/read-generation.js';
import { generationAt, type Generation } from '../generations/generations.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';

/** What generations tell of unlisted archives. */
export interface GenerationEvidence {
  /** Archives that a generation lists which can be gone back to. */
  readonly protectedNames: ReadonlySet<string>;
  /** File name to the moment since which no generation lists it, at the latest. Not in it: they do not tell. */
  readonly since: ReadonlyMap<string, Date>;
  /** Attestation sidecars that the records of those generations name that can be gone back to. */
  readonly sidecars: ReadonlySet<string>;
}

/** What {@link readGenerations} works with. */
export interface EvidenceOptions {
  readonly store: ChannelStore;
  readonly subdir: string;
  /** Of the repodata, newest first. */
  readonly generations: readonly Generation[];
  /** How many of the newest can be gone back to. */
  readonly keep: number;
  /** Before this moment an archive must have been unlisted. */
  readonly cutoff: Date;
  readonly now: Date;
  readonly published: { readonly digest: Digest; readonly repodata: Repodata };
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads the generations that matter to some archives: those that can be gone back to, and all that were in force within
 * the grace period. Each manifest is read once, however many tags it has.
 * @throws FerryError `MANIFEST_INVALID`, `REPODATA_INVALID`: of a generation that cannot be read nobody knows what it lists
 */
export async function readGenerations(
  filenames: ReadonlySet<string>,
  options: EvidenceOptions,
): Promise<GenerationEvidence> {
  const { store, subdir, generations, keep, cutoff } = options;
  const inForce = generationAt(generations, cutoff);
  const protectedNames = new Set<string>();
  const since = new Map<string, Date>();
  const sidecars = new Set<string>();
  const seen = new Map<
    Digest,
    { readonly names: ReadonlySet<string>; readonly sidecars: ReadonlySet<string> }
  >();
  const look = (repodata: Repodata) => ({
    names: new Set([...filenames].filter((filename) => repodata.has(filename))),
    sidecars: sidecarsOf(repodata),
  });
  seen.set(options.published.digest, look(options.published.repodata));
  // What came after the generation that is looked at, and did not list what that one lists.
  let next = options.now;
  for (const [place, generation] of generations.entries()) {
    const isKept = place < keep;
    const isWithinGrace = inForce === undefined || generation.time.getTime() >= inForce.time.getTime();
    if (!isKept && !isWithinGrace) break;
    const found = await findGeneration(store, subdir, generation.tag, options);
    // Deleted since it was listed.
    if (found === undefined) continue;
    const content = seen.get(found.digest) ?? look(await found.read());
    seen.set(found.digest, content);
    for (const filename of content.names) {
      if (isKept) protectedNames.add(filename);
      if (!since.has(filename)) since.set(filename, next);
    }
    if (isKept) for (const sidecar of content.sidecars) sidecars.add(sidecar);
    next = generation.time;
  }
  if (inForce !== undefined) {
    for (const filename of filenames) if (!since.has(filename)) since.set(filename, inForce.time);
  }
  return { protectedNames, since, sidecars };
}

/** When the ledger says that an archive was unlisted; `undefined` where it does not, or says no time. */
export function recordedSince(ledger: Ledger | undefined, filename: string): Date | undefined {
  const recorded = ledger?.unlisted ?? {};
  const text = Object.hasOwn(recorded, filename) ? recorded[filename] : undefined;
  const time = text === undefined ? undefined : new Date(text);
  return time === undefined || Number.isNaN(time.getTime()) ? undefined : time;
}

/**
 * Carries the times of a ledger on: what is stored and no longer listed has the time it was found so; what had none before
 * stays without, so that generations may tell. What is listed again loses its time.
 * @param kept what is stored without being listed, after the run
 * @param listedBefore whether an archive was listed before the run
 */
export function carryUnlisted(
  ledger: Ledger | undefined,
  kept: Iterable<string>,
  options: {
    readonly isListed: (filename: string) => boolean;
    readonly listedBefore: (filename: string) => boolean;
    readonly now: Date;
  },
): Record<string, string> {
  const before = Object.entries(ledger?.unlisted ?? {});
  const unlisted = new Map(before.filter(([filename]) => !options.isListed(filename)));
  for (const filename of kept) {
    const isNew = !unlisted.has(filename) && options.listedBefore(filename);
    if (isNew && !options.isListed(filename)) unlisted.set(filename, options.now.toISOString());
  }
  return Object.fromEntries(unlisted);
}
