import { isFerryError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { Access, HttpRequest, HttpResponse, Send } from '../http/send.js';
import { openerOf } from '../io/bytes.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import type { CallOptions } from '../oci/storage.js';
import type { GithubPackages } from './github-packages.js';
import { RepositoryClient } from './repository-client.js';
import { sessionUrl, withDigest, type UploadManners } from './upload-session.js';

/** An answer as far as a probe looks at it; its body is gone. */
export interface Answer {
  readonly status: number;
  /** First code of the error body, such as `UNSUPPORTED`. */
  readonly code: string | undefined;
  header(name: string): string | undefined;
}

/** What a {@link ProbeSession} needs. */
export interface ProbeSessionOptions extends CallOptions {
  readonly baseUrl: URL;
  readonly send: Send;
  readonly githubPackages?: GithubPackages | undefined;
}

/** What a probe works with: one repository to try things in, and single requests with their bare answers. */
export class ProbeSession {
  readonly repository: string;
  readonly client: RepositoryClient;
  readonly #baseUrl: URL;
  readonly #send: Send;
  readonly #signal: AbortSignal | undefined;
  readonly #github: GithubPackages | undefined;
  readonly #manners: UploadManners = { singlePost: 'unknown', chunked: false };
  readonly #tags = new Set<string>();

  constructor(options: ProbeSessionOptions, repository: string) {
    this.repository = repository;
    this.#baseUrl = options.baseUrl;
    this.#send = options.send;
    this.#signal = options.signal;
    this.#github = options.githubPackages;
    this.client = this.withSend(options.send);
  }

  /** What the uploads so far showed. */
  get takesSinglePost(): 'yes' | 'no' | 'unknown' {
    return this.#manners.singlePost;
  }

  /** References of tags that are still there. */
  get leftBehind(): readonly string[] {
    return [...this.#tags].map((tag) => `${this.#baseUrl.host}/${this.repository}:${tag}`);
  }

  keep(tag: string): void {
    this.#tags.add(tag);
  }

  forget(tag: string): void {
    this.#tags.delete(tag);
  }

  /** The same repository, reached otherwise. */
  withSend(send: Send): RepositoryClient {
    return new RepositoryClient(this.repository, this.#baseUrl, send, { manners: this.#manners });
  }

  get(path: string, headers: HttpRequest['headers'] = {}): Promise<Answer> {
    return this.#ask({
      method: 'GET',
      url: this.#url(this.repository, path),
      headers,
      access: this.#to('pull'),
    });
  }

  head(path: string, headers: HttpRequest['headers'] = {}): Promise<Answer> {
    return this.#ask({
      method: 'HEAD',
      url: this.#url(this.repository, path),
      headers,
      access: this.#to('pull'),
    });
  }

  delete(path: string): Promise<Answer> {
    return this.#ask({ method: 'DELETE', url: this.#url(this.repository, path), access: this.#to('delete') });
  }

  /** Deletes a manifest by GitHub's own ways, where they are known; that it stays is seen afterwards. */
  async deleteOtherwise({ digest }: Descriptor): Promise<void> {
    try {
      await this.#github?.deleteManifest(this.repository, digest, { signal: this.#signal });
    } catch (error) {
      if (!isFerryError(error)) throw error;
    }
  }

  /** Opens an upload session in any repository, and gives it up. */
  async openUpload(repository: string): Promise<Answer> {
    const url = this.#url(repository, 'blobs/uploads/');
    const access: Access = { repository, actions: ['pull', 'push'] };
    const answer = await this.#ask({ method: 'POST', url, access });
    const location = answer.header('location');
    if (answer.status === 202 && location !== undefined)
      await this.#abandon(sessionUrl(location, url), access);
    return answer;
  }

  /** Asks for a blob to be taken over; a session that is opened instead is given up. */
  async mount(repository: string, { digest }: Descriptor, from: string | undefined): Promise<Answer> {
    const url = this.#url(repository, 'blobs/uploads/');
    url.searchParams.set('mount', digest);
    if (from !== undefined) url.searchParams.set('from', from);
    const access: Access = { repository, actions: ['pull', 'push'], from };
    const answer = await this.#ask({ method: 'POST', url, access });
    const location = answer.header('location');
    if (answer.status === 202 && location !== undefined)
      await this.#abandon(sessionUrl(location, url), access);
    return answer;
  }

  /** Uploads a blob, one PATCH for each text; the answer is the last one, or the first that was not good. */
  async uploadInChunks(texts: readonly string[]): Promise<Answer> {
    const access = this.#to('pull', 'push');
    const start = this.#url(this.repository, 'blobs/uploads/');
    let answer = await this.#ask({ method: 'POST', url: start, access });
    let session = start;
    let position = 0;
    for (const text of texts) {
      const location = answer.header('location');
      if (![201, 202, 204].includes(answer.status) || location === undefined) return answer;
      session = sessionUrl(location, session);
      const bytes = Buffer.from(text, 'utf8');
      const end = position + bytes.byteLength;
      answer = await this.#ask({
        method: 'PATCH',
        url: session,
        headers: {
          'content-type': 'application/octet-stream',
          'content-range': `${String(position)}-${String(end - 1)}`,
        },
        body: { size: bytes.byteLength, open: openerOf(bytes) },
        access,
      });
      position = end;
    }
    const location = answer.header('location');
    if (![201, 202, 204].includes(answer.status) || location === undefined) return answer;
    const blob = describe('application/octet-stream', Buffer.from(texts.join(''), 'utf8'));
    return this.#ask({ method: 'PUT', url: withDigest(sessionUrl(location, session), blob), access });
  }

  async #abandon(url: URL, access: Access): Promise<void> {
    try {
      await this.#ask({ method: 'DELETE', url, access });
    } catch (error) {
      if (!isFerryError(error)) throw error;
    }
  }

  async #ask(request: HttpRequest): Promise<Answer> {
    const { url } = request;
    const isOwn = url.origin === this.#baseUrl.origin;
    const asked: HttpRequest = {
      ...request,
      signal: this.#signal,
      ...(isOwn ? {} : { access: undefined, givenBy: this.#baseUrl }),
    };
    let response: HttpResponse;
    try {
      response = await this.#send(asked);
    } catch (error) {
      // A token that is refused is an answer too.
      if (isFerryError(error, 'DENIED') || isFerryError(error, 'UNAUTHORIZED')) {
        return { status: error.code === 'DENIED' ? 403 : 401, code: error.code, header: () => undefined };
      }
      throw error;
    }
    const header = (name: string): string | undefined => response.header(name);
    if (response.status < 400) {
      await response.discard();
      return { status: response.status, code: undefined, header };
    }
    const { errors } = await responseError(asked, response);
    return { status: response.status, code: errors[0]?.code, header };
  }

  #to(...actions: Access['actions']): Access {
    return { repository: this.repository, actions };
  }

  #url(repository: string, path: string): URL {
    return new URL(`v2/${repository}/${path}`, this.#baseUrl);
  }
}
