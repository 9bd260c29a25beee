import { FerryError, IntegrityError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { RetryOptions } from '../http/retry.js';
import type { HttpRequest, HttpResponse, Send } from '../http/send.js';
import { collect, openerOf, type Bytes, type OpenBytes, type OpenOptions } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { SingleFlight } from '../io/single-flight.js';
import { exactBytes, verifyBytes } from '../io/verify.js';
import type { Descriptor } from '../oci/descriptor.js';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.js';
import { isManifestMediaType } from '../oci/media-types.js';
import { parseTag } from '../oci/reference.js';
import { readReferrer } from '../oci/referrers.js';
import type {
  CallOptions,
  DeleteOptions,
  PushOptions,
  ReferrersOptions,
  Repository,
  StoredManifest,
} from '../oci/storage.js';
import { uploadBlob } from './blob-upload.js';
import { deleteContent, deleteTag } from './deletion.js';
import type { GithubPackages } from './github-packages.js';
import { profileOf, type HostProfile } from './host-profile.js';
import { checkManifestSize, headManifest, readManifest, writeManifest } from './manifests.js';
import { Referrers } from './referrers.js';
import { ReferrersSupport } from './referrers-support.js';
import type { RepositoryContext } from './repository-context.js';
import { listTags } from './tag-list.js';

/** What a {@link RepositoryClient} shares with the others of its registry. */
export interface RepositoryClientOptions {
  /** @defaultValue what is known of the host of the base URL */
  readonly profile?: HostProfile | undefined;
  readonly githubPackages?: GithubPackages | undefined;
  /** @defaultValue one of its own */
  readonly support?: ReferrersSupport | undefined;
  /** Milliseconds of a clock. @defaultValue a monotonic clock */
  readonly now?: (() => number) | undefined;
}

/** One repository of a registry reached over HTTP. */
export class RepositoryClient implements Repository {
  readonly name: string;
  readonly #base: URL;
  readonly #send: Send;
  readonly #retry: RetryOptions;
  // Two uploads of one blob into one repository at once confuse some registries, and waste bytes on all of them.
  readonly #uploads = new SingleFlight<void>();
  readonly #context: RepositoryContext;
  readonly #referrers: Referrers;
  readonly #githubPackages: GithubPackages | undefined;

  constructor(
    name: string,
    baseUrl: URL,
    send: Send,
    retry: RetryOptions = {},
    options: RepositoryClientOptions = {},
  ) {
    this.name = name;
    this.#base = new URL(`v2/${name}/`, baseUrl);
    this.#send = send;
    this.#retry = retry;
    const profile = options.profile ?? profileOf(baseUrl.host);
    this.#context = { name, base: this.#base, send, retry, profile };
    this.#referrers = new Referrers(this.#context, options.support ?? new ReferrersSupport(options.now));
    this.#githubPackages = options.githubPackages;
  }

  async exists(descriptor: Descriptor, options: CallOptions = {}): Promise<boolean> {
    if (isManifestMediaType(descriptor.mediaType)) {
      return (await this.resolve(descriptor.digest, options)) !== undefined;
    }
    const request: HttpRequest = { method: 'HEAD', url: this.#blobUrl(descriptor), signal: options.signal };
    const response = await this.#send(request);
    if (response.status === 404) {
      await response.discard();
      return false;
    }
    if (response.status !== 200) throw await responseError(request, response);
    await response.discard();
    const size = response.header('content-length');
    if (size !== undefined && Number(size) !== descriptor.size) {
      throw new IntegrityError(
        'SIZE_MISMATCH',
        `blob ${descriptor.digest} in \`${this.name}\``,
        descriptor.size,
        size,
      );
    }
    return true;
  }

  async *fetch(descriptor: Descriptor, options: OpenOptions = {}): Bytes {
    const offset = options.offset ?? 0;
    const isManifest = isManifestMediaType(descriptor.mediaType);
    const request: HttpRequest = {
      method: 'GET',
      url: isManifest ? this.#manifestUrl(descriptor.digest) : this.#blobUrl(descriptor),
      headers: {
        ...(isManifest ? { accept: descriptor.mediaType } : {}),
        ...(offset > 0 ? { range: `bytes=${String(offset)}-` } : {}),
      },
      signal: options.signal,
    };
    if (offset > 0 && offset >= descriptor.size) return;
    const response = await this.#send(request);
    if (response.status !== 200 && response.status !== 206) throw await responseError(request, response);
    const what = `${descriptor.digest} in \`${this.name}\``;
    if (offset === 0) {
      yield* verifyBytes(response.body, descriptor, what);
      return;
    }
    const start = response.status === 206 ? rangeStart(response) : 0;
    if (start === undefined || start > offset) {
      await response.discard();
      throw new FerryError(
        'REGISTRY_REFUSED',
        `${what} was asked for from byte ${String(offset)}, and came from another`,
      );
    }
    yield* exactBytes(skipBytes(response.body, offset - start), descriptor.size - offset, what);
  }

  async push(descriptor: Descriptor, open: OpenBytes, options: PushOptions = {}): Promise<void> {
    if (isManifestMediaType(descriptor.mediaType)) {
      await this.#pushManifest(descriptor, open, options);
      return;
    }
    const upload = (): Promise<void> =>
      uploadBlob({
        send: this.#send,
        uploadsUrl: new URL('blobs/uploads/', this.#base),
        descriptor,
        open,
        signal: options.signal,
        exists: () => this.exists(descriptor, options),
        retry: this.#retry,
      });
    await this.#uploads.do(descriptor.digest, upload, options.signal);
  }

  async resolve(reference: string, options: CallOptions = {}): Promise<Descriptor | undefined> {
    return headManifest(this.#context, reference, options);
  }

  async fetchManifest(reference: string, options: CallOptions = {}): Promise<StoredManifest | undefined> {
    return readManifest(this.#context, reference, options);
  }

  async tag(descriptor: Descriptor, tag: string, options: CallOptions = {}): Promise<void> {
    const stored = await this.fetchManifest(descriptor.digest, options);
    if (stored === undefined) {
      throw new FerryError('NOT_FOUND', `\`${this.name}\` has no manifest ${descriptor.digest}`);
    }
    await this.#pushManifest(stored.descriptor, openerOf(stored.bytes), { ...options, tags: [tag] });
  }

  tags(options: CallOptions = {}): AsyncIterable<string> {
    return listTags(this.#context, options);
  }

  async untag(tag: string, options: CallOptions = {}): Promise<void> {
    await deleteTag(this.#context, tag, options);
  }

  referrers(subject: Descriptor, options: ReferrersOptions = {}): AsyncIterable<Descriptor> {
    return this.#referrers.list(subject, options);
  }

  async delete(descriptor: Descriptor, options: DeleteOptions = {}): Promise<void> {
    const isManifest = isManifestMediaType(descriptor.mediaType);
    const remove = this.#deletion(isManifest ? 'manifests' : 'blobs');
    const referrer = isManifest ? await this.#referrers.findForRemoval(descriptor, options) : undefined;
    await remove(descriptor.digest, options);
    if (referrer !== undefined) await this.#referrers.remove(referrer, options);
  }

  /** How this registry deletes. @throws FerryError `UNSUPPORTED` where it is known not to */
  #deletion(kind: 'manifests' | 'blobs'): (digest: Digest, options: DeleteOptions) => Promise<void> {
    const { deleteBy } = this.#context.profile;
    const packages =
      deleteBy === 'github-packages' && kind === 'manifests' ? this.#githubPackages : undefined;
    if (packages !== undefined) {
      return async (digest, options) => {
        if (await packages.deleteManifest(this.name, digest, options)) return;
        // GitHub hides what a token may not read, and so may seem to have nothing to delete.
        if ((await headManifest(this.#context, digest, options)) === undefined) return;
        throw new FerryError('DENIED', `GitHub does not show the package of \`${this.name}\` to this token`, {
          hint: 'use a classic token with the scopes read:packages and delete:packages, of an admin of the package',
        });
      };
    }
    if (deleteBy === 'digest') {
      return (digest, options) => deleteContent(this.#context, kind, digest, options);
    }
    throw new FerryError('UNSUPPORTED', `\`${this.#base.host}\` does not delete ${kind}`, {
      hint:
        deleteBy === 'github-packages' && kind === 'manifests'
          ? 'give a GitHub token with the scope delete:packages, or delete the versions on the package page of GitHub'
          : undefined,
    });
  }

  async #pushManifest(descriptor: Descriptor, open: OpenBytes, options: PushOptions): Promise<void> {
    checkManifestSize(this.#context, descriptor);
    const bytes = await collect(
      verifyBytes(open({ signal: options.signal }), descriptor, `manifest ${descriptor.digest}`),
      MAX_MANIFEST_BYTES,
      `manifest ${descriptor.digest}`,
    );
    const tags = options.tags ?? [];
    const stored = { descriptor, bytes };
    const referrer = readReferrer(stored);
    let isListed = false;
    for (const reference of tags.length === 0 ? [descriptor.digest] : tags.map(parseTag)) {
      const written = await writeManifest(this.#context, stored, reference, { signal: options.signal });
      isListed = written.listsReferrers;
    }
    if (referrer !== undefined) await this.#referrers.add(referrer, isListed, options);
  }

  #manifestUrl(reference: string): URL {
    return new URL(`manifests/${reference}`, this.#base);
  }

  #blobUrl(descriptor: Descriptor): URL {
    return new URL(`blobs/${descriptor.digest}`, this.#base);
  }
}

/** First byte of a partial answer. Shape: `bytes 5-9/10`. @see RFC 9110, section 14.4 */
function rangeStart(response: HttpResponse): number | undefined {
  const start = /^bytes (\d+)-/.exec(response.header('content-range') ?? '')?.[1];
  return start === undefined ? undefined : Number(start);
}

async function* skipBytes(source: Bytes, count: number): Bytes {
  let left = count;
  for await (const chunk of source) {
    if (left < chunk.byteLength) yield left === 0 ? chunk : chunk.subarray(left);
    left = Math.max(0, left - chunk.byteLength);
  }
}
