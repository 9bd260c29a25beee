import { z } from 'zod';
import { FerryError, ResponseError, type FerryErrorCode } from '../errors.js';
import type { HttpRequest, HttpResponse, Send } from '../http/send.js';
import { retryAfterMs } from '../http/retry.js';
import { collect } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { redactUrl } from '../io/redact.js';
import type { DeleteOptions } from '../oci/storage.js';
import { MAX_PAGE_BYTES, PageTrail, type PageTaken } from './page-trail.js';

const DEFAULT_API_URL = 'https://api.github.com/';
/** The most that GitHub gives. */
const VERSIONS_PER_PAGE = 100;
const MAX_ERROR_BODY_BYTES = 8 * 1024;
const MAX_MESSAGE_CHARACTERS = 300;
const DELETE_HINT =
  'use a classic token with the scopes read:packages and delete:packages, of an admin of the package';

/** Options of {@link GithubPackages}. */
export interface GithubPackagesOptions {
  /** Must add the token for the API's origin; none is added here. */
  readonly send: Send;
  /** User or organization, such as `conda-forge`; the first component of its repositories on ghcr.io. */
  readonly owner: string;
  /** @defaultValue `https://api.github.com/`; for GitHub Enterprise `https://HOST/api/v3/` */
  readonly apiUrl?: string | URL | undefined;
}

/** A version of a package: one manifest. */
interface PackageVersion {
  readonly id: number;
  /** A digest. */
  readonly name: string;
  readonly tags: readonly string[];
}

const versionsSchema = z.array(
  z.looseObject({
    id: z.int().positive(),
    name: z.string(),
    metadata: z
      .looseObject({ container: z.looseObject({ tags: z.array(z.string()).nullish() }).nullish() })
      .nullish(),
  }),
);

/**
 * Deletes what ghcr.io holds, which answers every DELETE of the registry API with 405: by "package versions" of
 * GitHub's REST API, each of which is a manifest. A deletion reads the package's list of versions, so it costs a
 * request for each hundred of them.
 * @see docs.github.com, "REST API endpoints for packages" (2022-11-28); containers/skopeo#1880
 */
export class GithubPackages {
  readonly #send: Send;
  readonly #owner: string;
  readonly #apiUrl: URL;
  /** Which kind the owner is; `undefined` until a package of theirs was found. */
  #kind: 'orgs' | 'users' | undefined;

  /** @throws FerryError `REFERENCE_INVALID` for an owner that cannot be one */
  constructor(options: GithubPackagesOptions) {
    if (!/^[a-z0-9][a-z0-9-]*$/i.test(options.owner)) {
      throw new FerryError('REFERENCE_INVALID', `\`${options.owner}\` is no user or organization of GitHub`);
    }
    this.#send = options.send;
    this.#owner = options.owner;
    const apiUrl = new URL(options.apiUrl ?? DEFAULT_API_URL);
    if (!apiUrl.pathname.endsWith('/')) apiUrl.pathname += '/';
    this.#apiUrl = apiUrl;
  }

  /**
   * Deletes the manifest `digest` of `repository`, such as `conda-forge/linux-64/zlib`, with all its tags. Absent
   * packages and versions are deleted. If `options.tags` is given and the version has other tags too, it stays.
   * @throws FerryError `UNSUPPORTED` for other tags or a repository of another owner; ResponseError `DENIED` for lack of
   * rights, and for versions with more than 5,000 downloads
   */
  async deleteManifest(repository: string, digest: Digest, options: DeleteOptions = {}): Promise<void> {
    const [owner = '', ...rest] = repository.split('/');
    if (owner !== this.#owner.toLowerCase() || rest.length === 0) {
      throw new FerryError(
        'UNSUPPORTED',
        `\`${repository}\` is not a package of \`${this.#owner}\` on GitHub`,
      );
    }
    const packageName = encodeURIComponent(rest.join('/'));
    for (const kind of this.#kind === undefined ? (['orgs', 'users'] as const) : [this.#kind]) {
      const owned = new URL(
        `${kind}/${this.#owner}/packages/container/${packageName}/versions`,
        this.#apiUrl,
      );
      const version = await this.#findVersion(owned, digest, options);
      if (version === undefined) continue;
      this.#kind = kind;
      if (version === 'absent') return;
      checkTags(repository, version, options.tags);
      await this.#deleteVersion(new URL(`${owned.href}/${String(version.id)}`), options);
      return;
    }
  }

  /** Looks through the versions; `undefined` where there is no such package, as far as this token can see. */
  async #findVersion(
    url: URL,
    digest: Digest,
    options: DeleteOptions,
  ): Promise<PackageVersion | 'absent' | undefined> {
    const first = new URL(url);
    first.searchParams.set('per_page', String(VERSIONS_PER_PAGE));
    // Links name the owner by number: `/organizations/4711/packages/…`.
    const trail = new PageTrail(first, { within: this.#apiUrl.pathname, allowsEncoding: true });
    let page: URL | undefined = first;
    while (page !== undefined) {
      const request = this.#request('GET', page, options);
      const response = await this.#send(request);
      if (response.status === 404 && page === first) {
        await response.discard();
        return undefined;
      }
      if (response.status !== 200) throw await githubError(request, response);
      const body = await collect(response.body, MAX_PAGE_BYTES, `list at ${redactUrl(page)}`);
      const taken: PageTaken<PackageVersion> = trail.take(
        page,
        response,
        parseVersions(body, page),
        ({ id }) => String(id),
      );
      const found = taken.fresh.find(({ name }) => name === digest);
      if (found !== undefined) return found;
      page = taken.next;
    }
    return 'absent';
  }

  async #deleteVersion(url: URL, options: DeleteOptions): Promise<void> {
    const request = this.#request('DELETE', url, options);
    const response = await this.#send(request);
    // 404: somebody else was faster, or an earlier try of ours.
    if (![200, 202, 204, 404].includes(response.status)) throw await githubError(request, response);
    await response.discard();
  }

  #request(method: 'GET' | 'DELETE', url: URL, options: DeleteOptions): HttpRequest {
    return {
      method,
      url,
      headers: { accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' },
      signal: options.signal,
      // By number, which is never given twice.
      repeatable: true,
    };
  }
}

function checkTags(repository: string, version: PackageVersion, tags: readonly string[] | undefined): void {
  const other = tags === undefined ? undefined : version.tags.find((tag) => !tags.includes(tag));
  if (other === undefined) return;
  throw new FerryError(
    'UNSUPPORTED',
    `${version.name} in \`${repository}\` is tagged \`${other}\` too, and GitHub removes no single tags`,
  );
}

function parseVersions(body: Uint8Array, url: URL): PackageVersion[] {
  try {
    const versions = versionsSchema.parse(JSON.parse(Buffer.from(body).toString('utf8')));
    return versions.map(({ id, name, metadata }) => ({ id, name, tags: metadata?.container?.tags ?? [] }));
  } catch (cause) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(url)} did not answer with package versions`, {
      cause,
    });
  }
}

/** Makes an error of GitHub's `{"message": "…"}`, which is not the form that registries use. */
async function githubError(request: HttpRequest, response: HttpResponse): Promise<ResponseError> {
  const message = await readMessage(response);
  request.signal?.throwIfAborted();
  const url = redactUrl(request.url);
  const code = codeOf(response, message);
  const what = `${request.method} ${url} answered ${String(response.status)}`;
  return new ResponseError(
    code,
    message === '' ? what : `${what} (${message})`,
    { method: request.method, url, status: response.status, retryAfterMs: retryAfterMs(response) },
    { hint: hintOf(code, message) },
  );
}

function codeOf(response: HttpResponse, message: string): FerryErrorCode {
  const { status } = response;
  const isLimited = response.header('x-ratelimit-remaining') === '0' || /rate limit/i.test(message);
  if (status === 429 || (status === 403 && isLimited)) return 'RATE_LIMITED';
  if (status === 401) return 'UNAUTHORIZED';
  // GitHub gives no code for versions that too many people have downloaded, and not always the same status.
  if (status === 403 || isPopular(message)) return 'DENIED';
  return status === 404 ? 'NOT_FOUND' : 'REGISTRY_REFUSED';
}

function hintOf(code: FerryErrorCode, message: string): string | undefined {
  if (code === 'UNAUTHORIZED') return DELETE_HINT;
  if (code !== 'DENIED') return undefined;
  return isPopular(message)
    ? 'GitHub keeps public versions with more than 5,000 downloads; ask GitHub Support to delete it'
    : DELETE_HINT;
}

function isPopular(message: string): boolean {
  return /\b5[,.]?000 downloads\b/i.test(message);
}

async function readMessage(response: HttpResponse): Promise<string> {
  try {
    const body = await collect(response.body, MAX_ERROR_BODY_BYTES, 'error of GitHub');
    const { message } = z
      .looseObject({ message: z.string() })
      .parse(JSON.parse(Buffer.from(body).toString('utf8')));
    // It ends up in terminals and logs.
    return message.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, MAX_MESSAGE_CHARACTERS);
  } catch {
    // The status is what counts.
    return '';
  }
}
