import type { ChannelStore } from '../artifact/channel-store.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';
import type { MirrorReporter } from '../mirror/report.js';
import type { QueueRedis } from './queue-redis.js';
import type { RunDescription, RunEnds, RunState } from './run-record.js';

export interface WorkerEnds extends AsyncDisposable {
  readonly source: ChannelSource;
  readonly store: ChannelStore;
  requests(): { readonly source: number; readonly destination: number };
}

export interface WorkerReporter {
  waiting?(): void;
  run?(run: RunDescription): void;
  ended?(run: RunDescription, state: RunState): void;
  archive?: MirrorReporter['archive'];
  warning?(text: string): void;
}

export interface RunWorkerOptions {
  readonly queue: QueueRedis;
  readonly version: string;
  readonly concurrency: number;
  readonly openEnds: (ends: RunEnds) => Promise<WorkerEnds>;
  readonly workers: WorkerPool;
  readonly tempDir?: string | undefined;
  readonly tempLimitBytes?: number | undefined;
  readonly reporter?: WorkerReporter | undefined;
  readonly untilDone?: boolean | undefined;
  readonly stop?: AbortSignal | undefined;
  readonly stopGraceMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface WorkerTotals {
  readonly archives: number;
  readonly failed: number;
  readonly bytes: number;
  readonly requests: { readonly source: number; readonly destination: number };
}

export function runWorker(options: RunWorkerOptions): Promise<WorkerTotals> {
  options.reporter?.waiting?.();
  return Promise.reject(new FerryError('UNSUPPORTED', 'workers are not there yet'));
}
