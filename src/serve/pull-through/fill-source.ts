import type {
  ArchiveLocation,
  ChannelSource,
  MetadataAnswer,
  OpenMetadataOptions,
  Validators,
} from '../../conda/channel-source.js';
import { IntegrityError } from '../../errors.js';
import type { Bytes, OpenOptions } from '../../io/bytes.js';
import { sha256Digest, type Digest } from '../../io/digest.js';
import type { TempFolder } from '../../io/temp-folder.js';
import { MAX_REPODATA_BYTES } from '../../mirror/snapshot.js';
import type { Content } from '../content.js';
import { HeldFile, streamContent } from '../held-file.js';
import { metadataOf, type ChannelMetadata } from './upstream-metadata.js';

/** What a {@link FillSource} works with. */
export interface FillSourceOptions {
  readonly upstream: ChannelSource;
  /** Content that the gateway has at hand. */
  readonly content: (digest: Digest) => Promise<Content | undefined>;
  /** Where repodata is kept from run to run. */
  readonly temp: TempFolder;
}

interface HeldMetadata {
  readonly file: HeldFile;
  readonly validators: Validators;
}

/**
 * The upstream as a mirror run sees it: its name and metadata are the upstream's, so the store is a mirror of that and of
 * nothing else. Archives come from the gateway's cache, where they lie since they were served. Runs follow each other closely,
 * so repodata is kept, and only asked for whether it changed.
 */
export class FillSource implements AsyncDisposable {
  readonly #options: FillSourceOptions;
  readonly #metadata: ChannelMetadata;
  readonly #held = new Map<string, HeldMetadata>();

  constructor(options: FillSourceOptions) {
    this.#options = options;
    this.#metadata = metadataOf(options.upstream);
  }

  /** What a run reads from. */
  get channel(): ChannelSource {
    const { upstream } = this.#options;
    return {
      ...this.#metadata,
      openMetadata: (path, options) => this.#openMetadata(path, options),
      openArchive: (archive, options) => this.#openArchive(archive, options),
      ...(upstream.statArchive && {
        statArchive: (archive, options) =>
          upstream.statArchive?.(archive, options) ?? Promise.resolve(undefined),
      }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const held = [...this.#held.values()];
    this.#held.clear();
    for (const { file } of held) await file.release();
  }

  async #openMetadata(path: string, options: OpenMetadataOptions = {}): Promise<MetadataAnswer> {
    if (!/\/repodata\.json(?:\.zst)?$/.test(path)) return this.#metadata.openMetadata(path, options);
    const { unless, signal } = options;
    const held = this.#held.get(path);
    const answer = await this.#metadata.openMetadata(path, { signal, unless: held?.validators ?? unless });
    if (answer.status === 'found') {
      const { body, validators } = answer;
      // Without these nobody can be asked whether it changed.
      if (validators.etag === undefined && validators.lastModified === undefined) return answer;
      const file = await HeldFile.write(limited(body, path), this.#options.temp);
      this.#held.set(path, { file, validators });
      await held?.file.release();
      return { status: 'found', body: file.openBytes({ signal }), validators };
    }
    if (answer.status === 'absent') {
      this.#held.delete(path);
      await held?.file.release();
      return answer;
    }
    if (held === undefined || (unless !== undefined && isSame(unless, held.validators))) return answer;
    return { status: 'found', body: held.file.openBytes({ signal }), validators: held.validators };
  }

  async *#openArchive(archive: ArchiveLocation, options: OpenOptions = {}): Bytes {
    const { signal, offset = 0 } = options;
    let sent = 0;
    try {
      const { sha256 } = archive;
      const content = sha256 === undefined ? undefined : await this.#options.content(sha256Digest(sha256));
      if (content !== undefined) {
        for await (const chunk of streamContent(content, offset, signal)) {
          sent += chunk.byteLength;
          yield chunk;
        }
        return;
      }
    } catch {
      // The cache may be emptied at any moment, or its disk fail; the run checks the whole in any case.
      signal?.throwIfAborted();
    }
    const rest = offset + sent;
    yield* this.#options.upstream.openArchive(archive, { signal, ...(rest === 0 ? {} : { offset: rest }) });
  }
}

async function* limited(body: Bytes, what: string): Bytes {
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > MAX_REPODATA_BYTES)
      throw new IntegrityError('SIZE_EXCEEDED', `\`${what}\``, MAX_REPODATA_BYTES, size);
    yield chunk;
  }
}

function isSame(a: Validators, b: Validators): boolean {
  return a.etag === b.etag && a.lastModified === b.lastModified;
}
