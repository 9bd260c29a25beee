import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { DurationHistogram } from './duration-histogram.js';
import { noteAnswer, type RouteClass } from './listen/answer-note.js';
import type { Answered } from './listen/listen-reporter.js';

/** How a cache stands; what was counted is counted since the start. */
export interface CacheFigures {
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  /** What it holds now. */
  readonly entries: number;
  readonly bytes: number;
}

/** How old the repodata of a subdir is that is being served. */
export interface GenerationFigures {
  /** Of channels that are configured, and their own subdirs: whatever a client asks for is none. */
  readonly channel: string;
  readonly subdir: string;
  readonly modified: Date;
  /** Since when the channel could not be asked for anything newer. */
  readonly staleSince?: Date | undefined;
}

/** Where metrics get what nobody tells them; asked when somebody looks. */
export interface MetricSources {
  readonly connections?: (() => number) | undefined;
  readonly cache?: (() => CacheFigures) | undefined;
  readonly generations?: (() => Iterable<GenerationFigures>) | undefined;
  readonly droppedLogLines?: (() => number) | undefined;
}

/** What the gateway counts, for Prometheus. */
export interface Metrics {
  /** A request came to its end. */
  answered(event: Answered): void;
  /** A handler failed. */
  failed(): void;
  /** A connection was one too many. */
  dropped(): void;
  /** A request was made to where the channels are. */
  upstream(): void;
  /** What was asked for there was not to be had; `code` such as `NETWORK`. */
  upstreamFailed(code: string): void;
  /** Names where further figures come from; those named before stay. */
  observe(sources: MetricSources): void;
  /** Everything, in Prometheus' text format. */
  text(): Promise<string>;
  /** The same as an answer to `/metrics`. */
  response(): Promise<Response>;
}

// From an answer out of memory to a large archive on a slow line.
const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60];

// All others are one: a client may send any word.
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

// What the clients of one class of route have done since somebody last looked.
interface Tally {
  readonly route: RouteClass;
  readonly method: string;
  readonly code: number;
  readonly status: string;
  count: number;
  bytes: number;
}

/**
 * Counts in a registry of its own. Shape: `conda_ferry_requests_total{route="archive",method="GET",status="200"} 7`; with
 * the process's own figures under the names of prom-client. Labels have few values, whatever clients send.
 * @see https://prometheus.io/docs/practices/naming/
 */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  let sources: MetricSources = {};
  const tallies = new Map<string, Tally>();
  /** Most are as the one before. */
  let latest: Tally | undefined;

  const requests = new Counter({
    name: 'conda_ferry_requests_total',
    help: 'Requests that were answered, refused or broken off (status 0)',
    labelNames: ['route', 'method', 'status'] as const,
    registers,
    // prom-client looks labels up by name at each call, which costs more than an answer out of memory.
    collect: () => {
      settle();
    },
  });
  const sent = new Counter({
    name: 'conda_ferry_sent_bytes_total',
    help: 'Bytes of bodies that were given to connections',
    labelNames: ['route'] as const,
    registers,
    collect: () => {
      settle();
    },
  });
  const settle = (): void => {
    for (const [key, { route, method, status, count, bytes }] of tallies) {
      requests.inc({ route, method, status }, count);
      sent.inc({ route }, bytes);
      tallies.delete(key);
    }
    latest = undefined;
  };
  const durations = new DurationHistogram('conda_ferry_request_seconds', {
    help: 'From the headers of a request to the end of its answer',
    bounds: SECONDS,
  });
  registry.registerMetric(durations.asMetric);
  const failures = new Counter({
    name: 'conda_ferry_failures_total',
    help: 'Requests that ended in a fault of ours',
    registers,
  });
  const drops = new Counter({
    name: 'conda_ferry_dropped_connections_total',
    help: 'Connections that were one too many',
    registers,
  });
  const upstreamRequests = new Counter({
    name: 'conda_ferry_upstream_requests_total',
    help: 'Requests to where the channels are',
    registers,
  });
  const upstreamErrors = new Counter({
    name: 'conda_ferry_upstream_errors_total',
    help: 'Times that something was not to be had there, by error code',
    labelNames: ['code'] as const,
    registers,
  });
  createSourceMetrics(registry, () => sources);
  collectDefaultMetrics({ register: registry });

  return {
    answered: ({ route, method, status, bytes, ms }) => {
      let tally = latest;
      if (tally?.route !== route || tally.method !== method || tally.code !== status)
        tally = tallies.get(`${route} ${method} ${String(status)}`);
      if (tally === undefined) {
        // Bounded as the labels are, for what comes between two looks.
        const known = METHODS.has(method) ? method : 'other';
        const name = `${route} ${known} ${String(status)}`;
        tally = tallies.get(name) ?? {
          ...{ route, method: known, code: status, status: String(status), count: 0, bytes: 0 },
        };
        tallies.set(name, tally);
      }
      latest = tally;
      tally.count += 1;
      tally.bytes += bytes;
      durations.observe(route, ms / 1000);
    },
    failed: () => {
      failures.inc();
    },
    dropped: () => {
      drops.inc();
    },
    upstream: () => {
      upstreamRequests.inc();
    },
    upstreamFailed: (code) => {
      upstreamErrors.inc({ code });
    },
    observe: (further) => {
      sources = { ...sources, ...further };
    },
    text: () => registry.metrics(),
    response: async () =>
      noteAnswer(
        new Response(await registry.metrics(), {
          headers: { 'content-type': registry.contentType, 'cache-control': 'no-store' },
        }),
        { route: 'metrics' },
      ),
  };
}

/** Metrics that are asked for instead of told. */
function createSourceMetrics(registry: Registry, sources: () => MetricSources): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: (from: MetricSources) => number | undefined): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(sources()) ?? 0);
      },
    });
  };
  const counter = (name: string, help: string, read: (from: MetricSources) => number | undefined): void => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read(sources()) ?? 0);
      },
    });
  };
  gauge('conda_ferry_connections', 'Open connections', (from) => from.connections?.());
  gauge('conda_ferry_cache_entries', 'Blobs in the cache', (from) => from.cache?.().entries);
  gauge('conda_ferry_cache_bytes', 'Bytes in the cache', (from) => from.cache?.().bytes);
  counter('conda_ferry_cache_hits_total', 'Content that was in the cache', (from) => from.cache?.().hits);
  counter('conda_ferry_cache_misses_total', 'Content that was not', (from) => from.cache?.().misses);
  counter('conda_ferry_cache_evictions_total', 'Blobs that had to go', (from) => from.cache?.().evictions);
  counter('conda_ferry_log_lines_dropped_total', 'Lines the access log had no room for', (from) =>
    from.droppedLogLines?.(),
  );
  new Gauge({
    name: 'conda_ferry_generation_age_seconds',
    help: 'Since when the repodata that is served has been as it is',
    labelNames: ['channel', 'subdir'] as const,
    registers,
    collect() {
      // A subdir that is gone is no longer told of.
      this.reset();
      for (const { channel, subdir, modified } of sources().generations?.() ?? []) {
        this.set({ channel, subdir }, ageOf(modified));
      }
    },
  });
  new Gauge({
    name: 'conda_ferry_generation_stale_seconds',
    help: 'For how long nothing newer could be asked for; 0 where it can',
    labelNames: ['channel', 'subdir'] as const,
    registers,
    collect() {
      this.reset();
      for (const { channel, subdir, staleSince } of sources().generations?.() ?? []) {
        this.set({ channel, subdir }, staleSince === undefined ? 0 : ageOf(staleSince));
      }
    },
  });
}

function ageOf(date: Date): number {
  return Math.max(0, (Date.now() - date.getTime()) / 1000);
}
