import { errors } from 'undici';
import { TransportError } from '../errors.js';
import { redactUrl } from '../io/redact.js';
import { PRIVATE_ADDRESS } from './address.js';
import type { HttpRequest } from './send.js';

/** What a time limit of ours aborts with. */
export class SlowAnswer extends Error {
  readonly code = 'ESLOW';
}

/** Names a failure of undici, the socket or TLS; an abort by the caller and anything unknown pass through. */
export function translateTransportError(error: unknown, request: HttpRequest): unknown {
  if (request.signal?.aborted === true) return request.signal.reason;
  const code = systemCode(error);
  if (code === undefined) return error;
  const isTimeout =
    error instanceof errors.ConnectTimeoutError ||
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError ||
    error instanceof SlowAnswer ||
    code === 'ETIMEDOUT';
  const url = redactUrl(request.url);
  return new TransportError(
    isTimeout ? 'TIMEOUT' : 'NETWORK',
    `${request.method} ${url}: ${describeCode(code)}`,
    { method: request.method, url, attempts: 1 },
    { cause: error, hint: hintFor(code, request.url) },
  );
}

const UNTRUSTED = 'no authority that is trusted here signed the certificate of the server';

function systemCode(error: unknown): string | undefined {
  // It has a code only where its parser has one, whatever its type says.
  if (error instanceof errors.HTTPParserError) return error.code || 'HPE_UNKNOWN';
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  const isKnown =
    /^(UND_ERR_|E[A-Z]+$|EAI_|CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HPE_)/.test(error.code);
  return isKnown ? error.code : undefined;
}

function describeCode(code: string): string {
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nobody listens there (ECONNREFUSED)',
    ECONNRESET: 'the connection was reset (ECONNRESET)',
    ENOTFOUND: 'the host name is not known (ENOTFOUND)',
    EAI_AGAIN: 'the name server did not answer (EAI_AGAIN)',
    ESLOW: 'the answer came too slowly (ESLOW)',
    [PRIVATE_ADDRESS]: `another server sent us there, into a private network (${PRIVATE_ADDRESS})`,
    ERR_SSL_WRONG_VERSION_NUMBER: 'the server speaks no TLS there (ERR_SSL_WRONG_VERSION_NUMBER)',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: `${UNTRUSTED} (UNABLE_TO_VERIFY_LEAF_SIGNATURE)`,
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY: `${UNTRUSTED} (UNABLE_TO_GET_ISSUER_CERT_LOCALLY)`,
    SELF_SIGNED_CERT_IN_CHAIN: `${UNTRUSTED} (SELF_SIGNED_CERT_IN_CHAIN)`,
    DEPTH_ZERO_SELF_SIGNED_CERT: 'the server signed its certificate itself (DEPTH_ZERO_SELF_SIGNED_CERT)',
    CERT_HAS_EXPIRED: "the server's certificate has expired (CERT_HAS_EXPIRED)",
    ERR_TLS_CERT_ALTNAME_INVALID:
      "the server's certificate is for another host (ERR_TLS_CERT_ALTNAME_INVALID)",
    UND_ERR_SOCKET: 'the connection broke (UND_ERR_SOCKET)',
    UND_ERR_CONNECT_TIMEOUT: 'no connection in time (UND_ERR_CONNECT_TIMEOUT)',
    UND_ERR_HEADERS_TIMEOUT: 'no answer in time (UND_ERR_HEADERS_TIMEOUT)',
    UND_ERR_BODY_TIMEOUT: 'the answer stopped in the middle (UND_ERR_BODY_TIMEOUT)',
  };
  return known[code] ?? (code.startsWith('HPE_') ? `the answer is not HTTP (${code})` : code);
}

function hintFor(code: string, url: URL): string | undefined {
  if (url.protocol !== 'https:') return undefined;
  if (/^ERR_SSL_.*(?:CERTIFICATE|HANDSHAKE_FAILURE)/.test(code))
    return 'if the server wants a client certificate, pass --cert-file and --key-file';
  if (/^(ERR_SSL|ERR_TLS_(?!CERT)|EPROTO)/.test(code))
    return 'if the server speaks plain HTTP, pass --plain-http';
  const isUnknownAuthority = /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(?:GET_ISSUER|VERIFY)|CERT_UNTRUSTED)/.test(
    code,
  );
  return isUnknownAuthority
    ? `if you trust the authority of ${url.host}, pass its certificate with --ca-file`
    : undefined;
}
