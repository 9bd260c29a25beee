/** The other side of `build-shards.ts`: makes one pack of the repodata it is sent, and tells what is in it. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { sentFailure, type SentFailure } from '../../io/port-bytes.js';
import { borrowBytes } from './lent-bytes.js';
import { makePack, type MakePackOptions } from './make-pack.js';
import type { PackTable } from './pack-table.js';

/** What the thread is started with. */
export interface ShardWork {
  /** Gives the repodata's plain text. */
  readonly from: MessagePort;
  readonly options: MakePackOptions;
}

/** What comes back, once; errors lose their class on the way. */
export type ShardAnswer = { readonly table: PackTable } | { readonly failure: SentFailure };

const { from, options } = workerData as ShardWork;
const stopping = new AbortController();
// Asked to stop, it tidies up and ends by itself; ended from outside it could not.
parentPort?.once('message', () => {
  stopping.abort(new Error('it is not wanted any more'));
});

async function answer(): Promise<ShardAnswer> {
  try {
    return { table: await makePack(borrowBytes(from, stopping.signal), options, stopping.signal) };
  } catch (error) {
    return { failure: sentFailure(error) };
  }
}

parentPort?.postMessage(await answer());
from.close();
parentPort?.close();
