import { z } from 'zod';
import { FerryError, isFerryError, ResponseError, type FerryErrorCode } from '../errors.js';
import { readErrorBody } from '../http/rate-limit.js';
import type { HttpRequest, HttpResponse, Send } from '../http/send.js';
import { retryAfterMs } from '../http/retry.js';
import { collect } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { Turns } from '../io/turns.js';
import { redactText, redactUrl } from '../io/redact.js';
import { isRepositoryName } from '../oci/reference.js';
import type { CallOptions, DeleteOptions } from '../oci/storage.js';
import { MAX_PAGE_BYTES, PageTrail, type PageTaken } from './page-trail.js';

const DEFAULT_API_URL = 'https://api.github.com/';
/** The most that GitHub gives. */
const ENTRIES_PER_PAGE = 100;
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

/** What GitHub says of a package. */
export interface PackageDescription {
  /** Such as `public` or `private`. */
  readonly visibility: string;
  /** The repository that it belongs to, such as `conda-forge/mirror`; whose workflows may then write it. */
  readonly repository: string | undefined;
}

/** A version of a package: one manifest. */
interface PackageVersion {
  readonly id: number;
  /** A digest. */
  readonly name: string;
  readonly tags: readonly string[];
}

const versionSchema = z.looseObject({
  id: z.int().positive(),
  name: z.string(),
  metadata: z
    .looseObject({ container: z.looseObject({ tags: z.array(z.string()).nullish() }).nullish() })
    .nullish(),
});
const versionsSchema = z.array(versionSchema);

/**
 * Deletes what ghcr.io holds, which answers every DELETE of the registry API with 405: by "package versions" of
 * GitHub's REST API, each of which is a manifest. Finding a version reads the package's list, a hundred with each
 * request; those seen on the way are remembered for the next deletions in the same package, which go one by one: a
 * version that goes while the list is read would move others from one page to another, past the reader. It also tells the
 * repositories of the owner, since ghcr.io has no `_catalog`.
 * @see docs.github.com, "REST API endpoints for packages" (2022-11-28); containers/skopeo#1880
 */
export class GithubPackages {
  readonly #send: Send;
  readonly #owner: string;
  readonly #apiUrl: URL;
  /** Which kind the owner is; `undefined` until a package of theirs was found. */
  #kind: 'orgs' | 'users' | undefined;
  readonly #turns = new Turns();
  /** Numbers by digest, of the package last used: cleaning up goes package by package. */
  #seen: { readonly list: string; readonly ids: Map<string, number> } | undefined;

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
   * Deletes the manifest `digest` of `repository`, such as `conda-forge/linux-64/zlib`, with all its tags. If
   * `options.tags` is given and the version has other tags too, it stays. GitHub does not delete the last version that
   * has a tag: with `options.withRepository` the whole package goes instead, and whoever pushes it again gets a new one,
   * with the settings of new ones.
   * @returns `false` where there is no such package or version, as far as this token can see: GitHub hides what one may
   * not read
   * @throws FerryError `UNSUPPORTED` for other tags or a repository of another owner; ResponseError `DENIED` for lack of
   * rights, and for versions with more than 5,000 downloads
   */
  async deleteManifest(repository: string, digest: Digest, options: DeleteOptions = {}): Promise<boolean> {
    const path = `${this.#packagePath(repository)}/versions`;
    const work = async (): Promise<boolean> => {
      for (const kind of this.#kind === undefined ? (['orgs', 'users'] as const) : [this.#kind]) {
        const list = new URL(`${kind}/${this.#owner}/${path}`, this.#apiUrl);
        const version =
          (await this.#recall(list, digest, options)) ?? (await this.#find(list, digest, options));
        if (version === undefined) continue;
        this.#kind = kind;
        if (version === 'absent') return false;
        checkTags(repository, version, options.tags);
        return this.#deleteVersion(list, version, options);
      }
      return false;
    };
    return this.#turns.run(path, work, options.signal);
  }

  /**
   * Looks a package up, such as `conda-forge/linux-64/zlib`; `undefined` where there is none that this token can see.
   * @throws FerryError `UNSUPPORTED` for a repository of another owner; ResponseError by the answer
   */
  async describe(repository: string, options: CallOptions = {}): Promise<PackageDescription | undefined> {
    const path = this.#packagePath(repository);
    for (const kind of this.#kind === undefined ? (['orgs', 'users'] as const) : [this.#kind]) {
      const url = new URL(`${kind}/${this.#owner}/${path}`, this.#apiUrl);
      const request = this.#request('GET', url, options);
      const response = await this.#send(request);
      if (response.status === 404) {
        await response.discard();
        continue;
      }
      if (response.status !== 200) throw await githubError(request, response);
      this.#kind = kind;
      const body = await collect(response.body, MAX_PAGE_BYTES, `package at ${redactUrl(url)}`);
      return parseDescription(body, url);
    }
    return undefined;
  }

  /**
   * Lists the repositories of the owner on ghcr.io that this token can see, such as `conda-forge/linux-64/zlib`, a hundred with
   * each request; `undefined` where GitHub tells of none, refuses, or is not to be reached from here: what one may not read it
   * hides, and it is asked beside the registry.
   * @throws ResponseError `RATE_LIMITED` and others by the answer; FerryError `REGISTRY_REFUSED` for a list that does not end
   */
  async repositories(options: CallOptions = {}): Promise<readonly string[] | undefined> {
    for (const kind of this.#kind === undefined ? (['orgs', 'users'] as const) : [this.#kind]) {
      const list = new URL(`${kind}/${this.#owner}/packages`, this.#apiUrl);
      const names = await this.#list(list, options).catch((error: unknown) => {
        if (isFerryError(error, 'NETWORK') || isFerryError(error, 'TIMEOUT')) return undefined;
        throw error;
      });
      if (names === undefined) continue;
      const repositories = names
        .map((name) => `${this.#owner.toLowerCase()}/${name}`)
        .filter(isRepositoryName);
      return repositories.length === 0 ? undefined : repositories;
    }
    return undefined;
  }

  async #list(list: URL, options: CallOptions): Promise<readonly string[] | undefined> {
    const first = new URL(list);
    first.searchParams.set('package_type', 'container');
    first.searchParams.set('per_page', String(ENTRIES_PER_PAGE));
    const trail = new PageTrail(first, { within: this.#apiUrl.pathname, allowsEncoding: true });
    const names: string[] = [];
    let page: URL | undefined = first;
    while (page !== undefined) {
      const request = this.#request('GET', page, options);
      const response = await this.#send(request);
      if (page === first && [401, 403, 404].includes(response.status)) {
        const error = await githubError(request, response);
        if (error.code === 'RATE_LIMITED') throw error;
        return undefined;
      }
      if (response.status !== 200) throw await githubError(request, response);
      const body = await collect(response.body, MAX_PAGE_BYTES, `list at ${redactUrl(page)}`);
      const taken: PageTaken<string> = trail.take(page, response, parseNames(body, page), (name) => name);
      names.push(...taken.fresh);
      page = taken.next;
    }
    return names;
  }

  /** Such as `packages/container/linux-64%2Fzlib`. @throws FerryError `UNSUPPORTED` for what is another owner's */
  #packagePath(repository: string): string {
    const [owner = '', ...rest] = repository.split('/');
    if (owner !== this.#owner.toLowerCase() || rest.length === 0) {
      throw new FerryError(
        'UNSUPPORTED',
        `\`${repository}\` is not a package of \`${this.#owner}\` on GitHub`,
      );
    }
    return `packages/container/${encodeURIComponent(rest.join('/'))}`;
  }

  /** A version whose number is remembered, as it is now; its tags may have changed. */
  async #recall(list: URL, digest: Digest, options: DeleteOptions): Promise<PackageVersion | undefined> {
    const id = this.#seen?.list === list.href ? this.#seen.ids.get(digest) : undefined;
    if (id === undefined) return undefined;
    this.#seen?.ids.delete(digest);
    const url = versionUrl(list, id);
    const request = this.#request('GET', url, options);
    const response = await this.#send(request);
    if (response.status === 404) {
      await response.discard();
      return undefined;
    }
    if (response.status !== 200) throw await githubError(request, response);
    const body = await collect(response.body, MAX_PAGE_BYTES, `version at ${redactUrl(url)}`);
    const version = parseVersions(
      versionSchema.transform((one) => [one]),
      body,
      url,
    )[0];
    return version?.name === digest ? version : undefined;
  }

  /** Looks through the versions; `undefined` where there is no such package, as far as this token can see. */
  async #find(
    list: URL,
    digest: Digest,
    options: DeleteOptions,
  ): Promise<PackageVersion | 'absent' | undefined> {
    const first = new URL(list);
    const ids = new Map<string, number>();
    first.searchParams.set('per_page', String(ENTRIES_PER_PAGE));
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
        parseVersions(versionsSchema, body, page),
        ({ id }) => String(id),
      );
      this.#seen = { list: list.href, ids };
      for (const { id, name } of taken.fresh) if (name !== digest) ids.set(name, id);
      const found = taken.fresh.find(({ name }) => name === digest);
      if (found !== undefined) return found;
      page = taken.next;
    }
    return 'absent';
  }

  async #deleteVersion(list: URL, version: PackageVersion, options: DeleteOptions): Promise<boolean> {
    try {
      await this.#delete(versionUrl(list, version.id), options);
    } catch (error) {
      const isWanted = options.withRepository === true && version.tags.length > 0;
      if (!isWanted || !isLastTagged(error)) throw error;
      // All other versions of it have no tag: nothing that has a name goes along.
      await this.#delete(new URL(list.href.replace(/\/versions$/, '')), options);
      this.#seen = undefined;
    }
    return true;
  }

  async #delete(url: URL, options: DeleteOptions): Promise<void> {
    const request = this.#request('DELETE', url, options);
    const response = await this.#send(request);
    // 404: somebody else was faster, or an earlier try of ours.
    if (![200, 202, 204, 404].includes(response.status)) throw await githubError(request, response);
    await response.discard();
  }

  #request(method: 'GET' | 'DELETE', url: URL, options: CallOptions): HttpRequest {
    return {
      method,
      url,
      headers: { accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' },
      signal: options.signal,
      // By number, which is never given twice.
      repeatable: true,
      bufferUpTo: method === 'GET' ? MAX_PAGE_BYTES : undefined,
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

function versionUrl(list: URL, id: number): URL {
  return new URL(`${list.href}/${String(id)}`);
}

function parseVersions(
  schema: z.ZodType<z.infer<typeof versionsSchema>>,
  body: Uint8Array,
  url: URL,
): PackageVersion[] {
  try {
    const versions = schema.parse(JSON.parse(Buffer.from(body).toString('utf8')));
    return versions.map(({ id, name, metadata }) => ({ id, name, tags: metadata?.container?.tags ?? [] }));
  } catch (cause) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(url)} did not answer with package versions`, {
      cause,
    });
  }
}

const namesSchema = z.array(z.looseObject({ name: z.string() }));

function parseNames(body: Uint8Array, url: URL): readonly string[] {
  try {
    return namesSchema.parse(JSON.parse(Buffer.from(body).toString('utf8'))).map(({ name }) => name);
  } catch (cause) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(url)} did not answer with packages`, { cause });
  }
}

const packageSchema = z.looseObject({
  visibility: z.string(),
  repository: z.looseObject({ full_name: z.string() }).nullish(),
});

function parseDescription(body: Uint8Array, url: URL): PackageDescription {
  try {
    const { visibility, repository } = packageSchema.parse(JSON.parse(Buffer.from(body).toString('utf8')));
    return { visibility, repository: repository?.full_name };
  } catch (cause) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(url)} did not answer with a package`, { cause });
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

/** GitHub gives no code for it: `You cannot delete the last tagged version of a package. …` */
function isLastTagged(error: unknown): boolean {
  return (
    error instanceof ResponseError && error.status === 400 && /\blast tagged version\b/i.test(error.message)
  );
}

async function readMessage(response: HttpResponse): Promise<string> {
  const body = await readErrorBody(response);
  try {
    const { message } = z
      .looseObject({ message: z.string() })
      .parse(JSON.parse(Buffer.from(body).toString('utf8')));
    return redactText(message).slice(0, MAX_MESSAGE_CHARACTERS);
  } catch {
    // The status is what counts.
    return '';
  }
}
