import type { ChannelStore } from '../artifact/channel-store.js';
import type { ChannelSource } from '../conda/channel-source.js';
import type { RunDescription, RunEnds } from './run-record.js';

/** Requests by side. */
export interface SideRequests {
  readonly source: number;
  readonly destination: number;
}

/** The two ends of a run, as a worker reaches them. */
export interface WorkerEnds extends AsyncDisposable {
  readonly source: ChannelSource;
  readonly store: ChannelStore;
  /** Requests sent so far, by side. */
  requests(): SideRequests;
}

/** Options of {@link RunParts}. */
export interface RunPartsOptions {
  readonly openEnds: (ends: RunEnds) => Promise<WorkerEnds>;
  /** Told of each run that is opened. */
  readonly onRun?: ((run: RunDescription) => void) | undefined;
  readonly signal: AbortSignal;
}

/** The run that a worker takes part in: its ends are opened once, and closed when there is another one. */
export class RunParts implements AsyncDisposable {
  readonly #options: RunPartsOptions;
  #current: { readonly id: string; readonly ends: Promise<WorkerEnds> } | undefined;
  #open: WorkerEnds | undefined;
  #before: SideRequests = { source: 0, destination: 0 };

  constructor(options: RunPartsOptions) {
    this.#options = options;
  }

  /** Id of the run; `undefined` where there is none. */
  get runId(): string | undefined {
    return this.#current?.id;
  }

  /** Requests of all runs. */
  get requests(): SideRequests {
    const now = this.#open?.requests() ?? { source: 0, destination: 0 };
    const { source, destination } = this.#before;
    return { source: source + now.source, destination: destination + now.destination };
  }

  /**
   * Opens the ends of a run, and sees that the destination takes uploads: one clear error instead of one for each archive.
   * @throws what `openEnds` throws; FerryError `UNAUTHORIZED`, `DENIED` and what else keeps uploads out
   */
  async open(run: RunDescription): Promise<WorkerEnds> {
    if (this.#current?.id !== run.id) {
      const earlier = this.#current?.ends;
      this.#current = { id: run.id, ends: this.#openAfter(earlier, run) };
    }
    const current = this.#current;
    try {
      return await current.ends;
    } catch (error) {
      // What kept it from being opened may be over the next time.
      if (this.#current === current) this.#current = undefined;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    await current?.ends.catch(() => undefined);
    await this.#close();
  }

  async #openAfter(earlier: Promise<WorkerEnds> | undefined, run: RunDescription): Promise<WorkerEnds> {
    await earlier?.catch(() => undefined);
    await this.#close();
    const ends = await this.#options.openEnds(run.ends);
    this.#open = ends;
    await ends.store.metadataRepository('noarch', 'ledger').checkPush?.({ signal: this.#options.signal });
    this.#options.onRun?.(run);
    return ends;
  }

  async #close(): Promise<void> {
    this.#before = this.requests;
    const ends = this.#open;
    this.#open = undefined;
    await ends?.[Symbol.asyncDispose]();
  }
}
