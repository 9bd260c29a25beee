import type {
  ArchiveLocation,
  ChannelSource,
  MetadataAnswer,
  OpenMetadataOptions,
  Validators,
} from '../conda/channel-source.js';
import { sidecarFilename } from '../conda/sidecar.js';
import { FerryError } from '../errors.js';
import { resolveServerUrl } from '../http/server-url.js';
import type { ClockOptions } from '../http/clock.js';
import { restOf, resumedBody } from '../http/resume.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest, HttpResponse, Send } from '../http/send.js';
import type { Bytes, OpenOptions } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';

/** An ordinary conda channel on a web server. */
export class HttpChannel implements ChannelSource {
  readonly url: string;
  readonly #base: URL;
  readonly #send: Send;
  readonly #clock: ClockOptions;

  /** @param base the channel's URL, such as `https://conda.anaconda.org/conda-forge`; a query is not allowed */
  constructor(base: URL, send: Send, clock: ClockOptions = {}) {
    this.#base = new URL(base);
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/';
    this.url = redactUrl(base).replace(/\/+$/, '');
    this.#send = send;
    this.#clock = clock;
  }

  /** A web server cannot list folders. */
  async subdirs(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async openMetadata(path: string, options: OpenMetadataOptions = {}): Promise<MetadataAnswer> {
    return this.#openFile(this.#inside(path), options);
  }

  async openLinked(
    url: string,
    options: OpenMetadataOptions & { readonly subdir: string },
  ): Promise<MetadataAnswer> {
    return this.#openFile(resolveServerUrl(url, new URL(`${options.subdir}/`, this.#base)), options);
  }

  async #openFile(url: URL, options: OpenMetadataOptions): Promise<MetadataAnswer> {
    const request = {
      ...this.#requestFor('GET', url, options.signal),
      headers: conditionsOf(options.unless),
    };
    const response = await this.#send(request);
    if (response.status === 304) {
      await response.discard();
      return { status: 'unchanged' };
    }
    if (response.status === 404 || response.status === 410) {
      await response.discard();
      return { status: 'absent' };
    }
    if (response.status !== 200) throw await responseError(request, response);
    const validators = validatorsOf(response);
    // Nothing else tells whether a later piece belongs to the same file.
    const { etag } = validators;
    const isResumable = etag !== undefined && !etag.startsWith('W/');
    const body = isResumable
      ? resumedBody({
          send: this.#send,
          request: { ...request, headers: {} },
          first: response,
          etag,
          clock: this.#clock,
        })
      : response.body;
    return { status: 'found', body, validators };
  }

  async openSidecar(
    archive: ArchiveLocation,
    sha256: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<MetadataAnswer> {
    const url = new URL(this.#archiveUrl(archive));
    // Behind the name: a query stays what it is.
    url.pathname = sidecarFilename(url.pathname, sha256);
    const request = this.#requestFor('GET', url, options.signal);
    const response = await this.#send(request);
    if (response.status === 404 || response.status === 410) {
      await response.discard();
      return { status: 'absent' };
    }
    if (response.status !== 200) throw await responseError(request, response);
    return { status: 'found', body: response.body, validators: {} };
  }

  async *openArchive(archive: ArchiveLocation, options: OpenOptions = {}): Bytes {
    const request = this.#requestFor('GET', this.#archiveUrl(archive), options.signal);
    const { offset = 0 } = options;
    let response = await this.#send(restOf(request, offset));
    if (response.status === 416 && offset > 0) {
      // There is no more, or no such range to be had: whoever checks the whole finds out.
      await response.discard();
      response = await this.#send(request);
    }
    if (response.status === 404 || response.status === 410) {
      await response.discard();
      throw new FerryError('ARCHIVE_ABSENT', `the source does not have it (${String(response.status)})`);
    }
    const isPart = offset > 0 && response.status === 206;
    if (response.status !== 200 && !isPart) throw await responseError(request, response);
    yield* resumedBody({
      send: this.#send,
      request,
      first: response,
      offset,
      size: archive.size,
      clock: this.#clock,
    });
  }

  async statArchive(
    archive: ArchiveLocation,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly size: number | undefined } | undefined> {
    const request = this.#requestFor('HEAD', this.#archiveUrl(archive), options.signal);
    const response = await this.#send(request);
    if (response.status !== 200 && response.status !== 404 && response.status !== 410) {
      throw await responseError(request, response);
    }
    await response.discard();
    if (response.status !== 200) return undefined;
    const size = response.header('content-length');
    return { size: size === undefined ? undefined : Number(size) };
  }

  #inside(path: string): URL {
    const url = new URL(path, this.#base);
    if (url.origin === this.#base.origin && url.pathname.startsWith(this.#base.pathname)) return url;
    throw new FerryError('CHANNEL_INVALID', `\`${path}\` leads out of \`${this.url}\``);
  }

  #requestFor(method: 'GET' | 'HEAD', url: URL, signal: AbortSignal | undefined): HttpRequest {
    // A record may send us anywhere, without what is meant for the channel.
    return { method, url, signal, givenBy: url.origin === this.#base.origin ? undefined : this.#base };
  }

  #archiveUrl(archive: ArchiveLocation): URL {
    const folder = new URL(`${archive.subdir}/`, this.#base);
    if (archive.url !== undefined) return resolveServerUrl(archive.url, folder);
    return new URL(encodeURIComponent(archive.filename), folder);
  }
}

function conditionsOf(validators: Validators | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  if (validators?.etag !== undefined) headers['if-none-match'] = validators.etag;
  if (validators?.lastModified !== undefined) headers['if-modified-since'] = validators.lastModified;
  return headers;
}

function validatorsOf(response: HttpResponse): Validators {
  return { etag: response.header('etag'), lastModified: response.header('last-modified') };
}
