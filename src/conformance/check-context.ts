import { isFerryError, messageOf } from '../errors.js';
import type { TempFolder } from '../io/temp-folder.js';
import type { CheckLog } from './check-log.js';
import type { Expander } from './expander.js';
import type { CheckedCounts, Unchecked } from './report.js';

/** So many places that cannot be looked at mean that nothing can. */
const MAX_UNCHECKED = 100;

/** Hears what a check does while it does it. All methods may be missing. */
export interface CheckReporter {
  /** So many artifacts or archives are to be looked at in all, as far as is known by now. */
  planned?(total: number): void;
  /** One of them is done with. */
  checked?(): void;
}

/** How to check. */
export interface CheckOptions {
  readonly expander: Expander;
  readonly temp: TempFolder;
  /** Artifacts or archives under way at once. */
  readonly concurrency: number;
  /** Whether the index layers of packages are read too; one artifact alone is always read so. */
  readonly index: boolean;
  /** Whether the bytes of all layers, shards and sidecars are read too. */
  readonly deep: boolean;
  /** Look at so many artifacts or archives only. */
  readonly sample?: { readonly size: number; readonly seed: string } | undefined;
  /** Only these. @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  readonly now: () => Date;
  readonly reporter?: CheckReporter | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What all parts of one check share. */
export class CheckContext {
  readonly options: CheckOptions;
  readonly log: CheckLog;
  readonly counts: { -readonly [Key in keyof CheckedCounts]: CheckedCounts[Key] } = {
    subdirs: 0,
    repositories: 0,
    artifacts: 0,
    archives: 0,
    records: 0,
  };
  /** How many artifacts or archives there were to choose from. */
  population = 0;
  readonly #unchecked: Unchecked[] = [];
  #failures = 0;

  constructor(log: CheckLog, options: CheckOptions) {
    this.log = log;
    this.options = options;
  }

  /** Places that could not be looked at. */
  get unchecked(): readonly Unchecked[] {
    return this.#unchecked;
  }

  /**
   * Looks at one place. What the store or the network does to it is taken down, and stops nothing else.
   * @throws FerryError as soon as too many places cannot be looked at; the signal's reason
   */
  async look(where: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.options.signal?.throwIfAborted();
      if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
      this.#unchecked.push({ where, code: error.code, message: messageOf(error) });
      // What nobody could look at from here says nothing of the rest.
      if (error.code === 'UNSUPPORTED') return;
      this.#failures += 1;
      if (this.#failures >= MAX_UNCHECKED) throw error;
    }
  }
}
