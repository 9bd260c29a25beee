/**
 * The read half of the distribution API, so that `oci://` clients can use whatever store there is: an image layout as it
 * lies, a registry through the cache. Anybody may read, whatever credentials are sent; nobody may write.
 * @see distribution-spec v1.1.1, "Endpoints" end-1 to end-3, end-8, end-12
 */
import { Hono } from 'hono';
import { isFerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '../../oci/media-types.js';
import { hasArtifactType } from '../../oci/referrers.js';
import type { CallOptions, Repository } from '../../oci/storage.js';
import { withDeadline } from '../../io/deadline.js';
import type { ContentOrigin } from '../cache/content-source.js';
import { memoryContent } from '../cache/memory-contents.js';
import type { Content } from '../content.js';
import { replyWithContent } from '../reply/content-reply.js';
import {
  COMMON_HEADERS,
  replyWithDistributionError,
  replyWithFailure,
  replyWithJson,
  type DistributionErrorCode,
} from './distribution-reply.js';
import { ANY_BYTES, BlobReader } from './blob-reader.js';
import { parseEndPoint, type EndPoint } from './end-point.js';
import { HeldAnswers } from './held-answers.js';
import { pageOf } from './list-page.js';
import { ManifestReader } from './manifest-reader.js';

/** A repository that clients may read. */
export interface OfferedRepository {
  readonly repository: Repository;
  /**
   * Whether clients ask for it without knowing that it is there, such as for `run_exports.json`. Registries tell strangers
   * the same of what is absent and of what is private, so there a refusal means that there is nothing.
   * @defaultValue false: a refusal is passed on as a failure
   * @see ghcr/G5
   */
  readonly isOptional?: boolean | ((signal: AbortSignal) => Promise<boolean>) | undefined;
}

/** Options of {@link createDistributionRoutes}. */
export interface DistributionOptions {
  /** The repository that clients know by that name, such as `conda-forge/noarch/tzdata`; whether it exists or not. */
  readonly resolveRepository: (name: string) => OfferedRepository | undefined;
  /** Brings content and keeps it: the cache. */
  readonly content: (origin: ContentOrigin, options: CallOptions) => Promise<Content>;
  /** Names of all repositories; `undefined` where the stores cannot tell. @defaultValue they cannot */
  readonly catalog?: ((options: CallOptions) => Promise<readonly string[] | undefined>) | undefined;
  /** How long a client waits for what a store takes, in milliseconds; a blob comes on for those who ask again. @defaultValue 25 seconds */
  readonly timeLimitMs?: number | undefined;
  /** Clock, in milliseconds. @defaultValue `performance.now` */
  readonly now?: (() => number) | undefined;
}

/** Clients give up, or their proxies do, after half a minute. */
const DEFAULT_TIME_LIMIT_MS = 25_000;
/** After a refusal, which may have taken as long as the limit above: together they are less than half a minute. */
const OPTIONAL_LIMIT_MS = 4_000;
/** Short enough for who waits for a new tag, long enough to ask a registry once for a thousand clients. */
const TAG_MAX_AGE_MS = 5_000;
const MAX_LISTS_BYTES = 64 * 1024 * 1024;
/** Of a tag or a repository's name in a list, about. */
const NAME_BYTES = 64;
/** Of a descriptor with its annotations, about. */
const DESCRIPTOR_BYTES = 1024;
/** Nobody checks it; some clients insist on one. */
const TOKEN = 'anonymous';
const TOKEN_SECONDS = 3600;

const FOREVER = 'max-age=31536000, immutable';
const SHORTLY = `max-age=${String(TAG_MAX_AGE_MS / 1000)}`;
const MEDIA_TYPE = /^[a-z0-9][\w!#$&^.+-]*\/[a-z0-9][\w!#$&^.+-]*$/i;

const ABSENT_CODES: Readonly<Record<RepositoryEndPoint['kind'], DistributionErrorCode>> = {
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  tags: 'NAME_UNKNOWN',
  referrers: 'NAME_UNKNOWN',
};

type RepositoryEndPoint = Extract<EndPoint, { kind: 'manifest' | 'blob' | 'tags' | 'referrers' }>;
type EndPointOf<K extends RepositoryEndPoint['kind']> = Omit<Extract<EndPoint, { kind: K }>, 'kind'>;

/** Makes the routes `/v2`, `/v2/…` and `/token`. */
export function createDistributionRoutes(options: DistributionOptions): Hono {
  const routes = new DistributionRoutes(options);
  const app = new Hono();
  app.all('/token', ({ req }) => tokenReply(req.raw));
  app.all('/v2/token', ({ req }) => tokenReply(req.raw));
  app.all('/v2', ({ req }) => routes.reply(req.raw));
  app.all('/v2/*', ({ req }) => routes.reply(req.raw));
  return app;
}

class DistributionRoutes {
  readonly #options: DistributionOptions;
  readonly #timeLimitMs: number;
  readonly #manifests: ManifestReader;
  /** Tags and the catalog. */
  readonly #lists: HeldAnswers<readonly string[] | undefined>;
  readonly #referrers: HeldAnswers<readonly Descriptor[]>;
  readonly #blobs: BlobReader;

  constructor(options: DistributionOptions) {
    const { timeLimitMs = DEFAULT_TIME_LIMIT_MS, now = () => performance.now() } = options;
    this.#options = options;
    this.#timeLimitMs = timeLimitMs;
    const freshness = { maxAgeMs: TAG_MAX_AGE_MS, timeLimitMs, now };
    this.#manifests = new ManifestReader(freshness);
    this.#blobs = new BlobReader({ ...freshness, content: options.content });
    const bounds = { ...freshness, maxAgeMs: () => TAG_MAX_AGE_MS, maxBytes: MAX_LISTS_BYTES };
    this.#lists = new HeldAnswers({ ...bounds, bytesOf: (list) => (list?.length ?? 0) * NAME_BYTES });
    this.#referrers = new HeldAnswers({ ...bounds, bytesOf: (list) => list.length * DESCRIPTOR_BYTES });
  }

  /** The path is read before the method: what could never be there is refused in the same way to who reads and writes. */
  async reply(request: Request): Promise<Response> {
    const { path, query } = addressOf(request.url);
    const endPoint = parseEndPoint(path);
    if (endPoint.kind === 'refused') return replyWithDistributionError(request, endPoint.error);
    if (request.method !== 'GET' && request.method !== 'HEAD') return writeReply(request);
    if (endPoint.kind === 'base') return replyWithJson(request, {});
    if (endPoint.kind === 'upload') {
      return absentReply(request, 'BLOB_UPLOAD_UNKNOWN', 'nothing can be uploaded here');
    }
    if (endPoint.kind !== 'catalog') return this.#replyOf(request, endPoint, query);
    try {
      return await this.#catalog(request, query);
    } catch (error) {
      return replyWithFailure(request, error, 'UNSUPPORTED');
    }
  }

  async #replyOf(request: Request, endPoint: RepositoryEndPoint, query: URLSearchParams): Promise<Response> {
    const absent = ABSENT_CODES[endPoint.kind];
    let offered: OfferedRepository | undefined;
    try {
      offered = this.#options.resolveRepository(endPoint.name);
      if (offered === undefined) return unknownName(request, endPoint.name);
      return await this.#read(request, offered.repository, endPoint, query);
    } catch (error) {
      if (isRefusal(error) && (await this.#isOptional(request, offered)))
        return unknownName(request, endPoint.name);
      return replyWithFailure(request, error, absent);
    }
  }

  /** Whether a refusal says that there is nothing; as long as that cannot be told, it does not. */
  async #isOptional(request: Request, offered: OfferedRepository | undefined): Promise<boolean> {
    const told = offered?.isOptional;
    if (typeof told !== 'function') return told === true;
    const limitMs = Math.min(OPTIONAL_LIMIT_MS, this.#timeLimitMs);
    try {
      return await withDeadline(limitMs, request.signal, told);
    } catch {
      request.signal.throwIfAborted();
      return false;
    }
  }

  async #read(
    request: Request,
    repository: Repository,
    endPoint: RepositoryEndPoint,
    query: URLSearchParams,
  ): Promise<Response> {
    switch (endPoint.kind) {
      case 'manifest':
        return this.#manifest(request, repository, endPoint);
      case 'blob':
        return this.#blob(request, repository, endPoint);
      case 'tags':
        return this.#tags(request, repository, endPoint, query);
      case 'referrers':
        return this.#referrersOf(request, repository, endPoint, query.get('artifactType') ?? undefined);
    }
  }

  async #manifest(
    request: Request,
    repository: Repository,
    { name, reference }: EndPointOf<'manifest'>,
  ): Promise<Response> {
    const stored = await this.#manifests.read(name, repository, reference);
    if (stored === undefined) {
      return absentReply(request, 'MANIFEST_UNKNOWN', `\`${name}\` has no manifest \`${reference}\``);
    }
    const { digest, mediaType } = stored.descriptor;
    return replyWithContent(request, {
      content: memoryContent(digest, stored.bytes),
      // It is what somebody wrote into a store, and goes into a header.
      mediaType: MEDIA_TYPE.test(mediaType) ? mediaType : ANY_BYTES,
      cacheControl: reference === digest ? FOREVER : SHORTLY,
      headers: { ...COMMON_HEADERS, 'docker-content-digest': digest },
    });
  }

  async #blob(
    request: Request,
    repository: Repository,
    { name, digest }: EndPointOf<'blob'>,
  ): Promise<Response> {
    const wanted = { name, repository, digest, size: this.#manifests.blobSize(name, digest) };
    const content = await (request.method === 'HEAD'
      ? this.#blobs.stat(wanted, signalOf(request))
      : withDeadline(this.#timeLimitMs, request.signal, (signal) => this.#blobs.read(wanted, { signal })));
    return replyWithContent(request, {
      content,
      mediaType: ANY_BYTES,
      cacheControl: FOREVER,
      headers: { ...COMMON_HEADERS, 'docker-content-digest': digest },
    });
  }

  async #tags(
    request: Request,
    repository: Repository,
    { name }: EndPointOf<'tags'>,
    query: URLSearchParams,
  ): Promise<Response> {
    const tags = await this.#lists.get(name, async (signal) =>
      (await collectAll(repository.tags({ signal }))).sort(compareText),
    );
    // A store gives no tags where the repository is absent, and hardly one that is there is without any.
    if (tags === undefined || tags.length === 0) return unknownName(request, name);
    return listReply(request, `/v2/${name}/tags/list`, query, tags, (items) => ({ name, tags: items }));
  }

  async #referrersOf(
    request: Request,
    repository: Repository,
    { name, digest }: EndPointOf<'referrers'>,
    artifactType: string | undefined,
  ): Promise<Response> {
    if (repository.referrers === undefined) {
      return absentReply(request, 'UNSUPPORTED', 'the store does not tell what refers to a manifest');
    }
    // All of them, so that one question answers for any type.
    const all = await this.#referrers.get(`${name}@${digest}`, async (signal) => {
      const subject = { mediaType: IMAGE_MANIFEST, digest, size: 0 };
      const found = await collectAll(repository.referrers?.(subject, { signal }) ?? []);
      return found.sort((a, b) => compareText(a.digest, b.digest));
    });
    const manifests = all.filter((descriptor) => hasArtifactType(descriptor, artifactType));
    const headers = {
      'content-type': IMAGE_INDEX,
      'cache-control': SHORTLY,
      ...(artifactType === undefined ? {} : { 'oci-filters-applied': 'artifactType' }),
    };
    return replyWithJson(request, { schemaVersion: 2, mediaType: IMAGE_INDEX, manifests }, { headers });
  }

  async #catalog(request: Request, query: URLSearchParams): Promise<Response> {
    // No repository has an empty name.
    const names = await this.#lists.get('', async (signal) => {
      const found = await this.#options.catalog?.({ signal });
      return found === undefined ? undefined : [...found].sort(compareText);
    });
    if (names === undefined) {
      return absentReply(request, 'UNSUPPORTED', 'the stores do not tell which repositories they have');
    }
    return listReply(request, '/v2/_catalog', query, names, (repositories) => ({ repositories }));
  }
}

function tokenReply(request: Request): Response {
  // Some clients ask by POST first, as OAuth 2 has it.
  if (!['GET', 'HEAD', 'POST'].includes(request.method)) return writeReply(request);
  const issuedAt = new Date().toISOString();
  const document = { token: TOKEN, access_token: TOKEN, expires_in: TOKEN_SECONDS, issued_at: issuedAt };
  return replyWithJson(request, document);
}

function writeReply(request: Request): Response {
  return replyWithDistributionError(request, {
    status: 405,
    code: 'UNSUPPORTED',
    message: 'this registry is to be read only',
    headers: { allow: 'GET, HEAD' },
  });
}

function absentReply(request: Request, code: DistributionErrorCode, message: string): Response {
  return replyWithDistributionError(request, { status: 404, code, message });
}

function unknownName(request: Request, name: string): Response {
  return absentReply(request, 'NAME_UNKNOWN', `there is no repository \`${name}\``);
}

function listReply(
  request: Request,
  path: string,
  query: URLSearchParams,
  sorted: readonly string[],
  documentOf: (items: readonly string[]) => unknown,
): Response {
  const page = pageOf(sorted, path, query);
  if (page === undefined) {
    const message = 'n is not a number';
    return replyWithDistributionError(request, { status: 400, code: 'PAGINATION_NUMBER_INVALID', message });
  }
  const headers = { 'cache-control': SHORTLY, ...(page.link === undefined ? {} : { link: page.link }) };
  return replyWithJson(request, documentOf(page.items), { headers });
}

/** Path as it was sent, and query. `URL` would decode and fold what must be refused. */
function addressOf(url: string): { readonly path: string; readonly query: URLSearchParams } {
  const start = url.indexOf('/', url.indexOf('://') + '://'.length);
  const mark = url.indexOf('?', start);
  const path = url.slice(start, mark === -1 ? undefined : mark);
  return { path, query: new URLSearchParams(mark === -1 ? '' : url.slice(mark)) };
}

/** A signal that is only made when somebody wants it: with Node's server that costs more than the rest of a hit. */
function signalOf(request: Request): CallOptions {
  return {
    get signal() {
      return request.signal;
    },
  };
}

function isRefusal(error: unknown): boolean {
  return isFerryError(error, 'DENIED') || isFerryError(error, 'UNAUTHORIZED');
}

async function collectAll<T>(items: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
