import { isFerryError } from '../../errors.js';
import { NotGiven, type ArchiveDesk, type GivenArchive } from '../archives/archive-desk.js';
import type { ChannelSet } from '../channels/channel-set.js';
import type { GatewayChannel } from '../channels/gateway-channel.js';
import type { ServedDocument, Staleness } from '../channels/served-channel.js';
import { noteAnswer, type CacheState, type RouteClass } from '../listen/answer-note.js';
import { chooseEncoding } from '../reply/choose-encoding.js';
import { replyWithContent } from '../reply/content-reply.js';
import { replyWithError } from '../reply/error-reply.js';
import { parseChannelPath, type ChannelFile } from './channel-path.js';

/** Name of the gateway in `Cache-Status`. @see RFC 9211 */
const CACHE_NAME = 'conda-ferry';
const ENCODINGS = ['zstd', 'gzip'] as const;
// None says `public`: behind a login that would have shared caches give it to strangers. @see RFC 9111, section 3.5
const IMMUTABLE = 'max-age=31536000, immutable';
/** An archive of a name may be replaced by another one. */
const ARCHIVE_CACHING = 'max-age=3600';
/** A shard's index. @see CEP 16: between a minute and an hour */
const SHARD_INDEX_CACHING = 'max-age=60';
const NO_CACHE = 'no-cache';
const JSON_TYPE = 'application/json';
const ZSTD_TYPE = 'application/zstd';
const ARCHIVE_TYPE = 'application/octet-stream';
/** How often an answer is begun whose content was let go before it was opened. */
const MAX_ATTEMPTS = 3;

/** What {@link createChannelRoutes} works with. */
export interface ChannelRoutesOptions {
  readonly channels: ChannelSet;
  readonly desk: ArchiveDesk;
  /** For how long clients may take metadata for what is there, in seconds. */
  readonly maxAgeSeconds: number;
  /** Such as `Date.now`. */
  readonly now: () => number;
  /** Told what requests fail with. */
  readonly onFailed?: ((error: unknown) => void) | undefined;
}

/** What each kind of file counts as. */
const ROUTES = {
  metadata: 'repodata',
  'shard-index': 'shards',
  shard: 'shards',
  archive: 'archive',
  sidecar: 'archive',
} as const satisfies Record<Exclude<ChannelFile['kind'], 'other'>, RouteClass>;

/** Answers a request for a file of a channel; `undefined` where its path is that of none. */
export type AnswerForChannels = (request: Request, pathname: string) => Promise<Response | undefined>;

/**
 * Makes the routes of channels: `/<name>[/label/<label>]/<subdir>/<file>`. What is optional and not there is 404, since that is
 * what clients fall back on; what the repodata lists and cannot be given just now never is.
 * @see CEP 16, CEP 36; conda-on-oci notes on HTTP bridges
 */
export function createChannelRoutes(options: ChannelRoutesOptions): AnswerForChannels {
  const { channels, onFailed } = options;
  return async (request, pathname) => {
    const path = parseChannelPath(pathname);
    if (path === undefined || path.file.kind === 'other') return undefined;
    const route = ROUTES[path.file.kind];
    for (let attempt = 1; ; attempt += 1) {
      const channel = channels.get(path.name, path.label);
      if (channel === undefined) return undefined;
      try {
        return noteAnswer(await answer(request, channel, path.file, options), { route });
      } catch (error) {
        request.signal.throwIfAborted();
        // A label that had to make room, or a state that another one replaced, between two steps.
        const isLetGo = channel.isClosed || isFerryError(error, 'NOT_FOUND');
        if (isLetGo && attempt < MAX_ATTEMPTS) continue;
        const isNotGiven = error instanceof NotGiven;
        const cause: unknown = isNotGiven ? error.cause : error;
        onFailed?.(cause);
        const listed = !isNotGiven || error.isListed;
        return noteAnswer(replyWithError(request, cause, { listed }), { route });
      }
    }
  };
}

async function answer(
  request: Request,
  channel: GatewayChannel,
  file: Exclude<ChannelFile, { readonly kind: 'other' }>,
  { desk, maxAgeSeconds, now }: ChannelRoutesOptions,
): Promise<Response> {
  const { signal } = request;
  switch (file.kind) {
    case 'metadata': {
      const document = await findDocument(channel, file.path, signal);
      if (document === undefined) return replyAbsent();
      const response = await replyWithDocument(request, document, { ...file, maxAgeSeconds, now });
      return noteAnswer(response, { cache: cacheOf(document) });
    }
    case 'shard-index': {
      const generation = await channel.generation(file.subdir, { signal });
      const index = generation?.shards?.index;
      if (generation === undefined || index === undefined) return replyAbsent();
      const { modified: lastModified, staleness } = generation;
      const response = await replyWithContent(request, {
        content: index,
        mediaType: ZSTD_TYPE,
        lastModified,
        cacheControl: staleness === undefined ? SHARD_INDEX_CACHING : NO_CACHE,
        headers: staleHeaders(staleness, now),
      });
      return noteAnswer(response, { cache: cacheOf(generation) });
    }
    case 'shard': {
      const content = await channel.shard(file.subdir, file.sha256, signal);
      if (content === undefined) return replyAbsent();
      return replyWithContent(request, { content, mediaType: ZSTD_TYPE, cacheControl: IMMUTABLE });
    }
    case 'archive': {
      const isHead = request.method === 'HEAD';
      const give = () => desk.archive(channel, file.subdir, file.filename, { isHead, signal });
      return replyWithArchive(request, give, ARCHIVE_TYPE, ARCHIVE_CACHING);
    }
    case 'sidecar': {
      const give = () => desk.sidecar(channel, file.subdir, file.filename, file.sha256, signal);
      // Only the name with the digest stays what it is.
      return replyWithArchive(request, give, JSON_TYPE, file.sha256 === undefined ? NO_CACHE : IMMUTABLE);
    }
  }
}

async function findDocument(
  channel: GatewayChannel,
  path: string,
  signal: AbortSignal,
): Promise<ServedDocument | undefined> {
  const [subdir = '', file] = path.split('/');
  return file === 'repodata.json' ? channel.generation(subdir, { signal }) : channel.companion(path, signal);
}

async function replyWithDocument(
  request: Request,
  document: ServedDocument,
  { isCompressed, maxAgeSeconds, now }: { isCompressed: boolean; maxAgeSeconds: number; now: () => number },
): Promise<Response> {
  const { modified: lastModified, staleness } = document;
  const common = {
    lastModified,
    cacheControl: staleness === undefined ? `max-age=${String(maxAgeSeconds)}` : NO_CACHE,
    headers: staleHeaders(staleness, now),
  };
  if (isCompressed) {
    const content = await document.form('zstd', request.signal);
    return replyWithContent(request, { ...common, content, mediaType: ZSTD_TYPE });
  }
  const encoding = chooseEncoding(request.headers.get('accept-encoding'), ENCODINGS);
  const content = await document.form(encoding, request.signal);
  return replyWithContent(request, {
    ...common,
    content,
    mediaType: JSON_TYPE,
    varies: true,
    ...(encoding === 'identity' ? {} : { encoding }),
  });
}

/** Clients fall back on nothing else. It may be there in a moment, as shards are. */
function replyAbsent(): Response {
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' };
  return new Response('there is no such file in this channel\n', { status: 404, headers });
}

function cacheOf({ staleness }: ServedDocument): CacheState {
  return staleness === undefined ? 'none' : 'stale';
}

/** What tells clients, and people, that this may not be what is there by now. @see RFC 9211, RFC 9111 */
function staleHeaders(
  staleness: Staleness | undefined,
  now: () => number,
): Record<string, string> | undefined {
  if (staleness === undefined) return undefined;
  const age = Math.max(0, Math.round((now() - staleness.since.getTime()) / 1000));
  return {
    age: String(age),
    'cache-status': `${CACHE_NAME}; hit; ttl=-${String(age)}; detail=${staleness.code}`,
    warning: `111 ${CACHE_NAME} "Revalidation Failed"`,
  };
}

async function replyWithArchive(
  request: Request,
  give: () => Promise<GivenArchive>,
  mediaType: string,
  cacheControl: string,
): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    const given = await give();
    if (given.kind === 'absent') return replyAbsent();
    if (given.kind === 'elsewhere') {
      // The address holds for minutes, and with it whoever has it may fetch the archive.
      const headers = { location: given.url.href, 'cache-control': 'private, no-store' };
      return new Response(null, { status: 307, headers });
    }
    const { content } = given;
    try {
      const response = await replyWithContent(request, { content, mediaType, cacheControl });
      return noteAnswer(response, { cache: given.kind === 'content' ? given.cache : undefined });
    } catch (error) {
      request.signal.throwIfAborted();
      // It left the cache between two steps: once more from the start.
      if (attempt > 1 || !isFerryError(error, 'NOT_FOUND'))
        throw new NotGiven(error, given.kind === 'content' && given.isListed);
    } finally {
      // It stays until it was sent.
      if (given.kind === 'held') await given.content.release();
    }
  }
}
