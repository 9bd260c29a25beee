import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FIXTURE_CHANNEL } from './channels.js';
import { runFerry } from './ferry.js';
import { archivesOf, sha256Of, truthOfFolder, type Truth } from './gateway-probe.js';
import { hostileRequests, type HostileRequest, type Prey } from './hostile.js';
import { sendRaw, type RawAnswer } from './raw-request.js';
import { tempFolder } from './temp.js';

/** What stands in a file beside the channels, which nobody may ever see. */
const CANARY = 'CANARY-7f3a9';

/** A channel to be asked for, in image layouts and in a folder, and what is known of it. */
export interface Victim {
  /** Arguments of `serve`: the layouts as `ch`, the folder as `files`. */
  readonly channels: readonly string[];
  readonly prey: Prey;
  /** Paths in lower and upper case as served, to the bytes. */
  readonly truth: Truth;
}

/** Mirrors the fixture channel into layouts, with something to be stolen beside. */
export async function makeVictim(): Promise<Victim> {
  const folder = await tempFolder();
  const layouts = join(folder, 'store', 'layouts');
  const { code, stderr } = await runFerry(['mirror', FIXTURE_CHANNEL, `oci-layout:${layouts}`, '--quiet']);
  if (code !== 0) throw new Error(stderr);
  for (const place of [folder, dirname(layouts), layouts]) await writeFile(join(place, 'secret.txt'), CANARY);
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  for (const [path, digests] of await truthOfFolder(FIXTURE_CHANNEL, 'files')) truth.set(path, digests);
  const repositories = ['ch/noarch/repodata.json', 'ch/linux-64/ferry-lib', 'ch/noarch/ferry-tool'];
  const digests = [...truth.values()].flatMap((known) => [...known]).map((hex) => `sha256:${hex}`);
  return {
    channels: [`ch=oci-layout:${layouts}`, `files=${FIXTURE_CHANNEL}`],
    prey: { channels: ['ch', 'files'], archives: archivesOf(truth), repositories, digests },
    truth,
  };
}

/** What came of many hostile requests. */
export interface HostileReport {
  readonly faults: readonly string[];
  /** By kind: how many ended with each status; `closed` without one. */
  readonly ends: Readonly<Record<string, Record<string, number>>>;
  readonly slowestMs: number;
}

/** Sends them, so many at once, and tells which were not refused as they should be. */
export async function sendHostile(
  origin: string,
  { prey, truth }: Victim,
  {
    count,
    seed,
    slowShare,
    atOnce = 24,
  }: { count: number; seed: number; slowShare: number; atOnce?: number },
): Promise<HostileReport> {
  const faults: string[] = [];
  const ends: Record<string, Record<string, number>> = {};
  let slowestMs = 0;
  const send = async (request: HostileRequest): Promise<void> => {
    const { answers, end, ms } = await sendRaw(origin, request);
    slowestMs = Math.max(slowestMs, ms);
    const counts = (ends[request.kind] ??= {});
    const key = answers.length === 0 ? end : String(answers[0]?.status);
    counts[key] = (counts[key] ?? 0) + 1;
    const found = end === 'hung' ? [`hung for ${Math.round(ms)} ms`] : [];
    for (const answer of answers) found.push(...faultsIn(request, answer, truth));
    for (const fault of found) faults.push(`${request.kind}: ${fault}: ${JSON.stringify(request.shown)}`);
  };
  const slow: Promise<void>[] = [];
  const requests = hostileRequests(count, seed, prey, slowShare);
  const work = async (): Promise<void> => {
    for (const request of requests) {
      // They wait most of the time, and each other for nothing.
      if (request.isSlow === true) slow.push(send(request));
      else await send(request);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  await Promise.all(slow);
  return { faults, ends, slowestMs };
}

function faultsIn(
  { kind, shown }: HostileRequest,
  { status, head, body }: RawAnswer,
  truth: Truth,
): string[] {
  const faults: string[] = [];
  if (status >= 500 || status < 200) faults.push(`status ${status}`);
  if (kind === 'traversal' && status < 400) faults.push(`got out with ${status}`);
  if (body.includes(CANARY) || body.includes('root:x:')) faults.push('a file that is not served');
  if (/evil\.example/.test(head)) faults.push(`what the client said stands in ${JSON.stringify(head)}`);
  const path = /^GET (\S+) HTTP/.exec(shown)?.[1] ?? '';
  const known = truth.get(path);
  const isPlain = !/^content-encoding:/im.test(head);
  if (status === 200 && known !== undefined && isPlain && kind === 'range' && !known.has(sha256Of(body)))
    faults.push('wrong bytes');
  return faults;
}

/** The bytes of an archive of the fixture channel by its path. */
export async function fixtureBytes(path: string): Promise<Buffer> {
  return readFile(join(FIXTURE_CHANNEL, ...path.split('/').slice(2).map(decodeURIComponent)));
}
