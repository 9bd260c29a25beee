/**
 * A page for people on the jobs of a queue: bull-board with its own files, kept from everything that is not for it. Who
 * reaches it can look at all and pause, resume and retry; what would break a run is refused.
 */
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { HonoAdapter } from '@bull-board/hono';
import { serveStatic } from '@hono/node-server/serve-static';
import { redactUrl } from '../io/redact.js';
import { openJobs } from './control.js';
import { parseJob, type TagRow } from './job.js';
import type { QueueRedis } from './queue-redis.js';

const TITLE = 'conda-ferry';
/** Changes that do no harm to a run, as method and path; bull-board offers many more. */
const HARMLESS: readonly RegExp[] = [
  /^PUT \/api\/queues\/(?:pause|resume)$/,
  /^PUT \/api\/queues\/[^/]+\/(?:pause|resume|promote|retry\/failed)$/,
  /^PUT \/api\/queues\/[^/]+\/[^/]+\/(?:promote|retry)$/,
];
const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

/** Up to what ends a text in JSON, or is escaped there. */
const URLS = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"'`<>\\]+/gi;

/** Options of {@link openBoard}. */
export interface BoardOptions {
  /**
   * Whether that is how the board is called, from the `Host` of a request such as `127.0.0.1:8001`: another name that leads
   * here is that of a site which wants to read along.
   */
  readonly isHost: (host: string) => boolean;
}

/** A board, to be bound to a socket. */
export interface Board extends AsyncDisposable {
  fetch(request: Request): Promise<Response>;
}

/** Opens the board of a queue. */
export function openBoard(queue: QueueRedis, { isHost }: BoardOptions): Board {
  const jobs = openJobs(queue);
  const adapter = new BullMQAdapter(jobs, {
    description: queue.url,
  });
  adapter.setFormatter('data', describeJob);
  const hono = new HonoAdapter(serveStatic);
  createBullBoard({
    queues: [adapter],
    serverAdapter: hono,
    options: {
      uiConfig: { boardTitle: TITLE, hideDocsLink: true, showWorkers: false },
    },
  });
  const app = hono.registerPlugin();
  return {
    fetch: async (request) => {
      const refusal = refuse(request, isHost);
      const answer = refusal ?? (await cleaned(await app.fetch(request)));
      for (const [name, value] of Object.entries(HEADERS)) answer.headers.set(name, value);
      return answer;
    },
    [Symbol.asyncDispose]: () => jobs.close(),
  };
}

function refuse(request: Request, isHost: (host: string) => boolean): Response | undefined {
  const { method, headers } = request;
  const host = headers.get('host') ?? '';
  if (!isHost(host.toLowerCase())) return refusal(421, 'this is not the address that the board listens at');
  if (method === 'GET' || method === 'HEAD') return undefined;
  // Browsers say where a request comes from; what is none says neither.
  const site = headers.get('sec-fetch-site');
  const origin = headers.get('origin');
  const isForeign =
    (site !== null && site !== 'same-origin') ||
    (origin !== null && origin.replace(/^https?:\/\//, '') !== host);
  if (isForeign) return refusal(403, 'changes come from the page of the board alone');
  const { pathname } = new URL(request.url);
  if (HARMLESS.some((form) => form.test(`${method} ${pathname}`))) return undefined;
  return refusal(403, 'that would break the run; see conda-ferry queue --help for what can be done');
}

function refusal(status: number, error: string): Response {
  return new Response(JSON.stringify({ error }), { status, headers: { 'content-type': 'application/json' } });
}

/**
 * Takes out what the page must not have: it asks a server of fonts for one that it can do without, and errors that were
 * thrown far below may hold URLs as they were asked for.
 */
async function cleaned(answer: Response): Promise<Response> {
  const { status } = answer;
  const headers = new Headers(answer.headers);
  const type = headers.get('content-type') ?? '';
  const isPage = type.startsWith('text/html');
  if (!isPage && !type.startsWith('application/json')) return new Response(answer.body, { status, headers });
  const text = await answer.text();
  headers.delete('content-length');
  const clean = isPage ? text.replace(/<link [^>]*href="https?:[^>]*>/g, '') : text.replace(URLS, redactUrl);
  return new Response(clean, { status, headers });
}

/** A job as people read it: one line for each archive, since what is nested deeper is folded away. */
function describeJob(data: unknown): unknown {
  try {
    const { s: subdir, t: tags } = parseJob(data);
    return { subdir, archives: tags.flat().map(describeArchive) };
  } catch {
    // Of another version; it is shown as it is.
    return data;
  }
}

/** `x-1-0.conda, 1234 bytes, sha256:0707…` */
function describeArchive(part: TagRow[number]): string {
  if (!Array.isArray(part))
    return `beside ${typeof part.w === 'string' ? part.w : part.w[0]}, which is there`;
  const [filename, sha256, md5, size] = part;
  return [
    filename,
    ...(size >= 0 ? [`${String(size)} bytes`] : []),
    ...(sha256 === 0 ? [] : [`sha256:${toHex(sha256)}`]),
    ...(md5 === 0 ? [] : [`md5:${toHex(md5)}`]),
  ].join(', ');
}

function toHex(base64url: string): string {
  return Buffer.from(base64url, 'base64url').toString('hex');
}
