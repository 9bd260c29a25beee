import type { ChannelStore } from '../../artifact/channel-store.js';
import { resolveLatest } from '../../artifact/metadata-artifact.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { Digest } from '../../io/digest.js';
import { storedSubdirs } from '../../artifact/stored-subdirs.js';
import { listGenerations, type Generation } from './generations.js';
import { findGeneration } from './read-generation.js';

/** A generation of a subdir's repodata with what it is. */
export interface DescribedGeneration extends Generation {
  readonly digest: Digest;
  /** Of all layers, as they are stored. */
  readonly bytes: number;
  /** How many records it lists. */
  readonly records: number;
  /** Whether this is what is published. */
  readonly isLatest: boolean;
}

/** The generations of a subdir. */
export interface SubdirGenerations {
  readonly subdir: string;
  /** Newest first. */
  readonly generations: readonly DescribedGeneration[];
  /** How many older ones there are. */
  readonly older: number;
  /** Whether `latest` names none of the generations above. */
  readonly isLatestElsewhere: boolean;
}

/** Options of {@link describeGenerations}. */
export interface DescribeGenerationsOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /** How many of the newest of each subdir; each manifest is read, and so is its repodata. */
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

/** Lists the generations that a channel can be taken back to. @throws FerryError `CHANNEL_NOT_FOUND`, `USAGE` */
export async function describeGenerations(
  options: DescribeGenerationsOptions,
): Promise<readonly SubdirGenerations[]> {
  const { store, limit, signal } = options;
  const described: SubdirGenerations[] = [];
  for (const subdir of await storedSubdirs(store, options.subdirs, { signal })) {
    const all = await listGenerations(store, subdir, 'repodata.json', { signal });
    const latest = await resolveLatest(store, subdir, 'repodata.json', { signal });
    const generations: DescribedGeneration[] = [];
    const records = new Map<Digest, number>();
    for (const generation of all.slice(0, limit)) {
      const found = await findGeneration(store, subdir, generation.tag, options);
      if (found === undefined) continue;
      const { digest, bytes } = found;
      const count = records.get(digest) ?? (await found.read()).recordCount;
      records.set(digest, count);
      generations.push({ ...generation, digest, bytes, records: count, isLatest: digest === latest?.digest });
    }
    const isLatestElsewhere = latest !== undefined && !generations.some(({ isLatest }) => isLatest);
    described.push({ subdir, generations, older: Math.max(0, all.length - limit), isLatestElsewhere });
  }
  return described;
}
