import type { Histogram, MetricObject, MetricValue } from 'prom-client';
import type { RouteClass } from './listen/answer-note.js';

interface Durations {
  /** How many were in each bucket alone, and beyond the last one. */
  readonly counts: number[];
  seconds: number;
}

/**
 * Durations by route, counted in a few nanoseconds: prom-client's own histogram takes longer for one than an answer out of
 * memory does. It is registered as that one is.
 */
export class DurationHistogram {
  readonly name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #routes = new Map<RouteClass, Durations>();

  /** @param bounds of the buckets, in seconds, ascending */
  constructor(name: string, { help, bounds }: { readonly help: string; readonly bounds: readonly number[] }) {
    this.name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  /** Counts a duration. */
  observe(route: RouteClass, seconds: number): void {
    let durations = this.#routes.get(route);
    if (durations === undefined) {
      durations = { counts: Array.from({ length: this.#bounds.length + 1 }, () => 0), seconds: 0 };
      this.#routes.set(route, durations);
    }
    const { counts } = durations;
    let bucket = 0;
    while (bucket < this.#bounds.length && seconds > (this.#bounds[bucket] ?? 0)) bucket += 1;
    counts[bucket] = (counts[bucket] ?? 0) + 1;
    durations.seconds += seconds;
  }

  /** As the registry asks for it. @see https://prometheus.io/docs/instrumenting/exposition_formats/#histograms-and-summaries */
  async get(): Promise<MetricObject & { readonly values: readonly MetricValue<string>[] }> {
    const values: (MetricValue<string> & { metricName: string })[] = [];
    for (const [route, { counts, seconds }] of this.#routes) {
      let sum = 0;
      for (const [bucket, count] of counts.entries()) {
        sum += count;
        const le = this.#bounds[bucket] ?? '+Inf';
        values.push({ metricName: `${this.name}_bucket`, labels: { le, route }, value: sum });
      }
      values.push({ metricName: `${this.name}_sum`, labels: { route }, value: seconds });
      values.push({ metricName: `${this.name}_count`, labels: { route }, value: sum });
    }
    return Promise.resolve({
      name: this.name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      values,
    } as never);
  }

  /** Forgets everything. */
  reset(): void {
    this.#routes.clear();
  }

  /** As a registry takes it. */
  get asMetric(): Histogram {
    return this as unknown as Histogram;
  }
}
