import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import type { MirrorReport } from '#ferry/mirror/report.js';
import type { QueueMirrorReport } from '#ferry/queue/coordinate.js';
import type { SideRequests } from '#ferry/queue/run-parts.js';
import type { RunEnds } from '#ferry/queue/run-record.js';
import type { WorkerReport } from '#ferry/queue/worker.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { ask } from './ask.js';
import { ROOT, testEnvironment } from './ferry.js';
import { tempFolder } from './temp.js';

const PROGRAM = join(ROOT, 'test', 'interop', 'queue-process.mjs');

/** What `test/interop/queue-process.mjs` is told. */
export interface PartOptions {
  /** Port. */
  readonly redis: number;
  readonly name?: string;
  readonly version?: string;
  /** `source` a URL; `host`, or `folder` of image layouts; `path`; `schema`. */
  readonly ends: RunEnds;
  /** Who it is at the registry. */
  readonly username?: string;
  readonly password?: string;
  readonly concurrency?: number;
  readonly untilDone?: boolean;
  readonly lockMs?: number;
  readonly stalledCheckMs?: number;
  /** Beginning of the names of archives that kill the worker. */
  readonly deadly?: string;
  readonly attempts?: number;
  readonly retryMs?: number;
  readonly leaseMs?: number;
  readonly checkpointMs?: number;
  readonly stopGraceMs?: number;
}

/** One line of a part. */
export interface PartLine {
  readonly waiting?: true;
  readonly run?: string;
  readonly ended?: string;
  readonly archive?: string;
  readonly code?: string;
  readonly warning?: string;
  readonly trouble?: string;
  readonly planned?: number;
  readonly published?: string;
  readonly message?: string;
  readonly hint?: string;
  readonly error?: string;
  readonly stopped?: true;
  readonly report?: MirrorReport & WorkerReport;
  readonly requests?: QueueMirrorReport['requests'];
  readonly own?: SideRequests;
}

/** A process that takes part; it goes away with the test. */
export interface Part {
  readonly child: ChildProcess;
  readonly lines: readonly PartLine[];
  /** Waits until a line is there that is as wanted; fails where the process ends before. */
  until(isWanted: (line: PartLine) => unknown): Promise<PartLine>;
  /** Waits until it ends: its last line, and how it ended. */
  end(): Promise<{ readonly last: PartLine; readonly code: number | null; readonly signal: string | null }>;
}

/** Starts a worker or a coordinator, each with a home of its own. */
export async function startPart(role: 'worker' | 'mirror', options: PartOptions): Promise<Part> {
  const child = spawn(process.execPath, [PROGRAM, role, JSON.stringify(options)], {
    cwd: ROOT,
    env: testEnvironment(await tempFolder()),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await closed;
  });
  const lines: PartLine[] = [];
  let said = '';
  let tell = (): void => undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as PartLine);
    tell();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  let isClosed = false;
  void closed.then(() => {
    isClosed = true;
    tell();
  });
  return {
    child,
    lines,
    until: async (isWanted) => {
      for (let seen = 0; ;) {
        for (; seen < lines.length; seen += 1) {
          const line = lines[seen];
          if (line !== undefined && Boolean(isWanted(line))) return line;
        }
        if (isClosed) throw new Error(`${role} ended: ${JSON.stringify(lines.slice(-3))} ${said}`);
        await new Promise<void>((resolve) => {
          const earlier = tell;
          tell = () => {
            earlier();
            resolve();
          };
        });
      }
    },
    end: async () => {
      await closed;
      // Warnings of Node, too, are something to look into.
      if (said !== '') throw new Error(`${role} wrote to stderr: ${said}`);
      return { last: lines.at(-1) ?? {}, code: child.exitCode, signal: child.signalCode };
    },
  };
}

/** Archives of so many packages: of each three `.conda`, and two `.tar.bz2` that are twins of the first two. */
export function manyPackages(count: number, generation = 'first') {
  return Array.from({ length: count }, (_, i) => {
    const name = `pack-${String(i).padStart(2, '0')}`;
    return [0, 1, 2].flatMap((number) => {
      const spec = {
        ...{ name, version: '1.0', build: `h0_${String(number)}`, subdir: 'noarch' },
        index: { noarch: 'generic' },
        payloadFiles: { 'share/text': `${name} ${String(number)} ${number === 0 ? generation : ''}` },
      };
      const conda = condaPackage({ ...spec, zip: { level: 1 } });
      return number === 2 ? [conda] : [conda, tarBz2Package(spec)];
    });
  }).flat();
}

/** All that two channels in a registry must have in common: repository and tag → digest, without what tells the time. */
export async function contentsOf(host: string, path: string): Promise<Record<string, string>> {
  const contents: Record<string, string> = {};
  for (const repository of await repositoriesBelow(host, path)) {
    // The ledger tells when things happened, and a history tag is a time.
    if (/(?:repodata_ledger\.json|mledger)$/.test(repository)) continue;
    const { body } = await ask(`http://${host}/v2/${repository}/tags/list`);
    const { tags } = JSON.parse(body.toString()) as { tags: readonly string[] | null };
    for (const tag of tags ?? []) {
      if (/^(?:\d{4}\.\d\d\.\d\d\.\d\d\.\d\d\.\d\d|\d{8}T\d{6}Z)$/.test(tag)) continue;
      const { headers } = await ask(`http://${host}/v2/${repository}/manifests/${tag}`, {
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
      });
      contents[`${repository.slice(path.length)}:${tag}`] = String(headers['docker-content-digest']);
    }
  }
  return contents;
}

async function repositoriesBelow(host: string, path: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (let last = ''; ;) {
    const { body } = await ask(`http://${host}/v2/_catalog?n=500&last=${encodeURIComponent(last)}`);
    const { repositories } = JSON.parse(body.toString()) as { repositories: readonly string[] };
    found.push(...repositories.filter((name) => name.startsWith(`${path}/`)));
    const next = repositories.at(-1);
    if (next === undefined) return found;
    last = next;
  }
}

/** The config that all artifacts of a repository share: each worker that meets a new repository sends it. */
const CONFIG = 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';

/** Blobs that were uploaded more often than once to the same repository below a path, with how often. */
export function uploadedTwice(log: readonly string[], path: string): string[] {
  const times = new Map<string, number>();
  for (const line of log) {
    const [, url] = /"(?:PUT|POST) (\/v2\/\S+) HTTP\/1\.1" 201/.exec(line) ?? [];
    const [, repository, digest] =
      /^\/v2\/(.+)\/blobs\/uploads\/.*[?&]digest=([^&\s]+)/.exec(url ?? '') ?? [];
    const blob = decodeURIComponent(digest ?? CONFIG);
    if (repository?.startsWith(`${path}/`) !== true || blob === CONFIG) continue;
    const what = `${repository} ${blob}`;
    times.set(what, (times.get(what) ?? 0) + 1);
  }
  return [...times].flatMap(([what, count]) => (count > 1 ? [`${what} ${String(count)}`] : []));
}

/** A report without what differs from run to run. */
export function timeless(report: MirrorReport | undefined): object {
  const { startedAt: _, endedAt: __, destination: ___, ...rest } = report ?? ({} as MirrorReport);
  return rest;
}
