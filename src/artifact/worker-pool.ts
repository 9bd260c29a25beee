import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import { FerryError } from '../errors.js';
import type { WorkerAnswer, WorkerMessage, WorkerTaskName, WorkerTasks } from './worker.js';

/** The network limits a mirror before more threads than this would help. */
const MAX_THREADS = 4;
const IDLE_TIMEOUT_MS = 10_000;

/** Worker threads for what costs processor time, so that the event loop stays free. They start with the first task. */
export class WorkerPool implements AsyncDisposable {
  readonly #threads: number;
  #piscina: Piscina<WorkerMessage, WorkerAnswer> | undefined;

  /** @param threads @defaultValue one per processor, four at most */
  constructor(threads: number = Math.min(MAX_THREADS, availableParallelism())) {
    this.#threads = threads;
  }

  /** Runs a task in a worker. @throws FerryError with the code that the task failed with */
  async run<Name extends WorkerTaskName>(
    name: Name,
    input: WorkerTasks[Name]['input'],
    signal?: AbortSignal,
  ): Promise<WorkerTasks[Name]['output']> {
    signal?.throwIfAborted();
    this.#piscina ??= new Piscina({
      filename: new URL('./worker.js', import.meta.url).href,
      minThreads: 1,
      maxThreads: this.#threads,
      idleTimeout: IDLE_TIMEOUT_MS,
    });
    let answer: WorkerAnswer;
    try {
      answer = await this.#piscina.run({ name, input }, signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
    if ('failure' in answer) throw new FerryError(answer.failure.code, answer.failure.message);
    return answer.output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#piscina?.destroy();
  }
}
