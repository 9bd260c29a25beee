import type { IncomingHttpHeaders } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { basicOf, type Answer, type DoubleRequest } from './exchange.js';
import { deliver, headOf, startLoopbackServer, type ServerTls } from './loopback-server.js';

/** Options of {@link startAttacker}. */
export interface AttackerOptions {
  /** Another host by default; `127.0.0.1` is the same host with another port. @defaultValue `127.0.0.2` */
  readonly address?: string;
  /** With it, a client certificate is asked for and any or none is taken. @defaultValue none: plain HTTP */
  readonly tls?: ServerTls;
  /** @defaultValue 200 with a few bytes */
  readonly answer?: Answer | ((request: DoubleRequest) => Answer);
}

/** Everything of a request. */
export interface AttackerRecord {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values as they came, repeated ones too. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** Common name of the client certificate that was shown. */
  readonly clientCertificate: string | undefined;
}

/** A host that takes down all it is told. */
export interface Attacker extends AsyncDisposable {
  readonly host: string;
  readonly origin: string;
  readonly requests: readonly AttackerRecord[];
  /** What comes from now on is answered with this. */
  answerWith(answer: Answer | ((request: DoubleRequest) => Answer)): void;
  /**
   * Everything that nobody should have told it, such as `GET /x: authorization: Basic …`: headers that carry secrets,
   * headers of the caller's own (`x-…`), client certificates, and the canaries anywhere, encoded or not. A test
   * expects it to be empty.
   */
  secretsSeen(canaries?: readonly string[]): string[];
}

const SECRET_HEADER = /^(?:authorization|cookie|proxy-authorization|x-.*)$/i;

/** Starts a host to which a registry may lead a client astray. */
async function startAttacker(options: AttackerOptions = {}): Promise<Attacker> {
  const requests: AttackerRecord[] = [];
  let answer = options.answer ?? { status: 200, body: 'from the attacker' };
  const server = await startLoopbackServer({
    address: options.address ?? '127.0.0.2',
    tls: options.tls,
    asksForCertificate: true,
    handle: async (incoming, response) => {
      const head = headOf(incoming, '');
      const body = await buffer(incoming);
      const { method, url, headers, clientCertificate } = head;
      requests.push({ method, url, headers, rawHeaders: incoming.rawHeaders, body, clientCertificate });
      const found = typeof answer === 'function' ? answer({ ...head, body }) : answer;
      await deliver(head, incoming, response, found);
    },
  });
  return {
    host: server.host,
    origin: server.origin,
    requests,
    answerWith: (next) => {
      answer = next;
    },
    secretsSeen: (canaries = []) => requests.flatMap((request) => secretsIn(request, canaries)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Starts an attacker that goes away with the test. */
export async function useAttacker(options: AttackerOptions = {}): Promise<Attacker> {
  const attacker = await startAttacker(options);
  onTestFinished(async () => attacker[Symbol.asyncDispose]());
  return attacker;
}

function secretsIn(request: AttackerRecord, canaries: readonly string[]): string[] {
  const line = `${request.method} ${request.url}`;
  const found: string[] = [];
  const holds = (text: string): boolean => canaries.some((canary) => holdsCanary(text, canary));
  if (holds(request.url)) found.push(`${line}: in the URL`);
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = request.rawHeaders.slice(i, i + 2);
    if (SECRET_HEADER.test(name) || holds(value)) found.push(`${line}: ${name}: ${value}`);
  }
  const basic = basicOf(request.headers);
  if (basic !== undefined && holds(`${basic.username}:${basic.password}`)) {
    found.push(`${line}: in the Basic authorization`);
  }
  if (holds(request.body.toString('utf8'))) found.push(`${line}: in the body`);
  if (request.clientCertificate !== undefined) {
    found.push(`${line}: client certificate ${request.clientCertificate}`);
  }
  return found;
}

/** Whether a text holds a secret: as it is, percent-encoded, or in base64 from its first byte on. */
export function holdsCanary(text: string, canary: string): boolean {
  const bytes = Buffer.from(canary);
  // The last characters depend on what follows.
  const whole = bytes.subarray(0, bytes.byteLength - (bytes.byteLength % 3));
  const encoded = whole.byteLength === 0 ? [] : [whole.toString('base64'), whole.toString('base64url')];
  return [canary, encodeURIComponent(canary), ...encoded].some((form) => text.includes(form));
}
