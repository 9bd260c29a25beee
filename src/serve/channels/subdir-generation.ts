import { isFerryError } from '../../errors.js';
import type { OpenBytes } from '../../io/bytes.js';
import { untilAborted } from '../../io/single-flight.js';
import type { Content } from '../content.js';
import { DocumentForms, type FormTools } from './document-forms.js';
import type { Encoding, Generation, ShardSet, Staleness } from './served-channel.js';
import type { TakenDocument, TakenFrom } from './take-repodata.js';

/** How long nobody tries again to make shards: it takes a processor for seconds. */
const SHARDS_RETRY_MS = 3000;

/** Shards with what they hold on to. */
export interface HeldShards extends ShardSet {
  /** Lets go of them when nobody reads them any more. */
  release(): Promise<void>;
}

/**
 * Makes the shards of repodata.
 * @param text the repodata as the source has it: records may say where else archives are
 * @throws FerryError `REPODATA_INVALID`, `DISK_FULL`
 */
export type MakeShards = (text: {
  readonly open: OpenBytes;
  /** In bytes. */
  readonly size: number;
  readonly subdir: string;
  readonly modified: Date;
}) => Promise<HeldShards>;

/** What a {@link SubdirGeneration} is made of. */
export interface GenerationParts {
  readonly subdir: string;
  /** Without `from` where the source has no such file. */
  readonly taken: Pick<TakenDocument, 'text'> & Partial<TakenDocument>;
  readonly modified: Date;
  readonly makeShards: MakeShards;
  readonly tools: FormTools;
}

/** One state of a subdir's repodata; its shards are begun at once. */
export class SubdirGeneration implements Generation {
  readonly subdir: string;
  readonly modified: Date;
  readonly staleness: Staleness | undefined = undefined;
  readonly plain: Content;
  /** How to ask the source whether it changed; another form of the same text may take its place. */
  from: TakenFrom | undefined;
  readonly #forms: DocumentForms;
  readonly #original: TakenDocument['original'];
  readonly #makeShards: () => Promise<HeldShards>;
  #sharding: Promise<HeldShards>;
  #shards: ShardSet | undefined;
  /** When making them may be tried again; `undefined` unless it failed of what passes. */
  #retryAtMs: number | undefined;

  constructor({ subdir, taken, modified, makeShards, tools }: GenerationParts) {
    this.subdir = subdir;
    this.modified = modified;
    this.from = taken.from;
    this.#forms = new DocumentForms(taken.text, taken.zst, tools);
    this.plain = this.#forms.plain;
    const { openBytes: open, size } = taken.original ?? taken.text;
    this.#original = taken.original;
    this.#makeShards = () => makeShards({ open, size, subdir, modified });
    this.#sharding = this.#shard();
  }

  get shards(): ShardSet | undefined {
    this.#tryAgain();
    return this.#shards;
  }

  async whenSharded(signal?: AbortSignal): Promise<ShardSet> {
    this.#tryAgain();
    return untilAborted(this.#sharding, signal);
  }

  #shard(): Promise<HeldShards> {
    const sharding = this.#makeShards();
    sharding.then(
      (shards) => {
        this.#shards = shards;
        void this.#original?.release();
      },
      // Whoever waits for them hears of it.
      (error: unknown) => {
        const isLasting = isFerryError(error, 'REPODATA_INVALID') || isFerryError(error, 'SIZE_EXCEEDED');
        this.#retryAtMs = isLasting ? undefined : performance.now() + SHARDS_RETRY_MS;
      },
    );
    return sharding;
  }

  /** No archive is given without shards, and a disk is not full for ever. */
  #tryAgain(): void {
    if (this.#retryAtMs === undefined || performance.now() < this.#retryAtMs) return;
    this.#retryAtMs = undefined;
    this.#sharding = this.#shard();
  }

  readyForm(encoding: Encoding): Content | undefined {
    return this.#forms.readyForm(encoding);
  }

  async form(encoding: Encoding, signal?: AbortSignal): Promise<Content> {
    return this.#forms.form(encoding, signal);
  }

  /** The same, known to be what was there some time ago. */
  asStale(staleness: Staleness): Generation {
    // Shards may come while somebody has it.
    const shards = (): ShardSet | undefined => this.#shards;
    return {
      ...{ subdir: this.subdir, modified: this.modified, plain: this.plain, staleness },
      readyForm: (encoding) => this.readyForm(encoding),
      form: async (encoding, signal) => this.form(encoding, signal),
      whenSharded: async (signal) => this.whenSharded(signal),
      get shards() {
        return shards();
      },
    };
  }

  /** Lets go of everything but the shards. */
  async releaseForms(): Promise<void> {
    await this.#sharding.catch(() => undefined);
    this.#retryAtMs = undefined;
    await this.#original?.release();
    await this.#forms.release();
  }

  async release(): Promise<void> {
    await this.releaseForms();
    const [shards] = await Promise.allSettled([this.#sharding]);
    if (shards.status === 'fulfilled') await shards.value.release();
  }
}
