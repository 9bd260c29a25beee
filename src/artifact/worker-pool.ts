import { availableParallelism } from 'node:os';
import { MessageChannel } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import { FerryError } from '../errors.js';
import type { Bytes, OpenBytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { receiveBytes, sendBytes } from '../io/port-bytes.js';
import type { CompressOptions, DecompressOptions } from '../io/zstd-stream.js';
import type { WorkerAnswer, WorkerMessage, WorkerTaskName, WorkerTasks } from './worker.js';

/** The network limits a mirror before more threads than this would help. */
const MAX_THREADS = 4;
const IDLE_TIMEOUT_MS = 10_000;
/** Streams take turns on a thread: one may wait for what another one gives, so none may wait for a thread. */
const STREAMS_PER_THREAD = 64;

/** Options of {@link WorkerPool.decompressing}. */
export interface DecompressingOptions extends DecompressOptions {
  /** Told the digest of the plain bytes, computed in the worker too, before they end. */
  readonly onDigest?: ((digest: Digest) => void) | undefined;
}

/**
 * Worker threads for what costs processor time, so that the event loop stays free. They start with the first task that is
 * worth it: small ones are done at once, since a thread costs more to reach than they take.
 */
export class WorkerPool implements AsyncDisposable {
  readonly #threads: number;
  #piscina: Promise<Piscina<WorkerMessage, WorkerAnswer>> | undefined;
  #streams: Promise<Piscina<WorkerMessage, WorkerAnswer>> | undefined;

  /** @param threads @defaultValue one per processor, four at most */
  constructor(threads: number = Math.min(MAX_THREADS, availableParallelism())) {
    this.#threads = threads;
  }

  /** Runs a task. @throws FerryError with the code that the task failed with */
  async run<Name extends WorkerTaskName>(
    name: Name,
    input: WorkerTasks[Name]['input'],
    signal?: AbortSignal,
  ): Promise<WorkerTasks[Name]['output']> {
    signal?.throwIfAborted();
    const { runSmallTask } = await import('./small-task.js');
    const answer =
      (await runSmallTask({ name, input })) ?? (await this.#runInThread({ name, input }, signal));
    signal?.throwIfAborted();
    if ('failure' in answer) throw new FerryError(answer.failure.code ?? 'INTERNAL', answer.failure.message);
    return answer.output;
  }

  async #runInThread(message: WorkerMessage, signal: AbortSignal | undefined): Promise<WorkerAnswer> {
    this.#piscina ??= startThreads(this.#threads, 1);
    const piscina = await this.#piscina;
    try {
      return await piscina.run(message, signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }

  /**
   * Opens the plain bytes of what `open` gives compressed, decompressing them in a worker as they are read.
   * @throws FerryError (its opener) as {@link decompressZstdStream}, and what the source fails with
   */
  decompressing(open: OpenBytes, { onDigest, ...options }: DecompressingOptions): OpenBytes {
    return ({ signal, offset = 0 } = {}) => {
      const input = { ...options, offset, isHashed: onDigest !== undefined };
      const source = open(signal === undefined ? {} : { signal });
      return this.#stream('decompressStream', input, source, signal, onDigest);
    };
  }

  /** Compresses bytes in a worker as they are read. @throws FerryError as {@link compressZstdStream}, and what the source fails with */
  compressing(source: Bytes, options: CompressOptions, signal?: AbortSignal): Bytes {
    return this.#stream('compressStream', options, source, signal);
  }

  async *#stream<Name extends 'compressStream' | 'decompressStream'>(
    name: Name,
    options: Omit<WorkerTasks[Name]['input'], 'from' | 'to'>,
    source: Bytes,
    signal: AbortSignal | undefined,
    onDigest?: (digest: Digest) => void,
  ): Bytes {
    signal?.throwIfAborted();
    this.#streams ??= startThreads(this.#threads, STREAMS_PER_THREAD);
    const input = new MessageChannel();
    const output = new MessageChannel();
    const message = { name, input: { ...options, from: input.port2, to: output.port2 } } as WorkerMessage;
    const running = (await this.#streams).run(message, { transferList: [input.port2, output.port2] });
    const answered = running.catch(() => {
      output.port1.close();
      return undefined;
    });
    const sent = sendBytes(source, input.port1, false);
    try {
      yield* receiveBytes(output.port1, signal);
      const answer = await answered;
      if (onDigest !== undefined && answer !== undefined && 'output' in answer)
        onDigest(answer.output as Digest);
    } catch (error) {
      // What the source failed with is more than what came of it.
      input.port1.close();
      const failure = await sent;
      throw failure === undefined ? error : failure.error;
    } finally {
      input.port1.close();
      await Promise.all([sent, answered]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#piscina, this.#streams].map(async (threads) => (await threads)?.destroy()));
  }
}

async function startThreads(
  threads: number,
  concurrentTasksPerWorker: number,
): Promise<Piscina<WorkerMessage, WorkerAnswer>> {
  const { Piscina } = await import('piscina');
  return new Piscina({
    filename: new URL('./worker.js', import.meta.url).href,
    minThreads: 1,
    maxThreads: threads,
    idleTimeout: IDLE_TIMEOUT_MS,
    concurrentTasksPerWorker,
  });
}
