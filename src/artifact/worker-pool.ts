import { availableParallelism } from 'node:os';
import type { Piscina } from 'piscina';
import { FerryError } from '../errors.js';
import type { WorkerAnswer, WorkerMessage, WorkerTaskName, WorkerTasks } from './worker.js';

/** The network limits a mirror before more threads than this would help. */
const MAX_THREADS = 4;
const IDLE_TIMEOUT_MS = 10_000;

/**
 * Worker threads for what costs processor time, so that the event loop stays free. They start with the first task that is
 * worth it: small ones are done at once, since a thread costs more to reach than they take.
 */
export class WorkerPool implements AsyncDisposable {
  readonly #threads: number;
  #piscina: Promise<Piscina<WorkerMessage, WorkerAnswer>> | undefined;

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
    if ('failure' in answer) throw new FerryError(answer.failure.code, answer.failure.message);
    return answer.output;
  }

  async #runInThread(message: WorkerMessage, signal: AbortSignal | undefined): Promise<WorkerAnswer> {
    this.#piscina ??= this.#start();
    const piscina = await this.#piscina;
    try {
      return await piscina.run(message, signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }

  async #start(): Promise<Piscina<WorkerMessage, WorkerAnswer>> {
    const { Piscina } = await import('piscina');
    return new Piscina({
      filename: new URL('./worker.js', import.meta.url).href,
      minThreads: 1,
      maxThreads: this.#threads,
      idleTimeout: IDLE_TIMEOUT_MS,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#piscina)?.destroy();
  }
}
