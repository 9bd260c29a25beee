import { FerryError, IntegrityError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { ClockOptions } from '../http/clock.js';
import { resumedBody, restOf } from '../http/resume.js';
import type { HttpRequest, Send } from '../http/send.js';
import { collect, openerOf, type Bytes, type OpenBytes, type OpenOptions } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { SingleFlight } from '../io/single-flight.js';
import { exactBytes, verifyBytes } from '../io/verify.js';
import type { Descriptor } from '../oci/descriptor.js';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.js';
import { isManifestMediaType } from '../oci/media-types.js';
import { parseRepositoryName, parseTag } from '../oci/reference.js';
import { readReferrer } from '../oci/referrers.js';
import type {
  CallOptions,
  DeleteOptions,
  PushOptions,
  ReferrersOptions,
  Repository,
  StoredManifest,
  TagOptions,
} from '../oci/storage.js';
import { locateBlob, statBlob, unknownBlobPlaces, type BlobPlaces } from './blob-lookup.js';
import { mountBlob, uploadBlob } from './blob-upload.js';
import { deleteContent, deleteTag } from './deletion.js';
import type { GithubPackages } from './github-packages.js';
import { profileOf, type HostProfile } from './host-profile.js';
import { checkManifestSize, headManifest, readManifest, writeManifest } from './manifests.js';
import { checkPush } from './preflight.js';
import { Referrers } from './referrers.js';
import { ReferrersSupport } from './referrers-support.js';
import { accessTo, type RepositoryContext } from './repository-context.js';
import { listTags } from './tag-list.js';
import { moveTag } from './tag-move.js';
import type { BlobUpload, UploadManners } from './upload-session.js';

/** What a {@link RepositoryClient} shares with the others of its registry. */
export interface RepositoryClientOptions extends ClockOptions {
  /** @defaultValue what is known of the host of the base URL */
  readonly profile?: HostProfile | undefined;
  readonly githubPackages?: GithubPackages | undefined;
  /** @defaultValue one of its own */
  readonly support?: ReferrersSupport | undefined;
  /** What uploads found out. @defaultValue nothing yet */
  readonly manners?: UploadManners | undefined;
  /** What was found out of where its blobs are. @defaultValue nothing yet */
  readonly places?: BlobPlaces | undefined;
}

/** One repository of a registry reached over HTTP. */
export class RepositoryClient implements Repository {
  readonly name: string;
  readonly #base: URL;
  readonly #send: Send;
  readonly #clock: ClockOptions;
  readonly #manners: UploadManners;
  // Two uploads of one blob into one repository at once confuse some registries, and waste bytes on all of them.
  readonly #uploads = new SingleFlight<void>();
  readonly #context: RepositoryContext;
  readonly #referrers: Referrers;
  readonly #places: BlobPlaces;
  readonly #githubPackages: GithubPackages | undefined;

  constructor(name: string, baseUrl: URL, send: Send, options: RepositoryClientOptions = {}) {
    this.name = name;
    this.#base = new URL(`v2/${name}/`, baseUrl);
    this.#send = send;
    const profile = options.profile ?? profileOf(baseUrl.host);
    this.#manners = options.manners ?? { singlePost: 'unknown', chunked: true };
    this.#clock = options;
    this.#context = { name, base: this.#base, send, clock: options, profile };
    this.#referrers = new Referrers(this.#context, options.support ?? new ReferrersSupport(options.now));
    this.#places = options.places ?? unknownBlobPlaces();
    this.#githubPackages = options.githubPackages;
  }

  async exists(descriptor: Descriptor, options: CallOptions = {}): Promise<boolean> {
    if (isManifestMediaType(descriptor.mediaType)) {
      return (await this.resolve(descriptor.digest, options)) !== undefined;
    }
    const request: HttpRequest = {
      method: 'HEAD',
      url: this.#blobUrl(descriptor),
      signal: options.signal,
      access: accessTo(this.name, 'read'),
    };
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
      access: accessTo(this.name, 'read'),
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

  async statBlob(digest: Digest, options: CallOptions = {}): Promise<{ readonly size: number } | undefined> {
    return statBlob(this.#context, digest, options);
  }

  async locateBlob(descriptor: Descriptor, options: CallOptions = {}): Promise<URL | undefined> {
    return locateBlob(this.#context, this.#places, descriptor.digest, options);
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

  async checkPush(options: CallOptions = {}): Promise<void> {
    await checkPush(this.#context, options);
  }

  #upload(descriptor: Descriptor, open: OpenBytes, { signal }: CallOptions): BlobUpload {
    return {
      send: this.#send,
      uploadsUrl: new URL('blobs/uploads/', this.#base),
      access: accessTo(this.name, 'write'),
      descriptor,
      open,
      signal,
      exists: () => this.exists(descriptor, { signal }),
      manners: this.#manners,
      clock: this.#clock,
    };
  }

  async resolve(reference: string, options: CallOptions = {}): Promise<Descriptor | undefined> {
    return headManifest(this.#context, reference, options);
  }

  async fetchManifest(reference: string, options: CallOptions = {}): Promise<StoredManifest | undefined> {
    return readManifest(this.#context, reference, options);
  }

  async tag(descriptor: Descriptor, tag: string, options: TagOptions = {}): Promise<void> {
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
      const { signal, replaces } = options;
      const written =
        replaces === undefined || tags.length === 0
          ? await writeManifest(this.#context, stored, reference, { signal })
          : await moveTag(this.#context, stored, reference, replaces, { signal });
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
