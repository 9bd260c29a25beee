import type { PlanItem } from '../mirror/plan.js';

/** Tags of one job at most: what a worker that dies may leave behind, and what one machine keeps from others. */
const MAX_TAGS = 64;
/** Small plans are spread over so many jobs at least. */
const LEAST_JOBS = 256;
/** Bytes of archives in one job at most, unless it holds a single tag. */
const MAX_BYTES = 512 * 1024 * 1024;

/** How large a job may be. */
export interface BatchOptions {
  /** Tags at most. */
  readonly maxTags: number;
  /** Bytes of archives at most, unless it holds a single tag. @defaultValue 512 MiB */
  readonly maxBytes?: number | undefined;
}

/** How many tags go into each job of a plan of so many artifacts. */
export function tagsPerJob(artifacts: number): number {
  return Math.min(MAX_TAGS, Math.max(1, Math.ceil(artifacts / LEAST_JOBS)));
}

/**
 * Bundles items, in their order, into jobs: of one repository each, so that one token serves them all; an item, which is a
 * tag with its twin, is never split.
 */
export function* batchItems(
  items: Iterable<PlanItem>,
  { maxTags, maxBytes = MAX_BYTES }: BatchOptions,
): Generator<readonly PlanItem[]> {
  let batch: PlanItem[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = item.add.reduce((sum, record) => sum + (record.size ?? 0), 0);
    const [first] = batch;
    const isFull = batch.length >= maxTags || bytes + size > maxBytes;
    if (first !== undefined && (isFull || first.place.repository !== item.place.repository)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
