/** Workers say that they are there, as long as they are. */
import { z } from 'zod';
import { withDeadline } from '../io/deadline.js';
import { compareText } from '../io/compare-text.js';
import type { QueueRedis } from './queue-redis.js';
import { answerOf, queueError } from './redis-error.js';

const DEFAULT_EVERY_MS = 3000;
/** A worker that misses four words is taken to be gone. */
const WORDS_PER_LIFETIME = 5;
/** The list of workers goes when none of them was there for a day. */
const LIST_LIFETIME_MS = 24 * 60 * 60 * 1000;
const LEAVE_MS = 2000;

const MAX_TEXT_LENGTH = 256;
const text = z.string().max(MAX_TEXT_LENGTH);
const count = z.number().nonnegative();

const factsSchema = z.object({
  id: text.min(1),
  host: text,
  pid: count,
  version: text,
  concurrency: count,
  startedAt: text,
  archives: count,
  failed: count,
  bytes: count,
  requests: z.object({ source: count, destination: count }),
  busy: count,
});

/**
 * What a worker tells of itself. `id` is its own for as long as it runs, `startedAt` ISO 8601 in UTC; `archives` carried and
 * `failed`, `bytes` and `requests` count from its start; `busy` is how many tags are under way.
 */
export type WorkerFacts = Readonly<z.infer<typeof factsSchema>>;

/** A worker that is announced; disposing says that it left. */
export interface Presence extends AsyncDisposable {
  /** When Redis last answered, by `performance.now()`, in milliseconds. */
  readonly lastContactMs: number;
  /** Changes what is told with the next word, within three seconds. */
  update(facts: Partial<Omit<WorkerFacts, 'id'>>): void;
}

/** Options of {@link announceWorker}. */
export interface AnnounceWorkerOptions {
  readonly signal?: AbortSignal | undefined;
  /** How often the worker says that it is there; without a word it is gone after five times that. @defaultValue 3000 */
  readonly everyMs?: number | undefined;
}

/**
 * Announces a worker, and goes on to do so until it is disposed. Where Redis is away, or full, it is announced again when that
 * is over.
 * @throws FerryError as `queueError`, for the first word; the reason of `signal`
 */
export async function announceWorker(
  queue: QueueRedis,
  facts: WorkerFacts,
  options: AnnounceWorkerOptions = {},
): Promise<Presence> {
  const { signal, everyMs = DEFAULT_EVERY_MS } = options;
  signal?.throwIfAborted();
  const presence = new AnnouncedWorker(queue, facts, everyMs);
  try {
    await answerOf(queue, presence.say(), signal);
  } catch (error) {
    // The word may still arrive.
    await presence[Symbol.asyncDispose]();
    throw error;
  }
  presence.keep();
  return presence;
}

/** Lists the workers that are there, by host, then by when they started. Entries that cannot be read are passed over. */
export async function listWorkers(queue: QueueRedis, signal?: AbortSignal): Promise<WorkerFacts[]> {
  const ids = await answerOf(queue, queue.redis.smembers(queue.key('workers')), signal);
  if (ids.length === 0) return [];
  const keys = ids.map((id) => queue.key('worker', id));
  const entries = await answerOf(queue, queue.redis.mget(keys), signal);
  const gone = ids.filter((_, at) => entries[at] === null);
  // One that was only late lists itself again with its next word.
  if (gone.length > 0) await answerOf(queue, queue.redis.srem(queue.key('workers'), ...gone), signal);
  return entries.flatMap((entry) => parseFacts(entry) ?? []).sort(compareWorkers);
}

class AnnouncedWorker implements Presence {
  readonly #queue: QueueRedis;
  readonly #everyMs: number;
  #facts: WorkerFacts;
  #timer: NodeJS.Timeout | undefined;
  #word: Promise<void> | undefined;
  #lastContactMs = performance.now();
  #isOver = false;

  constructor(queue: QueueRedis, facts: WorkerFacts, everyMs: number) {
    this.#queue = queue;
    this.#facts = facts;
    this.#everyMs = everyMs;
  }

  get lastContactMs(): number {
    return this.#lastContactMs;
  }

  update(facts: Partial<Omit<WorkerFacts, 'id'>>): void {
    this.#facts = { ...this.#facts, ...facts, id: this.#facts.id };
  }

  keep(): void {
    this.#timer = setInterval(() => {
      // One at a time: while Redis is away, words would pile up.
      this.#word ??= this.say()
        .catch(() => undefined)
        .finally(() => (this.#word = undefined));
    }, this.#everyMs).unref();
  }

  /** Says once that the worker is there. */
  async say(): Promise<void> {
    const { id } = this.#facts;
    try {
      const results = await this.#queue.redis
        .multi()
        .set(this.#key, JSON.stringify(this.#facts), 'PX', this.#everyMs * WORDS_PER_LIFETIME)
        .sadd(this.#list, id)
        .pexpire(this.#list, LIST_LIFETIME_MS)
        .exec();
      for (const [error] of results ?? []) if (error !== null) throw error;
      this.#lastContactMs = performance.now();
    } catch (error) {
      // Whatever Redis says, it is there.
      const known = queueError(error, this.#queue);
      if (known?.code !== 'QUEUE_UNREACHABLE') this.#lastContactMs = performance.now();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    if (this.#queue.redis.status === 'end') return;
    // Behind the words that are still on their way, on the same connection.
    const left = this.#queue.redis.multi().del(this.#key).srem(this.#list, this.#facts.id).exec();
    await withDeadline(LEAVE_MS, new AbortController().signal, async () => left).catch(() => undefined);
  }

  get #key(): string {
    return this.#queue.key('worker', this.#facts.id);
  }

  get #list(): string {
    return this.#queue.key('workers');
  }
}

function parseFacts(entry: string | null | undefined): WorkerFacts | undefined {
  if (typeof entry !== 'string') return undefined;
  try {
    return factsSchema.safeParse(JSON.parse(entry)).data;
  } catch {
    return undefined;
  }
}

function compareWorkers(a: WorkerFacts, b: WorkerFacts): number {
  return compareText(a.host, b.host) || compareText(a.startedAt, b.startedAt) || compareText(a.id, b.id);
}
