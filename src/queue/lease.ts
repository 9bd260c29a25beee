/** One coordinator at a time: whoever holds the lease leads the run, and a killed one holds it half a minute more. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { FerryError } from '../errors.js';
import { withDeadline } from '../io/deadline.js';
import { visibleText } from '../io/visible-text.js';
import type { QueueRedis } from './queue-redis.js';
import { answerOf } from './redis-error.js';

const DEFAULT_LIFETIME_MS = 30_000;
/** Every seven seconds: a busy machine misses one or two, hardly four. */
const RENEWALS_PER_LIFETIME = 4.3;
/** What a lease has left grows by more than this share of its lifetime only if it is renewed. */
const RENEWAL_SHARE = 0.02;
const POLL_SHARE = 1 / 30;
/** A lease that nobody renews is gone by then; one without end, which is not ours, is not waited for. */
const PATIENCE = 2;
const RELEASE_MS = 2000;
/** How long it is known who held the lease last: longer than any machine sleeps over a run. */
const LAST_HOLDER_MS = 30 * 24 * 60 * 60 * 1000;

/**
 * Takes the lease if it is free. That it is ours already happens where the answer was lost with a connection, and the script
 * was sent once more.
 */
const TAKE_SCRIPT = `
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return {0, held, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, ARGV[1], 0}`;

/**
 * Prolongs the lease if it is ours. Where there is none, because Redis was away for long or lost its data, it is taken again,
 * but not if somebody else had it in between: their run may have changed everything that this one goes by.
 */
const RENEW_SCRIPT = `
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, held, 0}
end
local last = held or redis.call('GET', KEYS[2])
if last and last ~= ARGV[1] then return {0, last, 0} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, ARGV[1], 0}`;

const RELEASE_SCRIPT = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

/** 1 where the lease is ours; whose it is; how many milliseconds it lasts. */
const answerSchema = z.tuple([z.number(), z.string(), z.number()]);
const holderSchema = z.object({ host: z.string(), pid: z.number(), startedAt: z.string() });

/** Who leads the run: `{ host: 'ci-7', pid: 4711, startedAt: '2026-05-01T12:00:00.000Z' }`. */
export type LeaseHolder = Readonly<z.infer<typeof holderSchema>>;

const UNKNOWN_HOLDER: LeaseHolder = { host: 'unknown', pid: 0, startedAt: '' };

/** A held lease; disposing gives it back. */
export interface Lease extends AsyncDisposable {
  /** Aborts with `LOCK_LOST` when somebody else has, or had, the lease. */
  readonly signal: AbortSignal;
  /**
   * Makes sure, right now, that the lease is held: to be called before the step that it guards. Waits for Redis.
   * @throws FerryError `LOCK_LOST`, or as `queueError`; the reason of `signal`
   */
  assertHeld(signal?: AbortSignal): Promise<void>;
}

/** Options of {@link acquireLease}. */
export interface AcquireLeaseOptions {
  readonly holder: LeaseHolder;
  readonly signal?: AbortSignal | undefined;
  /** Told once of each holder that is waited for. */
  readonly onWait?: ((holder: LeaseHolder) => void) | undefined;
  /** How long it lasts where its holder is killed. All coordinators must use the same. @defaultValue 30,000 */
  readonly lifetimeMs?: number | undefined;
}

/**
 * Acquires the lease of a queue. Where somebody has it, it is waited for until it runs out, unless its holder is seen to renew it.
 * @throws FerryError `LOCK_TIMEOUT`, naming the holder; as `queueError`; the reason of `signal`
 */
export async function acquireLease(queue: QueueRedis, options: AcquireLeaseOptions): Promise<Lease> {
  const { holder, signal, onWait, lifetimeMs = DEFAULT_LIFETIME_MS } = options;
  const { host, pid, startedAt } = holder;
  signal?.throwIfAborted();
  const lease = new HeldLease(
    queue,
    JSON.stringify({ host, pid, startedAt, token: randomUUID() }),
    lifetimeMs,
  );
  const startMs = performance.now();
  let seen: { readonly value: string; readonly restMs: number } | undefined;
  try {
    for (;;) {
      const { isOurs, value, restMs } = await lease.take(signal);
      if (isOurs) {
        lease.keep();
        return lease;
      }
      if (seen?.value !== value) onWait?.(parseHolder(value));
      const isRenewed = seen?.value === value && restMs > seen.restMs + lifetimeMs * RENEWAL_SHARE;
      if (isRenewed || performance.now() - startMs > PATIENCE * lifetimeMs) {
        throw new FerryError(
          'LOCK_TIMEOUT',
          `the queue \`${queue.name}\` is led by ${describeHolder(value)}`,
          {
            hint: 'wait until that run is done, or end it by `conda-ferry queue cancel`',
          },
        );
      }
      seen = { value, restMs };
      await delay(lifetimeMs * POLL_SHARE, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  } catch (error) {
    // What was asked for last may still be granted.
    await lease[Symbol.asyncDispose]();
    throw error;
  }
}

/** Reads who leads the run; `undefined` where nobody does. What cannot be read is of the host `unknown`. */
export async function readLease(queue: QueueRedis, signal?: AbortSignal): Promise<LeaseHolder | undefined> {
  const value = await answerOf(queue, queue.redis.get(queue.key('lease')), signal);
  return value === null ? undefined : parseHolder(value);
}

class HeldLease implements Lease {
  readonly #queue: QueueRedis;
  /** What stands in Redis: the holder, and a token that tells this hold from every other one. */
  readonly #value: string;
  readonly #lifetimeMs: number;
  readonly #lost = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #renewal: Promise<void> | undefined;
  #isOver = false;

  constructor(queue: QueueRedis, value: string, lifetimeMs: number) {
    this.#queue = queue;
    this.#value = value;
    this.#lifetimeMs = lifetimeMs;
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  async assertHeld(signal?: AbortSignal): Promise<void> {
    this.#lost.signal.throwIfAborted();
    if (this.#isOver)
      throw new FerryError('LOCK_LOST', `the lease of queue \`${this.#queue.name}\` was given back`);
    await answerOf(this.#queue, this.#renew(), signal);
    this.#lost.signal.throwIfAborted();
  }

  async take(signal: AbortSignal | undefined): Promise<{ isOurs: boolean; value: string; restMs: number }> {
    const answer = await answerOf(this.#queue, this.#run(TAKE_SCRIPT), signal);
    const [isOurs, value, restMs] = answerSchema.parse(answer);
    return { isOurs: isOurs === 1, value, restMs };
  }

  keep(): void {
    this.#timer = setInterval(() => {
      // What Redis has against it, `assertHeld` tells; the next attempt may do better.
      this.#renewal ??= this.#renew()
        .catch(() => undefined)
        .finally(() => (this.#renewal = undefined));
    }, this.#lifetimeMs / RENEWALS_PER_LIFETIME).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    if (this.#queue.redis.status === 'end') return;
    // On the same connection as the renewals, and behind them, be it that Redis is away: so none of them can take it again.
    const released = this.#queue.redis.eval(RELEASE_SCRIPT, 1, this.#queue.key('lease'), this.#value);
    await withDeadline(RELEASE_MS, new AbortController().signal, async () => released).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const [isOurs, value] = answerSchema.parse(await this.#run(RENEW_SCRIPT));
    if (isOurs === 1 || this.#isOver) return;
    clearInterval(this.#timer);
    const by = describeHolder(value);
    this.#lost.abort(
      new FerryError('LOCK_LOST', `the queue \`${this.#queue.name}\` was taken over by ${by}`, {
        hint: 'a coordinator that Redis does not hear of for half a minute loses the queue; the other one goes on',
      }),
    );
  }

  async #run(script: string): Promise<unknown> {
    const [lease, last] = [this.#queue.key('lease'), this.#queue.key('lease', 'last')];
    return this.#queue.redis.eval(script, 2, lease, last, this.#value, this.#lifetimeMs, LAST_HOLDER_MS);
  }
}

function parseHolder(value: string): LeaseHolder {
  try {
    return holderSchema.safeParse(JSON.parse(value)).data ?? UNKNOWN_HOLDER;
  } catch {
    return UNKNOWN_HOLDER;
  }
}

function describeHolder(value: string): string {
  const holder = parseHolder(value);
  if (holder === UNKNOWN_HOLDER) return 'an unknown process';
  const since = visibleText(holder.startedAt, 40);
  return `process ${String(holder.pid)} on \`${visibleText(holder.host, 100)}\` since ${since}`;
}
