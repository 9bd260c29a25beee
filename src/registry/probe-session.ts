import { isFerryError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { Access, HttpRequest, HttpResponse, Send } from '../http/send.js';
import { openerOf } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import type { CallOptions } from '../oci/storage.js';
import type { GithubPackages } from './github-packages.js';
import type { HostProfile } from './host-profile.js';
import { RepositoryClient } from './repository-client.js';
import { accessTo } from './repository-context.js';
import { abandonSession, sessionUrl, withDigest, type UploadManners } from './upload-session.js';

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
  readonly profile?: HostProfile | undefined;
}

const CLEAN_UP_MS = 10_000;

/** What a probe works with: one repository to try things in, and single requests with their bare answers. */
export class ProbeSession {
  readonly repository: string;
  readonly client: RepositoryClient;
  readonly #baseUrl: URL;
  readonly #send: Send;
  readonly #github: GithubPackages | undefined;
  readonly #profile: HostProfile | undefined;
  readonly #manners: UploadManners = { singlePost: 'unknown', chunked: false };
  readonly #blobs: { readonly repository: string; readonly digest: Digest }[] = [];
  #signal: AbortSignal | undefined;
  #artifact: { readonly tag: string; readonly digest: Digest } | undefined;
  #leftBehind: readonly string[] = [];

  constructor(options: ProbeSessionOptions, repository: string) {
    this.repository = repository;
    this.#baseUrl = options.baseUrl;
    this.#send = options.send;
    this.#signal = options.signal;
    this.#github = options.githubPackages;
    this.#profile = options.profile;
    this.client = this.withSend(options.send);
  }

  /** What the uploads so far showed. */
  get takesSinglePost(): 'yes' | 'no' | 'unknown' {
    return this.#manners.singlePost;
  }

  /** References of manifests that {@link cleanUp} could not delete, such as `ghcr.io/me/probe:1`. */
  get leftBehind(): readonly string[] {
    return this.#leftBehind;
  }

  /** Notes an artifact to be deleted, before it is there: an answer may get lost. */
  keep(tag: string, { digest }: Descriptor): void {
    this.#artifact = { tag, digest };
  }

  /** Notes a blob to be deleted. */
  keepBlob({ digest }: Descriptor, repository = this.repository): void {
    this.#blobs.push({ repository, digest });
  }

  /** Whether a tag or digest still names something. */
  async isThere(reference: string): Promise<boolean> {
    return (await this.client.resolve(reference, { signal: this.#signal })) !== undefined;
  }

  /**
   * Deletes what was noted as far as that is possible, within ten seconds and whatever became of the probe. Blobs go
   * last, and stay with a manifest that stays; where they cannot be deleted the registry will collect them.
   */
  async cleanUp(): Promise<void> {
    this.#signal = AbortSignal.timeout(CLEAN_UP_MS);
    try {
      this.#leftBehind = await this.#removeArtifact();
      if (this.#leftBehind.length > 0) return;
      for (const { repository, digest } of this.#blobs) {
        const url = this.#url(repository, `blobs/${digest}`);
        const { status } = await this.#ask({
          method: 'DELETE',
          url,
          access: accessTo(repository, 'delete'),
        });
        if (status === 405) return;
      }
    } catch {
      // Said is what is left; why it could not be deleted would hide what the probe itself failed with.
    }
  }

  async #removeArtifact(): Promise<readonly string[]> {
    if (this.#artifact === undefined) return [];
    const { tag, digest } = this.#artifact;
    const place = `${this.#baseUrl.host}/${this.repository}`;
    // Until it is known to be gone.
    this.#leftBehind = [`${place}:${tag}`];
    if (await this.isThere(digest)) await this.delete(`manifests/${digest}`);
    if (await this.isThere(digest)) await this.#deleteOtherwise(digest);
    if (await this.isThere(tag)) return [`${place}:${tag}`];
    return (await this.isThere(digest)) ? [`${place}@${digest}`] : [];
  }

  /** Deletes a manifest by GitHub's own ways, where they are known; that it stays is seen afterwards. */
  async #deleteOtherwise(digest: Digest): Promise<void> {
    try {
      await this.#github?.deleteManifest(this.repository, digest, { signal: this.#signal });
    } catch (error) {
      if (!isFerryError(error)) throw error;
    }
  }

  /** The same repository, reached otherwise. */
  withSend(send: Send): RepositoryClient {
    return new RepositoryClient(this.repository, this.#baseUrl, send, {
      manners: this.#manners,
      profile: this.#profile,
    });
  }

  get(path: string, headers: HttpRequest['headers'] = {}): Promise<Answer> {
    return this.#ask({
      method: 'GET',
      url: this.#url(this.repository, path),
      headers,
      access: accessTo(this.repository, 'read'),
    });
  }

  head(path: string, headers: HttpRequest['headers'] = {}): Promise<Answer> {
    return this.#ask({
      method: 'HEAD',
      url: this.#url(this.repository, path),
      headers,
      access: accessTo(this.repository, 'read'),
    });
  }

  delete(path: string): Promise<Answer> {
    return this.#ask({
      method: 'DELETE',
      url: this.#url(this.repository, path),
      access: accessTo(this.repository, 'delete'),
    });
  }

  /** Opens an upload session in any repository, and gives it up. */
  async openUpload(repository: string): Promise<Answer> {
    return this.#start(this.#url(repository, 'blobs/uploads/'), accessTo(repository, 'write'));
  }

  /** Asks for a blob to be taken over; a session that is opened instead is given up. */
  async mount(repository: string, blob: Descriptor, from: string | undefined): Promise<Answer> {
    const url = this.#url(repository, 'blobs/uploads/');
    url.searchParams.set('mount', blob.digest);
    if (from !== undefined) url.searchParams.set('from', from);
    this.keepBlob(blob, repository);
    return this.#start(url, { ...accessTo(repository, 'write'), from });
  }

  /**
   * Uploads a blob, one PATCH for each text; the answer is that to the PUT at its end, or the first that was not good. A
   * session that comes to nothing is given up.
   */
  async uploadInChunks(texts: readonly string[]): Promise<Answer> {
    const access = accessTo(this.repository, 'write');
    const blob = describe('application/octet-stream', Buffer.from(texts.join(''), 'utf8'));
    this.keepBlob(blob);
    let session = this.#url(this.repository, 'blobs/uploads/');
    let givenBy: URL | undefined;
    // Once another origin had a say in where it goes on, it goes on without credentials.
    const follow = (location: string): void => {
      session = sessionUrl(location, session);
      if (session.origin !== this.#baseUrl.origin) givenBy = this.#baseUrl;
    };
    const start = await this.#ask({ method: 'POST', url: session, access });
    const place = start.header('location');
    if (start.status !== 202 || place === undefined) return start;
    follow(place);
    let position = 0;
    for (const text of texts) {
      const bytes = Buffer.from(text, 'utf8');
      const end = position + bytes.byteLength;
      const answer = await this.#ask({
        method: 'PATCH',
        url: session,
        headers: {
          'content-type': 'application/octet-stream',
          'content-range': `${String(position)}-${String(end - 1)}`,
        },
        body: { size: bytes.byteLength, open: openerOf(bytes) },
        access,
        givenBy,
      });
      if (![201, 202, 204].includes(answer.status)) return this.#abandon(session, access, givenBy, answer);
      const location = answer.header('location');
      if (location !== undefined) follow(location);
      position = end;
    }
    const answer = await this.#ask({ method: 'PUT', url: withDigest(session, blob), access, givenBy });
    return [200, 201, 204].includes(answer.status) ? answer : this.#abandon(session, access, givenBy, answer);
  }

  /** Starts an upload and gives up the session that comes of it, if any. */
  async #start(url: URL, access: Access): Promise<Answer> {
    const answer = await this.#ask({ method: 'POST', url, access });
    const location = answer.header('location');
    if (answer.status !== 202 || location === undefined) return answer;
    const session = sessionUrl(location, url);
    const givenBy = session.origin === this.#baseUrl.origin ? undefined : this.#baseUrl;
    return this.#abandon(session, access, givenBy, answer);
  }

  async #abandon(url: URL, access: Access, givenBy: URL | undefined, answer: Answer): Promise<Answer> {
    await abandonSession(this.#send, url, givenBy === undefined ? { access } : { givenBy });
    return answer;
  }

  async #ask(request: HttpRequest): Promise<Answer> {
    const { url } = request;
    const isOwn = url.origin === this.#baseUrl.origin && request.givenBy === undefined;
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

  #url(repository: string, path: string): URL {
    return new URL(`v2/${repository}/${path}`, this.#baseUrl);
  }
}
