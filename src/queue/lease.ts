import type { QueueRedis } from './queue-redis.js';
export async function acquireLease(
  _q: QueueRedis,
  _o: {
    holder: { host: string; pid: number; startedAt: string };
    signal?: AbortSignal | undefined;
    onWait?: (h: { host: string; pid: number }) => void;
  },
): Promise<AsyncDisposable & { signal: AbortSignal }> {
  return { signal: new AbortController().signal, [Symbol.asyncDispose]: () => Promise.resolve() };
}
