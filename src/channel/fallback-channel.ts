import type {
  ArchiveLocation,
  ChannelSource,
  MetadataAnswer,
  OpenMetadataOptions,
} from '../conda/channel-source.js';
import { FerryError, isFerryError, type FerryErrorCode } from '../errors.js';
import type { Bytes, OpenOptions } from '../io/bytes.js';

/** What says something of a server, and not of what was asked for. */
const SERVER_FAULTS: ReadonlySet<FerryErrorCode> = new Set([
  'NETWORK',
  'TIMEOUT',
  'RATE_LIMITED',
  'REGISTRY_REFUSED',
  'DENIED',
  'UNAUTHORIZED',
]);

/** Options of {@link FallbackChannel}. */
export interface FallbackOptions {
  /** Hears which server is left for which. */
  readonly onSwitch?: ((from: string, to: string, why: FerryError) => void) | undefined;
}

/**
 * One channel at several places, tried in order. Metadata comes from the first server that answers, and from then on
 * from that one; archives come from any that has them, since each is checked against its record.
 */
export class FallbackChannel implements ChannelSource {
  /** That of the first place: it is what the channel is called, wherever it was read. */
  readonly url: string;
  readonly origin: string | undefined;
  readonly #places: readonly ChannelSource[];
  readonly #onSwitch: FallbackOptions['onSwitch'];
  #current = 0;

  /** @param places the same channel at several servers, best first; at least one */
  constructor(places: readonly [ChannelSource, ...ChannelSource[]], options: FallbackOptions = {}) {
    this.url = places[0].url;
    this.origin = places[0].origin;
    this.#places = places;
    this.#onSwitch = options.onSwitch;
  }

  async subdirs(options?: {
    readonly signal?: AbortSignal | undefined;
  }): Promise<readonly string[] | undefined> {
    return this.#ask((place) => place.subdirs(options));
  }

  async openMetadata(path: string, options?: OpenMetadataOptions): Promise<MetadataAnswer> {
    return this.#ask((place) => place.openMetadata(path, options));
  }

  async *openArchive(archive: ArchiveLocation, options?: OpenOptions): Bytes {
    const first = this.#places[this.#current];
    const others = this.#places.filter((place) => place !== first);
    let failure: unknown;
    for (const place of first === undefined ? others : [first, ...others]) {
      let hasBegun = false;
      try {
        for await (const chunk of place.openArchive(archive, options)) {
          hasBegun = true;
          yield chunk;
        }
        return;
      } catch (error) {
        // What has begun cannot be taken back; the next try of the archive starts anew.
        if (hasBegun || !(isServerFault(error) || isFerryError(error, 'ARCHIVE_ABSENT'))) throw error;
        failure ??= error;
      }
    }
    throw failure;
  }

  async #ask<T>(question: (place: ChannelSource) => Promise<T>): Promise<T> {
    for (;;) {
      const place = this.#places[this.#current];
      if (place === undefined) throw new FerryError('INTERNAL', 'a channel without places');
      try {
        return await question(place);
      } catch (error) {
        if (!isServerFault(error)) throw error;
        // Several questions may have failed at once; the first of them moves on.
        if (this.#places[this.#current] !== place) continue;
        const next = this.#places[this.#current + 1];
        if (next === undefined) throw error;
        this.#current += 1;
        this.#onSwitch?.(place.url, next.url, error);
      }
    }
  }
}

function isServerFault(error: unknown): error is FerryError {
  return isFerryError(error) && SERVER_FAULTS.has(error.code);
}
