/** Options of {@link forEachConcurrently}. */
export interface PoolOptions {
  /** How many calls run at once. */
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `work` for each item, at most `concurrency` at once, taking items only as they are needed. The first
 * failure or abort stops the taking; it is thrown after the calls under way have settled, so nothing floats.
 */
export async function forEachConcurrently<T>(
  items: Iterable<T> | AsyncIterable<T>,
  options: PoolOptions,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = asyncIterator(items);
  let failure: { readonly error: unknown } | undefined;
  const isStopped = (): boolean => failure !== undefined || options.signal?.aborted === true;

  const lane = async (): Promise<void> => {
    while (!isStopped()) {
      try {
        const next = await iterator.next();
        if (next.done === true) return;
        // Waiting for the item may have taken long.
        if (isStopped()) return;
        await work(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.floor(Math.max(1, options.concurrency || 1)) }, lane));
  if (isStopped()) {
    // What the source says to being left early is less than why it was left.
    await iterator.return(undefined).catch(() => undefined);
  }
  if (failure !== undefined) throw failure.error;
  options.signal?.throwIfAborted();
}

async function* asyncIterator<T>(items: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T> {
  yield* items;
}
