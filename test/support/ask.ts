import { readFile } from 'node:fs/promises';
import { request as requestPlain, type IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import { buffer } from 'node:stream/consumers';

/** A request made with nothing of ours in between. */
export interface Question {
  /** @defaultValue GET */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Certificate of an authority to trust instead of the system's. */
  readonly caFile?: string | undefined;
}

/** What came back. */
export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** Sends one request over a connection of its own, follows nothing, and reads the whole answer. */
export async function ask(url: string | URL, question: Question = {}): Promise<Reply> {
  const { method = 'GET', headers = {}, body, caFile } = question;
  const options = { method, headers, agent: false } as const;
  const ca = caFile === undefined ? undefined : await readFile(caFile);
  const isTls = new URL(url).protocol === 'https:';
  const request = isTls ? requestTls(url, { ...options, ca }) : requestPlain(url, options);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject).end(body);
  });
  return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
}

/** A header's value for Basic authentication. */
export function basicAuthorization({
  username,
  password,
}: {
  readonly username: string;
  readonly password: string;
}): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
