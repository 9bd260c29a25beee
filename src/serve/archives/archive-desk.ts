import { createHash } from 'node:crypto';
import type { RepodataRecord } from '../../conda/package-record.js';
import { isSidecarDigest, MAX_SIDECAR_BYTES, sidecarFilename } from '../../conda/sidecar.js';
import { FerryError, IntegrityError, isFerryError } from '../../errors.js';
import type { Bytes, OpenBytes } from '../../io/bytes.js';
import { withDeadline } from '../../io/deadline.js';
import { sha256Digest, type Digest } from '../../io/digest.js';
import type { TempFolder } from '../../io/temp-folder.js';
import type { GatewayChannel } from '../channels/gateway-channel.js';
import type { Content } from '../content.js';
import type { ContentOrigin } from '../cache/content-source.js';
import type { CacheState } from '../listen/answer-note.js';
import { HeldFile } from '../held-file.js';
import { findArchive } from './find-archive.js';
import { locateArchive } from './locate-archive.js';

/** An archive that nothing names a digest of may have as much. */
const MAX_UNKNOWN_BYTES = 8 * 1024 ** 3;

/**
 * When archives are answered with where the registry's storage has them, instead of with their bytes: `redirect` whenever it
 * tells, `proxy` never, `auto` where clients can be expected to get there and the bytes are not at hand.
 */
export type DeliveryMode = 'auto' | 'redirect' | 'proxy';

/** What an {@link ArchiveDesk} works with. */
export interface ArchiveDeskOptions {
  readonly mode: DeliveryMode;
  /** Gives content out of the cache, or by its origin. */
  readonly content: (origin: ContentOrigin, signal: AbortSignal) => Promise<Content>;
  /** Content that is in the cache. */
  readonly cached: (digest: Digest) => Promise<Content | undefined>;
  readonly temp: TempFolder;
  /** How long somebody waits for an archive, in milliseconds; what is fetched then goes on for those who ask again. */
  readonly patienceMs: number;
  /** Told of archives that were found to be listed and given. */
  readonly onGiven?: ((channel: GatewayChannel, subdir: string, record: RepodataRecord) => void) | undefined;
}

/** What is given for an archive. */
export type GivenArchive =
  | {
      readonly kind: 'content';
      readonly content: Content;
      readonly isListed: boolean;
      /** @defaultValue `none`: the cache has no part in it */
      readonly cache?: CacheState | undefined;
    }
  /** To be let go when it was sent. */
  | { readonly kind: 'held'; readonly content: HeldFile }
  | { readonly kind: 'elsewhere'; readonly url: URL }
  | { readonly kind: 'absent' };

/** Nothing but its bytes tells what they are. */
interface GivenUnknown {
  readonly kind: 'unknown';
  readonly open: OpenBytes;
  readonly record: RepodataRecord | undefined;
  readonly isListed: boolean;
}

/** Why something was not given, and whether the repodata promises it. */
export class NotGiven extends Error {
  override readonly name = 'NotGiven';
  readonly isListed: boolean;

  constructor(error: unknown, isListed: boolean) {
    super('not given', { cause: error });
    this.isListed = isListed;
  }
}

/** Gives archives and their attestation sidecars. */
export class ArchiveDesk {
  readonly #options: ArchiveDeskOptions;

  constructor(options: ArchiveDeskOptions) {
    this.#options = options;
  }

  /**
   * Gives an archive.
   * @param isHead whether nobody wants the bytes
   * @throws NotGiven
   */
  async archive(
    channel: GatewayChannel,
    subdir: string,
    filename: string,
    options: { readonly isHead: boolean; readonly signal: AbortSignal },
  ): Promise<GivenArchive> {
    const given = await withDeadline(this.#options.patienceMs, options.signal, (signal) =>
      this.#give(channel, subdir, filename, { ...options, signal }),
    );
    if (given.kind !== 'unknown') return given;
    try {
      // Nobody shares it, so that it would begin anew each time.
      return { kind: 'held', content: await this.#fetchUnknown(given.open, given.record, options.signal) };
    } catch (error) {
      options.signal.throwIfAborted();
      const { isListed } = given;
      if (!isListed && (await isAbsent(channel, error, options.signal))) return { kind: 'absent' };
      throw new NotGiven(error, isListed);
    }
  }

  async #give(
    channel: GatewayChannel,
    subdir: string,
    filename: string,
    { isHead, signal }: { readonly isHead: boolean; readonly signal: AbortSignal },
  ): Promise<GivenArchive | GivenUnknown> {
    const found = await findArchive(channel, subdir, filename, signal).catch((error: unknown) => {
      // As long as nobody can tell, it may well be listed.
      throw new NotGiven(error, true);
    });
    const record = found.status === 'listed' ? found.record : undefined;
    const isListed = found.status === 'listed';
    try {
      const located = await locateArchive(channel, subdir, filename, record, signal);
      if (located.digest === undefined) return { kind: 'unknown', open: located.open, record, isListed };
      const { digest, size } = located;
      const cached = await this.#options.cached(digest);
      if (cached !== undefined) {
        if (record !== undefined && !isHead) this.#options.onGiven?.(channel, subdir, record);
        return { kind: 'content', content: cached, isListed, cache: 'hit' };
      }
      if (isHead && size !== undefined)
        return { kind: 'content', content: { digest, size, open: () => notToBeRead(digest) }, isListed };
      const elsewhere = await this.#elsewhere(located.locate, signal);
      if (elsewhere !== undefined) return { kind: 'elsewhere', url: elsewhere };
      const content = await this.#options.content(located, signal);
      if (record !== undefined) this.#options.onGiven?.(channel, subdir, record);
      // What lies on this disk in a store is read there.
      const cache = located.openFile === undefined ? 'miss' : 'none';
      return { kind: 'content', content, isListed, cache };
    } catch (error) {
      signal.throwIfAborted();
      if (!isListed && (await isAbsent(channel, error, signal))) return { kind: 'absent' };
      throw new NotGiven(error, isListed);
    }
  }

  /**
   * Gives an attestation sidecar.
   * @param sha256 of it; `undefined` for the one that the record names now
   * @throws NotGiven
   * @see CEP draft, conda/ceps pull 142
   */
  async sidecar(
    channel: GatewayChannel,
    subdir: string,
    filename: string,
    sha256: string | undefined,
    signal: AbortSignal,
  ): Promise<GivenArchive> {
    return withDeadline(this.#options.patienceMs, signal, (ends) =>
      this.#giveSidecar(channel, subdir, filename, sha256, ends),
    );
  }

  async #giveSidecar(
    channel: GatewayChannel,
    subdir: string,
    filename: string,
    sha256: string | undefined,
    signal: AbortSignal,
  ): Promise<GivenArchive> {
    const found = await findArchive(channel, subdir, filename, signal).catch((error: unknown) => {
      throw new NotGiven(error, true);
    });
    const named = found.status === 'listed' ? found.attestations : undefined;
    const wanted = sha256 ?? named;
    if (!isSidecarDigest(wanted)) return { kind: 'absent' };
    const isListed = wanted === named;
    const record = found.status === 'listed' ? found.record : undefined;
    try {
      const open: OpenBytes = (options) =>
        openSidecar(channel, subdir, { filename, sha256: wanted, url: record?.url }, options?.signal);
      const content = await this.#options.content(
        { digest: sha256Digest(wanted), size: undefined, open },
        signal,
      );
      return { kind: 'content', content, isListed };
    } catch (error) {
      signal.throwIfAborted();
      if (!isListed && (await isAbsent(channel, error, signal))) return { kind: 'absent' };
      throw new NotGiven(error, isListed);
    }
  }

  async #elsewhere(
    locate: ((signal: AbortSignal) => Promise<URL | undefined>) | undefined,
    signal: AbortSignal,
  ): Promise<URL | undefined> {
    const { mode } = this.#options;
    if (mode === 'proxy' || locate === undefined) return undefined;
    // What the registry says then is said of the bytes too, when they are asked for.
    const url = await locate(signal).catch(() => undefined);
    if (url === undefined) return undefined;
    return mode === 'redirect' || url.protocol === 'https:' ? url : undefined;
  }

  /** Fetches what only its md5 is known of, or nothing at all. */
  async #fetchUnknown(
    open: OpenBytes,
    record: RepodataRecord | undefined,
    signal: AbortSignal,
  ): Promise<HeldFile> {
    const { temp } = this.#options;
    return HeldFile.write(checked(open({ signal }), record), temp);
  }
}

async function* openSidecar(
  { source }: GatewayChannel,
  subdir: string,
  sidecar: { readonly filename: string; readonly sha256: string; readonly url: string | undefined },
  signal: AbortSignal | undefined,
): Bytes {
  const { filename, sha256, url } = sidecar;
  const answer =
    url !== undefined && source.openSidecar !== undefined
      ? await source.openSidecar({ subdir, filename, url }, sha256, { signal })
      : await source.openMetadata(`${subdir}/${sidecarFilename(filename, sha256)}`, { signal });
  if (answer.status !== 'found')
    throw new FerryError('ATTESTATION_ABSENT', `the channel does not have the sidecar ${sha256}`);
  let size = 0;
  for await (const chunk of answer.body) {
    size += chunk.byteLength;
    if (size > MAX_SIDECAR_BYTES)
      throw new IntegrityError('SIZE_EXCEEDED', `the sidecar ${sha256}`, MAX_SIDECAR_BYTES, size);
    yield chunk;
  }
}

/** Passes an archive on, if it is what its record says as far as that says anything. */
async function* checked(bytes: Bytes, record: RepodataRecord | undefined): Bytes {
  const md5 = createHash('md5');
  const limit = record?.size ?? MAX_UNKNOWN_BYTES;
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.byteLength;
    if (size > limit) throw new IntegrityError('SIZE_EXCEEDED', 'the archive', limit, size);
    md5.update(chunk);
    yield chunk;
  }
  if (record?.size !== undefined && size !== record.size)
    throw new IntegrityError('SIZE_MISMATCH', 'the archive', record.size, size);
  const actual = md5.digest('hex');
  if (record?.md5 !== undefined && record.md5 !== actual)
    throw new IntegrityError('DIGEST_MISMATCH', 'the archive', `md5:${record.md5}`, `md5:${actual}`);
}

/** Whether what nobody listed is not there, also by a refusal of a registry that tells strangers no more. */
async function isAbsent(channel: GatewayChannel, error: unknown, signal: AbortSignal): Promise<boolean> {
  const codes = ['ARCHIVE_ABSENT', 'ATTESTATION_ABSENT', 'NOT_FOUND', 'NAME_UNREPRESENTABLE'] as const;
  return codes.some((code) => isFerryError(error, code)) || channel.isAbsence(error, signal);
}

function notToBeRead(digest: Digest): never {
  throw new FerryError('INTERNAL', `nobody was to read ${digest}`);
}
