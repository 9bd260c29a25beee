import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { listenHere } from './listen.js';
import { tempFolder } from './temp.js';

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** An authority of the test's own. */
export interface Authority {
  readonly ca: string;
  issue(name: string): Certificate;
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes an authority by `openssl`; its certificates are good for loopback and `*.test`. */
export async function createAuthority(name = 'ferry test authority'): Promise<Authority> {
  const folder = await tempFolder();
  const path = (file: string): string => join(folder, file);
  const openssl = (...args: string[]): unknown => execFileSync('openssl', args, { stdio: 'pipe' });
  const read = (file: string): string => readFileSync(path(file), 'utf8');
  openssl(
    'req',
    '-x509',
    ...EC,
    '-keyout',
    path('ca.key'),
    '-out',
    path('ca.crt'),
    '-subj',
    `/CN=${name}`,
    '-days',
    '2',
  );
  writeFileSync(path('names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test\n');
  return {
    ca: read('ca.crt'),
    issue: (subject) => {
      openssl('req', '-new', ...EC, '-keyout', path('key'), '-out', path('csr'), '-subj', `/CN=${subject}`);
      const authority = ['-CA', path('ca.crt'), '-CAkey', path('ca.key'), '-CAcreateserial'];
      openssl(
        'x509',
        '-req',
        '-in',
        path('csr'),
        ...authority,
        '-extfile',
        path('names'),
        '-days',
        '2',
        '-out',
        path('crt'),
      );
      return { cert: read('crt'), key: read('key') };
    },
  };
}

/** A request as a server with TLS saw it. */
export interface SecureRequest {
  readonly line: string;
  readonly headers: IncomingHttpHeaders;
  /** Name in the client's certificate. */
  readonly peer: string | undefined;
}

/** An https server that asks for a client certificate and takes any or none. */
export interface TlsServer {
  readonly origin: string;
  readonly port: number;
  readonly requests: readonly SecureRequest[];
  /** Where `/` leads to from now on. */
  redirectTo(location: string): void;
}

/** Goes away with the test. */
export async function startTlsServer({ cert, key }: Certificate): Promise<TlsServer> {
  const requests: SecureRequest[] = [];
  let location: string | undefined;
  const server = createServer(
    { cert, key, requestCert: true, rejectUnauthorized: false },
    (incoming, response) => {
      const { socket } = incoming;
      const peer =
        socket instanceof TLSSocket ? (socket.getPeerCertificate() as { subject?: { CN: string } }) : {};
      const line = `${incoming.method ?? ''} ${incoming.url ?? ''}`;
      requests.push({ line, headers: incoming.headers, peer: peer.subject?.CN });
      const isRedirect = incoming.url === '/' && location !== undefined;
      response.writeHead(isRedirect ? 307 : 200, isRedirect ? { location } : {}).end('secure');
    },
  );
  server.on('tlsClientError', () => undefined);
  const host = await listenHere(server);
  return {
    origin: `https://${host}`,
    port: Number(new URL(`https://${host}`).port),
    requests,
    redirectTo: (target) => {
      location = target;
    },
  };
}
