import { afterAll } from 'vitest';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import * as ferry from '#ferry/mirror/mirror.js';
import type { MirrorOptions } from '#ferry/mirror/mirror.js';
import type { MirrorReport } from '#ferry/mirror/report.js';

/** Worker threads that the tests of a file share: to start them takes longer than most runs. */
export const workers = new WorkerPool();
afterAll(async () => workers[Symbol.asyncDispose]());

/** The library's, with the shared {@link workers}. */
export async function mirrorChannel(options: MirrorOptions): Promise<MirrorReport> {
  return ferry.mirrorChannel({ workers, ...options });
}

/** The library's, with the shared {@link workers}. */
export const planMirror: typeof ferry.planMirror = async (options) =>
  ferry.planMirror({ workers, ...options });
