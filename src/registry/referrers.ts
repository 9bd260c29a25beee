import { FerryError, isFerryError, ResponseError, TransportError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest, HttpResponse } from '../http/send.js';
import { collect } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseImageIndex } from '../oci/manifest.js';
import { IMAGE_INDEX, isManifestMediaType } from '../oci/media-types.js';
import { hasArtifactType, readReferrer, type Referrer } from '../oci/referrers.js';
import type { CallOptions, ReferrersOptions } from '../oci/storage.js';
import { mediaTypeOf, readManifest } from './manifests.js';
import { MAX_PAGE_BYTES, PageTrail, type PageTaken } from './page-trail.js';
import { ReferrersIndexes, readReferrersIndex } from './referrers-index.js';
import type { ReferrersSupport } from './referrers-support.js';
import { accessTo, type RepositoryContext } from './repository-context.js';

/** The referrers of one repository: by the registry's API where it has one, else under tags. */
export class Referrers {
  readonly #context: RepositoryContext;
  readonly #support: ReferrersSupport;
  readonly #indexes: ReferrersIndexes;

  constructor(context: RepositoryContext, support: ReferrersSupport) {
    this.#context = context;
    this.#support = support;
    this.#indexes = new ReferrersIndexes(context);
  }

  /** Lists what refers to `subject`, as `Repository.referrers` says. */
  async *list(subject: Descriptor, options: ReferrersOptions): AsyncGenerator<Descriptor> {
    let isAnswered = false;
    if (this.#support.state !== 'tag') {
      for await (const referrer of this.#listByApi(subject, options)) {
        isAnswered = true;
        yield referrer;
      }
    }
    // GHCR was once seen to answer with an empty list while the tag had entries (NVIDIA/aicr#1957), and where the API
    // is not to be expected, nothing of it proves that there is nothing.
    const asksTag = this.#support.state === 'tag' || this.#context.profile.referrers === 'tag';
    if (!isAnswered && asksTag) yield* this.#listByTag(subject, options);
  }

  /**
   * Sees to it that a pushed manifest is listed with its subject. `isListed`: the registry said that it does so.
   * @throws FerryError with the code of its cause
   */
  async add({ subject, descriptor }: Referrer, isListed: boolean, options: CallOptions): Promise<void> {
    if (isListed) {
      this.#support.note('api');
      return;
    }
    const what = `manifest ${descriptor.digest} is pushed, but not yet listed with its subject ${subject.digest}`;
    await this.#change(subject, { kind: 'add', descriptor }, what, options);
  }

  /** The referrer that a manifest is, where its deletion has to be followed by {@link remove}. */
  async findForRemoval(descriptor: Descriptor, options: CallOptions): Promise<Referrer | undefined> {
    if (this.#support.state === 'api') return undefined;
    try {
      const stored = await readManifest(this.#context, descriptor.digest, options);
      return stored === undefined ? undefined : readReferrer(stored);
    } catch (error) {
      // What cannot be read can still be deleted, and was never listed by us.
      if (isFerryError(error, 'MANIFEST_INVALID') || isFerryError(error, 'SIZE_EXCEEDED')) return undefined;
      if (isFerryError(error, 'DIGEST_MISMATCH')) return undefined;
      throw error;
    }
  }

  /** Takes a deleted manifest off the list of its subject. @throws FerryError with the code of its cause */
  async remove({ subject, descriptor }: Referrer, options: CallOptions): Promise<void> {
    const what = `manifest ${descriptor.digest} is deleted, but still listed with its subject ${subject.digest}`;
    await this.#change(subject, { kind: 'remove', digest: descriptor.digest }, what, options);
  }

  async #change(
    subject: Descriptor,
    change: Parameters<ReferrersIndexes['change']>[1],
    what: string,
    options: CallOptions,
  ): Promise<void> {
    try {
      await this.#indexes.change(subject.digest, change, options);
    } catch (cause) {
      if (!isFerryError(cause)) throw cause;
      throw new FerryError(cause.code, what, { cause, hint: cause.hint });
    }
  }

  async *#listByApi(subject: Descriptor, options: ReferrersOptions): AsyncGenerator<Descriptor> {
    const { base } = this.#context;
    const first = new URL(`referrers/${subject.digest}`, base);
    if (options.artifactType !== undefined) first.searchParams.set('artifactType', options.artifactType);
    const trail = new PageTrail(first, { within: base.pathname });
    let page: URL | undefined = first;
    while (page !== undefined) {
      const response =
        page === first ? await this.#ask(first, options) : await this.#askFurther(page, options);
      if (response === undefined) return;
      const body = await collect(response.body, MAX_PAGE_BYTES, `list at ${redactUrl(page)}`);
      const { manifests } = parseImageIndex(body);
      const taken: PageTaken<Descriptor> = trail.take(page, response, manifests, (entry) => entry.digest);
      const isFiltered = filtersApplied(response).includes('artifactType');
      for (const referrer of taken.fresh) {
        // A list that names its own subject would send who walks it in circles.
        if (referrer.digest === subject.digest) continue;
        if (isFiltered || hasArtifactType(referrer, options.artifactType)) yield referrer;
      }
      page = taken.next;
    }
  }

  /** Asks for the first page, which also tells whether there is an API; `undefined` where there is nothing to read. */
  async #ask(url: URL, options: CallOptions): Promise<HttpResponse | undefined> {
    const request = this.#request(url, options);
    let response: HttpResponse;
    try {
      response = await this.#context.send(request);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!isLedAway(error, url)) throw error;
      this.#support.note('tag');
      return undefined;
    }
    // GHCR sends a 303 to a page for people.
    const isHere = response.url.origin === url.origin;
    if (isHere && response.status === 200 && mediaTypeOf(response)?.toLowerCase() === IMAGE_INDEX) {
      this.#support.note('api');
      return response;
    }
    if (!isHere || [200, 400, 405, 406].includes(response.status)) {
      await response.discard();
      this.#support.note('tag');
      return undefined;
    }
    const error = await responseError(request, response);
    if (error.status !== 404 && error.status !== 410) throw error;
    // The body may be anything: HTML of a portal, plain text of docker-registry. Only NAME_UNKNOWN says that there is
    // no such repository, and that nothing refers to anything in it.
    if (!error.errors.some(({ code }) => code === 'NAME_UNKNOWN')) this.#support.note('tag');
    return undefined;
  }

  async #askFurther(url: URL, options: CallOptions): Promise<HttpResponse> {
    const request = this.#request(url, options);
    const response = await this.#context.send(request);
    if (response.status !== 200) throw await responseError(request, response);
    return response;
  }

  #request(url: URL, options: CallOptions): HttpRequest {
    return {
      method: 'GET',
      url,
      headers: { accept: IMAGE_INDEX },
      signal: options.signal,
      access: accessTo(this.#context.name, 'read'),
      bufferUpTo: MAX_PAGE_BYTES,
    };
  }

  async *#listByTag(subject: Descriptor, options: ReferrersOptions): AsyncGenerator<Descriptor> {
    const index = await readReferrersIndex(this.#context, subject.digest, options);
    const entries = new Map((index?.manifests ?? []).map((entry) => [entry.digest, entry]));
    for (const entry of entries.values()) {
      if (entry.digest === subject.digest) continue;
      if (hasArtifactType(entry, options.artifactType)) yield entry;
      else {
        const referrer = await this.#lookInside(entry, subject, options);
        if (referrer !== undefined) yield referrer;
      }
    }
  }

  /**
   * Reads a manifest whose entry does not have the type that is asked for: other tools write the config's media type,
   * or none, where the manifest has an artifactType (Sigstore bundles on GHCR: ghcr/G14).
   */
  async #lookInside(
    entry: Descriptor,
    subject: Descriptor,
    options: ReferrersOptions,
  ): Promise<Descriptor | undefined> {
    if (!isManifestMediaType(entry.mediaType)) return undefined;
    try {
      const stored = await readManifest(this.#context, entry.digest, options);
      const referrer = stored === undefined ? undefined : readReferrer(stored);
      if (referrer?.subject.digest !== subject.digest) return undefined;
      return hasArtifactType(referrer.descriptor, options.artifactType) ? referrer.descriptor : undefined;
    } catch (error) {
      if (isFerryError(error, 'MANIFEST_INVALID')) return undefined;
      throw error;
    }
  }
}

/** Shape: `OCI-Filters-Applied: artifactType`. @see distribution-spec v1.1.1, "Listing Referrers" */
function filtersApplied(response: HttpResponse): readonly string[] {
  return (response.header('oci-filters-applied') ?? '').split(',').map((name) => name.trim());
}

/** Whether a request failed at a place that the registry redirected it to. */
function isLedAway(error: unknown, url: URL): boolean {
  // Refused by us, since it led to an unsafe place or round and round.
  if (isFerryError(error, 'REGISTRY_REFUSED') && !(error instanceof ResponseError)) return true;
  return (
    error instanceof TransportError && URL.canParse(error.url) && new URL(error.url).origin !== url.origin
  );
}
