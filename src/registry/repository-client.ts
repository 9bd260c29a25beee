import { FerryError, IntegrityError, isFerryError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { ClockOptions } from '../http/clock.js';
import { resumedBody, restOf } from '../http/resume.js';
import type { Access, HttpRequest, HttpResponse, Send } from '../http/send.js';
import { collect, openerOf, type Bytes, type OpenBytes, type OpenOptions } from '../io/bytes.js';
import { digestAlgorithm, digestOf, isDigest } from '../io/digest.js';
import { SingleFlight } from '../io/single-flight.js';
import { exactBytes, verifyBytes } from '../io/verify.js';
import type { Descriptor } from '../oci/descriptor.js';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.js';
import { isManifestMediaType, MANIFEST_MEDIA_TYPES } from '../oci/media-types.js';
import { parseRepositoryName, parseTag } from '../oci/reference.js';
import type { CallOptions, PushOptions, Repository, StoredManifest } from '../oci/storage.js';
import { mountBlob, uploadBlob } from './blob-upload.js';
import { listPages } from './pages.js';
import type { BlobUpload, UploadManners } from './upload-session.js';

/** Tags asked for at once; some registries refuse more. */
const TAG_PAGE_SIZE = 1000;

/** One repository of a registry reached over HTTP. */
export class RepositoryClient implements Repository {
  readonly name: string;
  readonly #base: URL;
  readonly #send: Send;
  readonly #clock: ClockOptions;
  readonly #manners: UploadManners;
  // Two uploads of one blob into one repository at once confuse some registries, and waste bytes on all of them.
  readonly #uploads = new SingleFlight<void>();

  constructor(
    name: string,
    baseUrl: URL,
    send: Send,
    manners: UploadManners = { singlePost: 'unknown', chunked: true },
    clock: ClockOptions = {},
  ) {
    this.name = name;
    this.#base = new URL(`v2/${name}/`, baseUrl);
    this.#send = (request) => send({ access: { repository: name, actions: actionsOf(request) }, ...request });
    this.#manners = manners;
    this.#clock = clock;
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
      headers: isManifest ? { accept: descriptor.mediaType } : {},
      signal: options.signal,
    };
    if (offset > 0 && offset >= descriptor.size) return;
    const first = await this.#send(restOf(request, offset));
    if (first.status !== 200 && first.status !== 206) throw await responseError(request, first);
    const what = `${descriptor.digest} in \`${this.name}\``;
    const { size } = descriptor;
    const body = resumedBody({ send: this.#send, request, first, offset, size, clock: this.#clock });
    if (offset === 0) yield* verifyBytes(body, descriptor, what);
    else yield* exactBytes(body, size - offset, what);
  }

  async push(descriptor: Descriptor, open: OpenBytes, options: PushOptions = {}): Promise<void> {
    if (isManifestMediaType(descriptor.mediaType)) {
      await this.#pushManifest(descriptor, open, options);
      return;
    }
    const upload = { ...this.#upload(descriptor, open, options), mountFrom: options.mountFrom };
    await this.#uploads.do(descriptor.digest, () => uploadBlob(upload), options.signal);
  }

  async mount(descriptor: Descriptor, from: string | undefined, options: CallOptions = {}): Promise<boolean> {
    const mountFrom = from === undefined ? undefined : parseRepositoryName(from);
    return mountBlob({ ...this.#upload(descriptor, openerOf(new Uint8Array()), options), mountFrom });
  }

  #upload(descriptor: Descriptor, open: OpenBytes, { signal }: CallOptions): BlobUpload {
    return {
      send: this.#send,
      uploadsUrl: new URL('blobs/uploads/', this.#base),
      repository: this.name,
      descriptor,
      open,
      signal,
      exists: () => this.exists(descriptor, { signal }),
      manners: this.#manners,
      clock: this.#clock,
    };
  }

  async resolve(reference: string, options: CallOptions = {}): Promise<Descriptor | undefined> {
    const request = this.#manifestRequest('HEAD', reference, options);
    const response = await this.#send(request);
    if (response.status === 404) {
      await response.discard();
      return undefined;
    }
    if (response.status !== 200) throw await responseError(request, response);
    await response.discard();
    const descriptor = descriptorOfHeaders(response, reference);
    return descriptor ?? (await this.fetchManifest(reference, options))?.descriptor;
  }

  async fetchManifest(reference: string, options: CallOptions = {}): Promise<StoredManifest | undefined> {
    const request = this.#manifestRequest('GET', reference, options);
    const response = await this.#send(request);
    if (response.status === 404) {
      await response.discard();
      return undefined;
    }
    if (response.status !== 200) throw await responseError(request, response);
    const what = `manifest \`${this.name}:${reference}\``;
    const bytes = await collect(response.body, MAX_MANIFEST_BYTES, what);
    const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
    if (isDigest(reference) && digest !== reference) {
      throw new IntegrityError('DIGEST_MISMATCH', what, reference, digest);
    }
    const mediaType = mediaTypeOf(response);
    if (mediaType === undefined) {
      throw new FerryError('MANIFEST_INVALID', `${what} came without a media type`);
    }
    return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes };
  }

  async tag(descriptor: Descriptor, tag: string, options: CallOptions = {}): Promise<void> {
    const stored = await this.fetchManifest(descriptor.digest, options);
    if (stored === undefined) {
      throw new FerryError('NOT_FOUND', `\`${this.name}\` has no manifest ${descriptor.digest}`);
    }
    await this.#pushManifest(stored.descriptor, openerOf(stored.bytes), { ...options, tags: [tag] });
  }

  async *tags(options: CallOptions = {}): AsyncIterable<string> {
    const first = new URL(`tags/list?n=${String(TAG_PAGE_SIZE)}`, this.#base);
    let hasBegun = false;
    try {
      for await (const page of listPages(this.#send, first, 'tags', options)) {
        hasBegun = true;
        yield* page;
      }
    } catch (error) {
      // A list that breaks off is no short list.
      if (hasBegun || !isFerryError(error, 'NOT_FOUND')) throw error;
    }
  }

  async delete(descriptor: Descriptor, options: CallOptions = {}): Promise<void> {
    const isManifest = isManifestMediaType(descriptor.mediaType);
    const url = isManifest ? this.#manifestUrl(descriptor.digest) : this.#blobUrl(descriptor);
    // By digest, and what is gone already is no error: sending it twice changes nothing.
    const request: HttpRequest = { method: 'DELETE', url, signal: options.signal, repeatable: true };
    const response = await this.#send(request);
    if (![200, 202, 204, 404].includes(response.status)) throw await responseError(request, response);
    await response.discard();
  }

  async #pushManifest(descriptor: Descriptor, open: OpenBytes, options: PushOptions): Promise<void> {
    const bytes = await collect(
      verifyBytes(open({ signal: options.signal }), descriptor, `manifest ${descriptor.digest}`),
      MAX_MANIFEST_BYTES,
      `manifest ${descriptor.digest}`,
    );
    const tags = options.tags ?? [];
    for (const reference of tags.length === 0 ? [descriptor.digest] : tags.map(parseTag)) {
      const request: HttpRequest = {
        method: 'PUT',
        url: this.#manifestUrl(reference),
        headers: { 'content-type': descriptor.mediaType },
        body: { size: bytes.byteLength, open: openerOf(bytes) },
        signal: options.signal,
        // The same bytes under the same name: sending them twice changes nothing.
        repeatable: true,
      };
      const response = await this.#send(request);
      if (response.status !== 201 && response.status !== 200 && response.status !== 202) {
        throw await responseError(request, response);
      }
      await response.discard();
    }
  }

  #manifestRequest(method: 'GET' | 'HEAD', reference: string, options: CallOptions): HttpRequest {
    return {
      method,
      url: this.#manifestUrl(isDigest(reference) ? reference : parseTag(reference)),
      headers: { accept: MANIFEST_MEDIA_TYPES.join(', ') },
      signal: options.signal,
    };
  }

  #manifestUrl(reference: string): URL {
    return new URL(`manifests/${reference}`, this.#base);
  }

  #blobUrl(descriptor: Descriptor): URL {
    return new URL(`blobs/${descriptor.digest}`, this.#base);
  }
}

/** What a HEAD tells, or `undefined` where the registry leaves something out. */
function descriptorOfHeaders(response: HttpResponse, reference: string): Descriptor | undefined {
  const mediaType = mediaTypeOf(response);
  // Some registries answer HEAD with a length of 0.
  const size = Number(response.header('content-length') ?? 0);
  const digest = isDigest(reference) ? reference : response.header('docker-content-digest');
  if (
    mediaType === undefined ||
    digest === undefined ||
    !isDigest(digest) ||
    !(Number.isInteger(size) && size > 0)
  ) {
    return undefined;
  }
  return { mediaType, digest, size };
}

function mediaTypeOf(response: HttpResponse): string | undefined {
  const mediaType = response.header('content-type')?.split(';')[0]?.trim();
  return mediaType === '' ? undefined : mediaType;
}

function actionsOf({ method }: HttpRequest): Access['actions'] {
  if (method === 'DELETE') return ['delete'];
  return method === 'GET' || method === 'HEAD' ? ['pull'] : ['pull', 'push'];
}
