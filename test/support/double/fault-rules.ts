import { gzipSync } from 'node:zlib';
import { bearerOf, errorAnswer, isWrite, type Answer, type RequestHead } from './exchange.js';

/** What can go wrong. */
export type FaultKind =
  /** 429 without Retry-After. */
  | '429'
  /** `Retry-After: 1` */
  | '429-seconds'
  /** Retry-After with a date, one second ahead. */
  | '429-date'
  /** `Retry-After: 1000000000` */
  | '429-absurd'
  /** As GHCR: the pause stands in the message. */
  | '429-body'
  /** 429 before the body was read; the connection closes. */
  | '429-early'
  /** GHCR's secondary limit. */
  | '403-secondary'
  /** 500 with a registry's error. */
  | '500'
  /** 502 with HTML. */
  | '502'
  /** Processed, then answered 502 with HTML. */
  | '502-after'
  /** 503 with nothing. */
  | '503'
  /** Nothing is processed; the connection is reset. */
  | 'reset-before'
  /** Processed to the end; the connection is reset before the answer. */
  | 'reset-after'
  /** The connection is reset at once while the processing goes on. */
  | 'reset-meanwhile'
  /** A chunk of an upload of which only half arrives before the connection is reset. */
  | 'reset-half'
  /** Half of the answer's body, then a reset. */
  | 'reset-in-body'
  /** Half of the body with the length of the whole, then the connection closes. */
  | 'truncated'
  /** Half of the body, with the length of that half. */
  | 'short-length'
  /** The body comes in drops over 50 ms. */
  | 'slow'
  /** The token is rejected though it is fresh. */
  | '401-expired'
  /** A blob comes with `Content-Encoding: gzip`, unasked. */
  | 'gzip'
  /** 206 from another byte than was asked for. */
  | 'wrong-offset'
  /** 200 with everything for a Range. */
  | 'ignored-range'
  /** The session is gone. */
  | 'stale-location'
  /** An upload's end loses the blob; the session is gone; the connection is reset. */
  | 'lost-commit'
  /** A manifest's blobs are said to be missing though they are there. */
  | 'blob-unknown'
  /** Two Content-Length that contradict each other. */
  | 'duplicate-length'
  /** A Warning of 1 MB. */
  | 'huge-warning'
  /** 404 with HTML. */
  | 'html-404'
  /** `; charset=utf-8` behind a manifest's type. */
  | 'charset'
  /** A Content-Type that is not the manifest's mediaType. */
  | 'media-type-mismatch'
  /** A manifest of 10 MiB. */
  | 'huge-manifest'
  /** The next page is this page. */
  | 'link-loop'
  /** The next page is on another host. */
  | 'link-elsewhere'
  /** `"tags": null` */
  | 'null-tags'
  /** The answer to HEAD has no length. */
  | 'head-no-length'
  /** The answer to HEAD has another length than the one to GET. */
  | 'head-wrong-length'
  /** A referrer that is its own subject. */
  | 'cyclic-referrers'
  /** The upload continues on another host. */
  | 'location-elsewhere'
  /** A read is redirected to another host. */
  | 'redirect-elsewhere';

/** When a fault strikes. */
export type FaultPhase =
  /** Instead of the answer, without the request's body. */
  | 'early'
  /** Instead of the answer; nothing is processed. */
  | 'instead'
  /** The connection is reset; nothing is processed. */
  | 'reset-before'
  | 'reset-after'
  | 'reset-meanwhile'
  | 'reset-half'
  /** The request is processed as if it had asked for no range. */
  | 'without-range'
  /** Done to the answer. */
  | 'change';

/** What a fault may need to know. */
export interface FaultContext {
  readonly elsewhere: string;
  readonly now: () => number;
  /** Takes the request's token back, and says so; `undefined` where the registry has no tokens. */
  expire(head: RequestHead): Answer | undefined;
  dropUpload(id: string): void;
  manifestSize(repository: string, digest: string): number;
}

/** How a fault is done. */
export interface FaultRule {
  readonly phase: FaultPhase;
  readonly fits: (head: RequestHead) => boolean;
  /** The answer, changed or made up. `undefined` where it cannot be done. Given a real answer only once there is one. */
  readonly make: (head: RequestHead, context: FaultContext, answer: Answer) => Answer | undefined;
}

const HTML = { 'content-type': 'text/html' };
const TOO_MANY = 'You have made too many requests';
const HUGE_MANIFEST = 10 * 1024 * 1024;
const DRIP_MS = 50;
const SECOND_MS = 1000;

const always = (): boolean => true;
const onRegistry = ({ route }: RequestHead): boolean => route.kind !== 'api' && route.kind !== 'other';
const gets = (...kinds: readonly string[]) => {
  return ({ method, route }: RequestHead): boolean => method === 'GET' && kinds.includes(route.kind);
};
const heads = ({ method, route }: RequestHead): boolean =>
  method === 'HEAD' && (route.kind === 'manifest' || route.kind === 'blob');
const withBody = ({ method }: RequestHead): boolean => method === 'GET';
const uploads = (...methods: readonly string[]) => {
  return ({ method, route }: RequestHead): boolean => route.kind === 'upload' && methods.includes(method);
};
const blobs = gets('blob', 'blob-host');
const rangedBlobs = (head: RequestHead): boolean => blobs(head) && head.headers.range !== undefined;

function instead(make: FaultRule['make'], fits: FaultRule['fits'] = onRegistry): FaultRule {
  return { phase: 'instead', fits, make };
}

function reset(phase: FaultPhase, fits: FaultRule['fits'] = onRegistry): FaultRule {
  return { phase, fits, make: () => undefined };
}

function change(fits: FaultRule['fits'], make: FaultRule['make']): FaultRule {
  return { phase: 'change', fits, make };
}

/** Changes headers and body of a good answer that has a body. */
function changeBody(
  fits: FaultRule['fits'],
  make: (
    body: Buffer,
    answer: Answer,
    head: RequestHead,
    context: FaultContext,
  ) => Partial<Answer> | undefined,
): FaultRule {
  return change(fits, (head, context, answer) => {
    const body = Buffer.from(answer.body ?? '');
    if (answer.status >= 300 || body.byteLength < 2) return undefined;
    const changed = make(body, answer, head, context);
    if (changed === undefined) return undefined;
    return { ...answer, ...changed, headers: { ...answer.headers, ...changed.headers } };
  });
}

function tooMany(headers: (context: FaultContext) => Record<string, string>): FaultRule {
  return instead((_, context) => errorAnswer(429, 'TOOMANYREQUESTS', TOO_MANY, headers(context)));
}

const half = (body: Buffer): number => Math.floor(body.byteLength / 2);
const cut = (ending: 'close' | 'reset') =>
  changeBody(withBody, (body) => ({ delivery: { cutAt: half(body), ending } }));

/** How each fault is done. */
export const FAULT_RULES: Readonly<Record<FaultKind, FaultRule>> = {
  '429': tooMany(() => ({})),
  '429-seconds': tooMany(() => ({ 'retry-after': '1' })),
  '429-date': tooMany(({ now }) => ({ 'retry-after': new Date(now() + SECOND_MS).toUTCString() })),
  '429-absurd': tooMany(() => ({ 'retry-after': '1000000000' })),
  '429-body': instead(() => errorAnswer(429, 'TOOMANYREQUESTS', 'retry-after: 10.3ms, allowed: 2000/minute')),
  '429-early': {
    phase: 'early',
    fits: (head) => isWrite(head) && onRegistry(head),
    make: () => errorAnswer(429, 'TOOMANYREQUESTS', TOO_MANY, { connection: 'close' }),
  },
  '403-secondary': instead(() => ({
    status: 403,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      errors: [
        { code: 'DENIED', message: 'You have exceeded a secondary rate limit. Please wait a few minutes.' },
      ],
    }),
  })),
  '500': instead(() => errorAnswer(500, 'UNKNOWN', 'unknown error')),
  '502': instead(() => ({ status: 502, headers: HTML, body: '<html><h1>502 Bad Gateway</h1></html>' })),
  '502-after': change(onRegistry, () => ({ status: 502, headers: HTML, body: '<html>502</html>' })),
  '503': instead(() => ({ status: 503 })),
  'reset-before': reset('reset-before'),
  'reset-after': reset('reset-after'),
  'reset-meanwhile': reset('reset-meanwhile', isWrite),
  'reset-half': reset('reset-half', uploads('PATCH')),
  'reset-in-body': cut('reset'),
  truncated: cut('close'),
  'short-length': changeBody(blobs, (body) => ({ body: body.subarray(0, half(body)) })),
  slow: changeBody(withBody, () => ({ delivery: { dripMs: DRIP_MS } })),
  '401-expired': instead(
    (head, context) => context.expire(head),
    ({ headers, route }) => bearerOf(headers) !== undefined && route.kind !== 'blob-host',
  ),
  gzip: changeBody(blobs, (body) => ({ body: gzipSync(body), headers: { 'content-encoding': 'gzip' } })),
  'wrong-offset': changeBody(rangedBlobs, (body, answer) => {
    const [, start = '', end = '', size = ''] =
      /^bytes (\d+)-(\d+)\/(\d+)$/.exec(String(answer.headers?.['content-range'])) ?? [];
    if (start === '' || Number(start) >= Number(end)) return undefined;
    const range = `bytes ${Number(start) + 1}-${end}/${size}`;
    return { body: body.subarray(1), headers: { 'content-range': range } };
  }),
  'ignored-range': {
    phase: 'without-range',
    fits: rangedBlobs,
    make: (_head, _context, answer) => (answer.status === 200 ? answer : undefined),
  },
  'stale-location': instead(
    (head, context) => {
      context.dropUpload(head.route.reference);
      return errorAnswer(404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    },
    uploads('PATCH', 'PUT'),
  ),
  'lost-commit': { ...reset('reset-before', uploads('PUT')), make: dropSession },
  'blob-unknown': instead(
    () => errorAnswer(404, 'MANIFEST_BLOB_UNKNOWN', 'unknown blob'),
    ({ method, route }) => method === 'PUT' && route.kind === 'manifest',
  ),
  'duplicate-length': changeBody(withBody, (body) => ({
    delivery: { rawLines: [`content-length: ${body.byteLength + 1}`] },
  })),
  'huge-warning': change(always, (_head, _context, answer) => ({
    ...answer,
    headers: { ...answer.headers, warning: `299 - "${'w'.repeat(1_000_000)}"` },
  })),
  'html-404': instead(
    () => ({ status: 404, headers: HTML, body: '<!DOCTYPE html><html><body>Not Found</body></html>' }),
    gets('referrers', 'manifest', 'tags'),
  ),
  charset: changeBody(gets('manifest', 'referrers'), (_, { headers }) => ({
    headers: { 'content-type': `${String(headers?.['content-type'])}; charset=utf-8` },
  })),
  'media-type-mismatch': changeBody(gets('manifest'), (_, { headers }) => {
    const isIndex = String(headers?.['content-type']).includes('index');
    return {
      headers: { 'content-type': `application/vnd.oci.image.${isIndex ? 'manifest' : 'index'}.v1+json` },
    };
  }),
  'huge-manifest': changeBody(gets('manifest'), (body) => ({
    body: Buffer.concat([body, Buffer.alloc(Math.max(0, HUGE_MANIFEST - body.byteLength), ' ')]),
  })),
  'link-loop': changeBody(gets('tags', 'catalog'), (_, _answer, { url }) => ({
    headers: { link: `<${url}>; rel="next"` },
  })),
  'link-elsewhere': changeBody(
    gets('tags', 'catalog', 'referrers'),
    (_, _answer, { path }, { elsewhere }) => ({
      headers: { link: `<${elsewhere}${path}?last=x>; rel="next"` },
    }),
  ),
  'null-tags': changeBody(gets('tags'), (_, _answer, { route }) => ({
    body: JSON.stringify({ name: route.repository, tags: null }),
  })),
  'head-no-length': change(heads, (_head, _context, answer) =>
    answer.status === 200 ? { ...answer, withoutLength: true } : undefined,
  ),
  'head-wrong-length': change(heads, (_head, _context, answer) => {
    if (answer.status !== 200) return undefined;
    const wrong = Buffer.byteLength(answer.body ?? '') + 5;
    return { ...answer, headers: { ...answer.headers, 'content-length': wrong } };
  }),
  'cyclic-referrers': changeBody(gets('referrers'), (body, _answer, { route }, context) => {
    const index = JSON.parse(body.toString()) as { manifests: unknown[] };
    index.manifests.push({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: route.reference,
      size: context.manifestSize(route.repository, route.reference),
    });
    return { body: JSON.stringify(index) };
  }),
  'location-elsewhere': change(
    ({ method, route }) => route.kind === 'upload-start' || (route.kind === 'upload' && method === 'PATCH'),
    ({ path }, { elsewhere }, answer) =>
      answer.status === 202
        ? { ...answer, headers: { ...answer.headers, location: `${elsewhere}${path}elsewhere` } }
        : undefined,
  ),
  'redirect-elsewhere': instead(
    ({ url }, { elsewhere }) => ({ status: 307, headers: { location: `${elsewhere}${url}` } }),
    gets('blob', 'manifest', 'tags', 'referrers'),
  ),
};

function dropSession(head: RequestHead, context: FaultContext): undefined {
  context.dropUpload(head.route.reference);
}
