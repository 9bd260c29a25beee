import { setImmediate as turn } from 'node:timers/promises';
import { TransportError } from '#ferry/errors.js';
import type { Bytes } from '#ferry/io/bytes.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import type { Registry, Repository, TagOptions } from '#ferry/oci/storage.js';
import { tagMoved } from '#ferry/oci/tag-moved.js';

/** What happens to a writer's calls; numbers from 0 up to 1. */
export interface Weather {
  /** Answers that are lost, before or after the call was done; the writer asks again, as the registry client does. */
  readonly lost: number;
  /** Calls that fail for good. */
  readonly broken: number;
  /** Chance of a writer to die at each of its calls. */
  readonly killed: number;
}

/** One of those that share a store. */
export interface Writer<T> {
  readonly name: string;
  readonly work: () => Promise<T>;
}

/** How a writer ended. */
export type Ending<T> = { readonly value: T; readonly step: number } | { readonly error: unknown } | 'killed';

/**
 * Lets writers go on one call at a time, in an order that a seed decides: all that awaits nothing but calls and pauses is
 * the same for the same seed.
 */
export class Scheduler {
  readonly #random: () => number;
  readonly #pending: { readonly writer: string; readonly go: () => void }[] = [];
  readonly #dead = new Set<string>();
  /** Calls that were let go. */
  step = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  get random(): () => number {
    return this.#random;
  }

  /** Waits until it is that writer's turn. */
  async gate(writer: string): Promise<void> {
    await new Promise<void>((resolve) => {
      if (!this.#dead.has(writer)) this.#pending.push({ writer, go: resolve });
    });
  }

  /** From now on nothing of that writer's goes on. */
  kill(writer: string): void {
    this.#dead.add(writer);
    for (let i = this.#pending.length - 1; i >= 0; i -= 1)
      if (this.#pending[i]?.writer === writer) this.#pending.splice(i, 1);
  }

  /** Runs writers until all are done or dead; `look` sees the store between any two calls. */
  async run<T>(
    writers: readonly Writer<T>[],
    look: (step: number) => Promise<void> = async () => Promise.resolve(),
  ): Promise<ReadonlyMap<string, Ending<T>>> {
    const endings = new Map<string, Ending<T>>();
    for (const { name, work } of writers) {
      void (async () => {
        await this.gate(name);
        try {
          const value = await work();
          endings.set(name, { value, step: this.step });
        } catch (error) {
          endings.set(name, { error });
        }
      })();
    }
    for (;;) {
      await turn();
      for (const { name } of writers)
        if (this.#dead.has(name) && !endings.has(name)) endings.set(name, 'killed');
      if (endings.size === writers.length) return endings;
      const [next] = this.#pending.splice(Math.floor(this.#random() * this.#pending.length), 1);
      // What is waited for is a file, or a promise of several steps.
      if (next === undefined) continue;
      this.step += 1;
      next.go();
      await turn();
      await look(this.step);
    }
  }
}

/** A store as one writer sees it: every call waits for its turn before it is done, and once more for its answer. */
export function scheduledRegistry(
  registry: Registry,
  scheduler: Scheduler,
  writer: string,
  { lost, broken, killed }: Weather,
): Registry {
  const { random } = scheduler;
  const call = async <T>(verb: string, go: () => Promise<T>): Promise<T> => {
    if (random() < killed) scheduler.kill(writer);
    await scheduler.gate(writer);
    const fate = random();
    if (fate < broken / 2) throw lostAnswer(verb);
    const answer = await go();
    if (fate < broken) throw lostAnswer(verb);
    if (random() < killed) scheduler.kill(writer);
    await scheduler.gate(writer);
    return answer;
  };
  const again = async <T>(verb: string, go: () => Promise<T>): Promise<T> => {
    for (;;) {
      if (random() >= lost) return call(verb, go);
      if (random() < 0.5) await call(verb, go);
      else await scheduler.gate(writer);
    }
  };
  const wrap = (inner: Repository): Repository => {
    /** As the registry client moves a tag: after a lost answer it looks before it writes again. */
    const move = async (
      descriptor: Descriptor,
      tag: string,
      { replaces }: TagOptions,
      go: () => Promise<void>,
    ): Promise<void> => {
      while (random() < lost) {
        if (random() < 0.5) await call('move', go);
        const found = await again('resolve', async () => inner.resolve(tag));
        if (found?.digest === descriptor.digest) return;
        if ((found?.digest ?? 'nothing') !== replaces) throw tagMoved(inner.name, tag);
      }
      await call('move', go);
    };
    return {
      name: inner.name,
      exists: (...args) => again('exists', async () => inner.exists(...args)),
      async *fetch(...args): Bytes {
        const chunks = await again('fetch', async () => listOf(inner.fetch(...args)));
        yield* chunks;
      },
      resolve: (...args) => again('resolve', async () => inner.resolve(...args)),
      fetchManifest: (...args) => again('fetchManifest', async () => inner.fetchManifest(...args)),
      async *tags(...args) {
        yield* await again('tags', async () => listOf(inner.tags(...args)));
      },
      push: async (descriptor, open, options = {}) => {
        const go = async (): Promise<void> => inner.push(descriptor, open, options);
        const [tag] = options.tags ?? [];
        if (tag !== undefined && options.replaces !== undefined) await move(descriptor, tag, options, go);
        else await again('push', go);
      },
      tag: async (descriptor, tag, options = {}) => {
        const go = async (): Promise<void> => inner.tag(descriptor, tag, options);
        if (options.replaces !== undefined) await move(descriptor, tag, options, go);
        else await again('tag', go);
      },
      untag: async (tag, options) => again('untag', async () => inner.untag?.(tag, options)),
    };
  };
  return {
    location: registry.location,
    maxNameLength: registry.maxNameLength,
    repository: (name) => wrap(registry.repository(name)),
    repositories: (options) => registry.repositories(options),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

function lostAnswer(verb: string): TransportError {
  const url = new URL('http://store.invalid/');
  return new TransportError('NETWORK', `${verb} was lost`, { method: 'PUT', url: url.href, attempts: 1 });
}
