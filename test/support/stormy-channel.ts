import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Answer, RequestHead } from './double/exchange.js';
import { mulberry32 } from './double/faults.js';
import { deliver, headOf, resetConnection, startLoopbackServer } from './double/loopback-server.js';
import { sha256 } from './audit.js';

/** What goes wrong with a web server. */
type SourceFault =
  | '429'
  | '502'
  | '503'
  | 'reset'
  | 'truncated'
  | 'reset-in-body'
  | 'short-length'
  | 'slow'
  | 'ignored-range'
  | 'wrong-range';

const FAULTS: readonly SourceFault[] = [
  '429',
  '502',
  '503',
  'reset',
  'truncated',
  'reset-in-body',
  'short-length',
  'slow',
  'ignored-range',
  'wrong-range',
];
const MAX_IN_ROW = 2;

/** A channel whose server has a bad day. */
export interface StormyChannel {
  readonly url: string;
  /** Paths asked for, in the order of arrival. */
  readonly requests: readonly string[];
  /** How often each kind happened. */
  readonly faults: ReadonlyMap<SourceFault, number>;
}

/** Serves a folder with entity tags and ranges; a share of the answers goes wrong, the same for the same seed. */
export async function useStormyChannel(
  folder: string,
  storm: { readonly seed: number; readonly rate: number },
): Promise<StormyChannel> {
  const requests: string[] = [];
  const faults = new Map<SourceFault, number>();
  const inRow = new Map<string, number>();
  const random = mulberry32(storm.seed);
  const choose = (path: string): SourceFault | undefined => {
    const before = inRow.get(path) ?? 0;
    const fails = before < MAX_IN_ROW && random() < storm.rate;
    inRow.set(path, fails ? before + 1 : 0);
    return fails ? FAULTS[Math.floor(random() * FAULTS.length)] : undefined;
  };
  const server = await startLoopbackServer({
    handle: async (incoming, response) => {
      const head = headOf(incoming, '');
      requests.push(head.path);
      const fault = choose(head.path);
      const answer = await answerFile(folder, head);
      const changed = fault === undefined ? answer : await spoil(fault, answer, head, folder);
      if (fault !== undefined && changed !== answer) faults.set(fault, (faults.get(fault) ?? 0) + 1);
      if (changed === undefined) resetConnection(incoming);
      else await deliver(head, incoming, response, changed);
    },
  });
  onTestFinished(async () => server[Symbol.asyncDispose]());
  return { url: `${server.origin}/channel`, requests, faults };
}

/** The answer as it should be. */
async function answerFile(folder: string, { path, headers }: RequestHead): Promise<Answer> {
  const file = join(folder, normalize(decodeURIComponent(path.replace(/^\/channel\//, '/'))));
  const body = await readFile(file).catch(() => undefined);
  if (body === undefined) return { status: 404, body: 'not found' };
  const etag = `"${sha256(body).slice(7, 23)}"`;
  if (headers['if-none-match'] === etag) return { status: 304, headers: { etag } };
  const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? NaN);
  const isSame = headers['if-range'] === undefined || headers['if-range'] === etag;
  if (Number.isNaN(start) || !isSame) return { status: 200, headers: { etag }, body };
  if (start >= body.byteLength) return { status: 416, headers: { etag } };
  const range = `bytes ${start}-${body.byteLength - 1}/${body.byteLength}`;
  return { status: 206, headers: { etag, 'content-range': range }, body: body.subarray(start) };
}

/** What becomes of it; `undefined` is a reset before anything was said. The same answer is one that this cannot spoil. */
async function spoil(
  fault: SourceFault,
  answer: Answer,
  head: RequestHead,
  folder: string,
): Promise<Answer | undefined> {
  const body = Buffer.from(answer.body ?? '');
  const half = Math.floor(body.byteLength / 2);
  const hasBody = (answer.status === 200 || answer.status === 206) && half > 0;
  switch (fault) {
    case 'reset':
      return undefined;
    case '429':
      return { status: 429, headers: { 'retry-after': '1' } };
    case '502':
      return { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>Bad Gateway</html>' };
    case '503':
      return { status: 503 };
    case 'truncated':
      return hasBody ? { ...answer, delivery: { cutAt: half, ending: 'close' } } : answer;
    case 'reset-in-body':
      return hasBody ? { ...answer, delivery: { cutAt: half, ending: 'reset' } } : answer;
    case 'short-length':
      // Only archives have a size that tells.
      return hasBody && !head.path.includes('repodata')
        ? { ...answer, body: body.subarray(0, half) }
        : answer;
    case 'slow':
      return hasBody ? { ...answer, delivery: { dripMs: 50 } } : answer;
    case 'ignored-range':
      return answer.status === 206 ? answerFile(folder, { ...head, headers: {} }) : answer;
    case 'wrong-range':
      return answer.status === 206 && half > 0 ? oneByteLater(answer, body) : answer;
  }
}

/** A partial answer that begins one byte after what was asked for, and says so. */
function oneByteLater(answer: Answer, body: Buffer): Answer {
  const [, start = '', rest = ''] =
    /^bytes (\d+)(-.*)$/.exec(String(answer.headers?.['content-range'])) ?? [];
  const range = `bytes ${Number(start) + 1}${rest}`;
  return { ...answer, body: body.subarray(1), headers: { ...answer.headers, 'content-range': range } };
}
