import { IntegrityError } from '../../errors.js';
import { createDigestHash, digestAlgorithm, type Digest } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';
import type { CallOptions } from '../../oci/storage.js';
import { Flights } from './flights.js';

/** Read at once: little enough that nothing else waits long while it is hashed. */
const HASH_CHUNK_BYTES = 256 * 1024;
/** Verdicts that are remembered: some 10 MB. */
const MAX_VERDICTS = 50_000;
/** A file that changes more often while it is looked at is checked as it was opened. */
const MAX_ROUNDS = 3;
const LINGER_MS = 60_000;

/** Opens a file anew; `undefined` where it is not there. */
export type OpenFile = (options?: CallOptions) => Promise<OpenedBytes | undefined>;

/** Files whose bytes were hashed: once for each state of a file, however often they are opened. To be disposed of. */
export class CheckedFiles implements AsyncDisposable {
  /** What came of it, by digest and identity, least recently used first; `undefined` is well. */
  readonly #verdicts = new Map<string, IntegrityError | undefined>();
  readonly #hashing = new Flights<void>(LINGER_MS);

  /**
   * Opens a file and makes sure that its bytes have that digest; `undefined` where it is not there.
   * @throws IntegrityError `DIGEST_MISMATCH`, `SIZE_MISMATCH`, each time for the same state of the file
   */
  async open(
    digest: Digest,
    openFile: OpenFile,
    options: CallOptions = {},
  ): Promise<OpenedBytes | undefined> {
    for (let round = 1; ; round += 1) {
      const opened = await openFile(options);
      if (opened === undefined) return undefined;
      try {
        if (this.#isKnown(digest, opened)) return opened;
        const key = keyOf(digest, opened);
        if (key === undefined || round > MAX_ROUNDS) {
          await checkOpened(opened, digest, options.signal);
          return opened;
        }
        await this.#hashing.join(key, (signal) => this.#check(digest, key, openFile, signal), options.signal);
      } catch (error) {
        await opened[Symbol.asyncDispose]();
        throw error;
      }
      // It may have changed meanwhile; the next look tells.
      await opened[Symbol.asyncDispose]();
    }
  }

  /** Whether the bytes of that state of the file are known to have that digest. @throws IntegrityError where they have not */
  #isKnown(digest: Digest, opened: OpenedBytes): boolean {
    const key = keyOf(digest, opened);
    if (key === undefined || !this.#verdicts.has(key)) return false;
    const failure = this.#verdicts.get(key);
    this.#note(key, failure);
    if (failure !== undefined) throw failure;
    return true;
  }

  /** Whether {@link open} would give it without hashing. */
  isTrusted(digest: Digest, opened: OpenedBytes): boolean {
    const key = keyOf(digest, opened);
    return key !== undefined && this.#verdicts.has(key) && this.#verdicts.get(key) === undefined;
  }

  /** Notes that a file has the right bytes, from somebody who wrote it. */
  trust(digest: Digest, opened: OpenedBytes): void {
    const key = keyOf(digest, opened);
    if (key !== undefined) this.#note(key, undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hashing[Symbol.asyncDispose]();
  }

  async #check(digest: Digest, key: string, openFile: OpenFile, signal: AbortSignal): Promise<void> {
    await using opened = await openFile({ signal });
    if (opened === undefined || keyOf(digest, opened) !== key) return;
    try {
      await checkOpened(opened, digest, signal);
      this.#note(key, undefined);
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      this.#note(key, error);
    }
  }

  #note(key: string, failure: IntegrityError | undefined): void {
    this.#verdicts.delete(key);
    this.#verdicts.set(key, failure);
    if (this.#verdicts.size <= MAX_VERDICTS) return;
    for (const oldest of this.#verdicts.keys()) {
      this.#verdicts.delete(oldest);
      return;
    }
  }
}

function keyOf(digest: Digest, { identity }: OpenedBytes): string | undefined {
  return identity === undefined ? undefined : `${digest} ${identity}`;
}

async function checkOpened(
  opened: OpenedBytes,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<void> {
  const algorithm = digestAlgorithm(digest);
  const hash = createDigestHash(algorithm);
  const chunk = new Uint8Array(Math.min(HASH_CHUNK_BYTES, opened.size));
  for (let position = 0; position < opened.size;) {
    signal?.throwIfAborted();
    const count = await opened.read(chunk, position);
    if (count === 0) throw new IntegrityError('SIZE_MISMATCH', digest, opened.size, position);
    hash.update(chunk.subarray(0, count));
    position += count;
  }
  const actual = `${algorithm}:${hash.digest('hex')}`;
  if (actual !== digest) throw new IntegrityError('DIGEST_MISMATCH', 'a file', digest, actual);
}
