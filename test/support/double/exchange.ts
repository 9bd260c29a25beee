import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';

/** What a request asks for, by its path. */
export type RouteKind =
  | 'ping'
  | 'catalog'
  | 'manifest'
  | 'blob'
  /** `POST …/blobs/uploads/` */
  | 'upload-start'
  /** A session of an upload. */
  | 'upload'
  | 'tags'
  | 'referrers'
  | 'token'
  /** The host that blob reads are redirected to. */
  | 'blob-host'
  /** GitHub's Packages REST API. */
  | 'api'
  | 'other';

/** A path taken apart. */
export interface Route {
  readonly kind: RouteKind;
  /** Empty where the path names none. */
  readonly repository: string;
  /** Tag, digest or id of the session; empty where the path names none. */
  readonly reference: string;
}

/** A request before its body was read. */
export interface RequestHead {
  readonly method: string;
  /** As it came, such as `/v2/a/tags/list?n=1`. */
  readonly url: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Of the server that was asked, such as `http://127.0.0.1:34567`. */
  readonly origin: string;
  readonly route: Route;
  /** Common name of the TLS client certificate. */
  readonly clientCertificate?: string;
}

/** A request with its body. */
export interface DoubleRequest extends RequestHead {
  readonly body: Buffer;
}

/** How the bytes of an answer go out, where that is not the ordinary way. */
export interface Delivery {
  /** So many bytes of the body go out, then the connection ends. */
  readonly cutAt?: number;
  /** How a cut connection ends. @defaultValue `close` */
  readonly ending?: 'close' | 'reset';
  /** The body goes out in drops over so many milliseconds. */
  readonly dripMs?: number;
  /** Header lines written as they are, beside the others. */
  readonly rawLines?: readonly string[];
}

/** What is answered. `content-length` is added unless a header says otherwise; to a HEAD no body goes out. */
export interface Answer {
  readonly status: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: Buffer | string;
  readonly delivery?: Delivery;
  /** Leaves the length out, as some registries do for HEAD. */
  readonly withoutLength?: boolean;
}

/** Answers with `{"errors":[{"code":…,"message":…}]}`. @see distribution-spec v1.1.1, "Error Codes" */
export function errorAnswer(
  status: number,
  code: string,
  message = code.toLowerCase().replaceAll('_', ' '),
  headers: OutgoingHttpHeaders = {},
): Answer {
  return jsonAnswer(status, { errors: [{ code, message }] }, headers);
}

/** Answers with JSON. */
export function jsonAnswer(status: number, value: unknown, headers: OutgoingHttpHeaders = {}): Answer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

const NAME = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;

/** Whether it is the name of a repository. @see distribution-spec v1.1.1, "Pulling manifests" */
export function isRepositoryName(name: string): boolean {
  return name.length <= 255 && NAME.test(name);
}

const PATTERNS: readonly (readonly [RouteKind, RegExp])[] = [
  ['ping', /^\/v2\/?$/],
  ['catalog', /^\/v2\/_catalog$/],
  ['upload-start', /^\/v2\/(.+)\/blobs\/uploads\/?$/],
  ['upload', /^(?:\/artifacts-uploads)?\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/],
  ['tags', /^\/v2\/(.+)\/tags\/list$/],
  ['manifest', /^\/v2\/(.+)\/manifests\/([^/]+)$/],
  ['blob', /^\/v2\/(.+)\/blobs\/([^/]+)$/],
  ['referrers', /^\/v2\/(.+)\/referrers\/([^/]+)$/],
  ['blob-host', /^\/blob-host\/(.+)\/([^/]+)$/],
  ['token', /^\/token$/],
  ['api', /^\/api\//],
];

/** Takes a path apart; percent-encoding is undone in its parts only. */
export function routeOf(path: string): Route {
  for (const [kind, pattern] of PATTERNS) {
    const match = pattern.exec(path);
    if (match === null) continue;
    return { kind, repository: decode(match[1] ?? ''), reference: decode(match[2] ?? '') };
  }
  return { kind: 'other', repository: '', reference: '' };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Whether the method changes something. */
export function isWrite(head: RequestHead): boolean {
  return head.method !== 'GET' && head.method !== 'HEAD';
}

/** User and password of a Basic header. */
export function basicOf(headers: IncomingHttpHeaders): { username: string; password: string } | undefined {
  const encoded = /^basic\s+(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Token of a Bearer header. */
export function bearerOf(headers: IncomingHttpHeaders): string | undefined {
  return /^bearer\s+(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}

/** A value of the query that is not empty. */
export function queryOf(head: RequestHead, name: string): string | undefined {
  const value = head.query.get(name);
  return value === null || value === '' ? undefined : value;
}
