import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { decompress } from 'zstd-napi';

/** Nobody has to wait longer than this for an answer, whatever the store does. */
export const MAX_ANSWER_MS = 30_000;

/** What each path of a channel has to be, where it is given at all; several for what has changed meanwhile. */
export type Truth = Map<string, Set<string>>;

/** What came of asking for a path. */
export interface Probed {
  readonly path: string;
  /** 0 where the connection ended before the whole answer was there, which tells a client as much. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly ms: number;
}

/** Asks for one path, as it is written, and reads the whole answer. */
export async function probe(
  origin: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
): Promise<Probed> {
  const started = performance.now();
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`no answer to ${path} within ${MAX_ANSWER_MS} ms`));
      request.destroy();
    }, MAX_ANSWER_MS);
    const settle = (status: number, got: IncomingHttpHeaders, body: Buffer): void => {
      clearTimeout(timer);
      resolve({ path, status, headers: got, body, ms: performance.now() - started });
    };
    // Small answers are repeated for a second, but not to who sends a cookie.
    const sent = { cookie: 'fresh=1', ...headers };
    const request = httpRequest({ hostname, port, path, headers: sent, method, agent: false }, (response) => {
      buffer(response).then(
        (body) => {
          settle(response.statusCode ?? 0, response.headers, body);
        },
        () => {
          settle(0, response.headers, Buffer.alloc(0));
        },
      );
    });
    request.on('error', () => {
      settle(0, {}, Buffer.alloc(0));
    });
    request.end();
  });
}

/** The plain bytes of an answer. */
export function plainOf({ path, headers, body }: Probed): Buffer {
  const encoding = path.endsWith('.json.zst') ? 'zstd' : headers['content-encoding'];
  if (encoding === 'gzip') return gunzipSync(body);
  return encoding === 'zstd' ? decompress(body) : body;
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The repodata of a channel in a folder, and all archives that it lists, below `/<name>/`. */
export async function truthOfFolder(folder: string, name: string): Promise<Truth> {
  const truth: Truth = new Map();
  const add = async (subdir: string, file: string): Promise<void> => {
    const bytes = await readFile(join(folder, subdir, file));
    truth.set(`/${name}/${subdir}/${encodeURIComponent(file)}`, new Set([sha256Of(bytes)]));
  };
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const subdir = entry.name;
    await add(subdir, 'repodata.json');
    const repodata = JSON.parse(await readFile(join(folder, subdir, 'repodata.json'), 'utf8')) as {
      readonly packages: object;
      readonly 'packages.conda': object;
    };
    const listed = { ...repodata.packages, ...repodata['packages.conda'] };
    for (const file of Object.keys(listed)) await add(subdir, file);
  }
  return truth;
}

/** Paths of archives. */
export function archivesOf(truth: Truth): string[] {
  return [...truth.keys()].filter((path) => /\.(?:conda|tar\.bz2)$/.test(path)).sort();
}

/**
 * What is wrong with an answer for something that is there: wrong bytes, a 404, an error that does not say to come again.
 * @param allowed statuses of failures that may be
 */
export function faultOf(
  probed: Probed,
  truth: Truth,
  allowed: readonly number[] = [502, 503],
): string | undefined {
  const { path, status, headers } = probed;
  const tell = (what: string): string => `${path}: ${what}`;
  if (status === 200) {
    const wanted = truth.get(path.replace(/\.json\.zst$/, '.json'));
    if (wanted === undefined) return tell('nobody knows what it should be');
    return wanted.has(sha256Of(plainOf(probed))) ? undefined : tell('wrong bytes');
  }
  if (status === 0) return allowed.includes(0) ? undefined : tell('the connection ended');
  if (!allowed.includes(status)) return tell(`status ${status}: ${probed.body.toString().slice(0, 200)}`);
  if ((status === 502 || status === 503) && !/^[1-9]\d*$/.test(headers['retry-after'] ?? ''))
    return tell('503 without Retry-After');
  if ((status === 502 || status === 503) && Number(headers['retry-after']) > 3600)
    return tell('an absurd Retry-After');
  return undefined;
}

/** Asks for many paths, a few at once, and tells what is wrong with the answers. */
export async function probeAll(
  origin: string,
  paths: readonly string[],
  atOnce = 16,
): Promise<readonly Probed[]> {
  const probed: Probed[] = [];
  const left = [...paths];
  const take = async (): Promise<void> => {
    for (let path = left.shift(); path !== undefined; path = left.shift())
      probed.push(await probe(origin, path));
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, paths.length) }, take));
  return probed;
}

/** Faults of many answers. */
export function faultsOf(all: readonly Probed[], truth: Truth, allowed?: readonly number[]): string[] {
  return all.flatMap((probed) => faultOf(probed, truth, allowed) ?? []).sort();
}

/** How many answers had each status. */
export function statusesOf(all: readonly Probed[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status } of all) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** Looks again and again until nothing is wrong, for so long at most. @throws Error with what is wrong then */
export async function untilNothing(look: () => Promise<readonly string[]>, ms = 20_000): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    const faults = await look();
    if (faults.length === 0) return;
    if (performance.now() > end) throw new Error(`still after ${ms} ms:\n${faults.join('\n')}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
