import type { QueueRedis } from './queue-redis.js';
export interface WorkerFacts {
  host: string;
  pid: number;
  version: string;
  concurrency: number;
  startedAt: string;
  archives: number;
  failed: number;
  bytes: number;
  busy: number;
  requests: { source: number; destination: number };
}
export interface Presence extends AsyncDisposable {
  readonly lastContactMs: number;
  update(f: Partial<WorkerFacts>): void;
}
export async function announceWorker(_q: QueueRedis, _f: WorkerFacts): Promise<Presence> {
  return {
    get lastContactMs() {
      return Date.now();
    },
    update: () => undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
export async function listWorkers(_q: QueueRedis): Promise<WorkerFacts[]> {
  return [{ version: '0.1.0' } as WorkerFacts];
}
