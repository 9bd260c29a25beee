import type { RequestHead } from './exchange.js';
import { FAULT_RULES, type FaultKind } from './fault-rules.js';

/** Which requests a fault is for. */
export type RequestPredicate = (head: RequestHead) => boolean;

/** Decides what goes wrong with a request. */
export type FaultSchedule = (head: RequestHead) => FaultKind | undefined;

/** Options of {@link seededSchedule}. */
export interface SeededScheduleOptions {
  readonly seed: number;
  /** Share of requests that go wrong, from 0 to 1. */
  readonly rate: number;
  /** @defaultValue all that a client can get over by trying again */
  readonly kinds?: readonly FaultKind[];
  /** The same request goes wrong so many times in a row at most. @defaultValue 2 */
  readonly maxInRow?: number;
  /** @defaultValue all */
  readonly only?: RequestPredicate;
}

/** Faults that a client can get over by trying again. */
const PASSING_FAULTS: readonly FaultKind[] = [
  '429',
  '429-seconds',
  '429-date',
  '429-body',
  '502',
  '503',
  'reset-before',
  'reset-after',
  'reset-in-body',
  'truncated',
  'short-length',
  'slow',
  '401-expired',
  'stale-location',
  'wrong-offset',
  'ignored-range',
];

/**
 * A storm that is the same for the same seed, whatever order requests come in: what happens to a request depends on
 * the seed, its method and path, and how often it came before.
 */
export function seededSchedule(options: SeededScheduleOptions): FaultSchedule {
  const { seed, rate, kinds = PASSING_FAULTS, maxInRow = 2, only = () => true } = options;
  const seen = new Map<string, { times: number; inRow: number }>();
  return (head) => {
    if (!only(head)) return undefined;
    const line = lineOf(head);
    const { times, inRow } = seen.get(line) ?? { times: 0, inRow: 0 };
    const random = mulberry32(hashOf(`${seed} ${times} ${line}`));
    const possible = kinds.filter((kind) => FAULT_RULES[kind].fits(head));
    const fails = inRow < maxInRow && possible.length > 0 && random() < rate;
    seen.set(line, { times: times + 1, inRow: fails ? inRow + 1 : 0 });
    return fails ? possible[Math.floor(random() * possible.length)] : undefined;
  };
}

/** What stays the same from run to run: sessions of uploads and signatures do not. */
function lineOf({ method, path, query, route }: RequestHead): string {
  const digest = query.get('digest') ?? query.get('mount') ?? '';
  const place = route.kind === 'upload' ? `${route.repository} upload` : path;
  return `${method} ${place} ${digest} ${query.get('last') ?? ''}`;
}

/** A small generator of numbers from 0 up to 1. @see https://gist.github.com/tommyettinger/46a874533244883189143505d203312c */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** FNV-1a of 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** A fault chosen for a request. */
export interface ChosenFault {
  readonly kind: FaultKind;
  /** Tells that it could not be done to that answer: it stays for the next request. */
  giveBack(): void;
}

interface Planned {
  readonly predicate: RequestPredicate;
  readonly kind: FaultKind;
  left: number;
}

/** Plans faults and counts the ones that happened. */
export class FaultInjector {
  /** How often each kind happened. */
  readonly counts: Partial<Record<FaultKind, number>> = {};
  /** @defaultValue none */
  schedule: FaultSchedule | undefined;
  #planned: Planned[] = [];

  /** Does it to the next `times` requests that fit. */
  next(predicate: RequestPredicate, kind: FaultKind, times = 1): void {
    this.#planned.push({ predicate, kind, left: times });
  }

  /** Planned faults that did not happen yet. */
  get pending(): number {
    return this.#planned.reduce((sum, { left }) => sum + left, 0);
  }

  /** Forgets what was planned and counted; the schedule stays. */
  reset(): void {
    this.#planned = [];
    for (const kind of Object.keys(this.counts) as FaultKind[]) Reflect.deleteProperty(this.counts, kind);
  }

  /** What goes wrong with the request, if anything. */
  choose(head: RequestHead): ChosenFault | undefined {
    const planned = this.#planned.find(
      ({ predicate, kind, left }) => left > 0 && FAULT_RULES[kind].fits(head) && predicate(head),
    );
    if (planned !== undefined) planned.left -= 1;
    const kind = planned?.kind ?? this.schedule?.(head);
    if (kind === undefined) return undefined;
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    return {
      kind,
      giveBack: () => {
        this.counts[kind] = (this.counts[kind] ?? 1) - 1;
        if (this.counts[kind] === 0) Reflect.deleteProperty(this.counts, kind);
        if (planned !== undefined) planned.left += 1;
      },
    };
  }
}
