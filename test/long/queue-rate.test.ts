import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { listWorkers } from '#ferry/queue/presence.js';
import { openQueueRedis } from '#ferry/queue/queue-redis.js';
import { faultsOf, listedRecords } from '../support/audit.js';
import { useGhcrDouble, type GhcrDouble } from '../support/double/ghcr.js';
import { ROOT, testEnvironment } from '../support/ferry.js';
import { startRedis } from '../support/redis.js';
import { doubleReader, STORM_PATH, writeStormChannel } from '../support/storm.js';
import { tempFolder } from '../support/temp.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const LIMIT = 2000;
const MINUTE_MS = 60_000;
/**
 * Requests at once that the doubles let pass beyond the rate. With the usual 10, a process that has to wait a third of a second for
 * a core of a busy machine is refused, a single run as well as a fleet; against some 8,000 requests it is nothing.
 */
const BURST = 60;
/** Some eight requests each, so that a run takes more than three minutes. */
const ARCHIVES = 900;
const USERS = [
  { username: 'owner', password: 'ghp_owner', owners: ['org'] },
  { username: 'other', password: 'ghp_other', owners: ['org'] },
] as const;

interface Fleet {
  readonly what: string;
  readonly workers: number;
  /** Whether the limit is that of the profile, or not known before the first refusal. */
  readonly isKnown: boolean;
  /** Users that the workers are in turns, each with a limit of its own. */
  readonly users: number;
}

const FLEETS: readonly Fleet[] = [
  { what: 'one worker, known', workers: 1, isKnown: true, users: 1 },
  { what: 'two workers, learnt', workers: 2, isKnown: false, users: 1 },
  { what: 'eight workers, known', workers: 8, isKnown: true, users: 1 },
  { what: 'eight workers, learnt', workers: 8, isKnown: false, users: 1 },
  { what: 'two workers of two users, known', workers: 2, isKnown: true, users: 2 },
];

/** In real time and all at once, each fleet with a registry of its own: one after the other they would take half an hour. */
test('a limit of 2000 requests a minute is kept and used by fleets of every size, by each user', async () => {
  const folders = new Map<number, string>();
  for (const { users } of FLEETS) {
    if (folders.has(users)) continue;
    const folder = await tempFolder();
    await writeStormChannel(folder, ARCHIVES * users);
    folders.set(users, folder);
  }
  // Were this process slow to answer, the doubles in it would be what limits.
  const lag = monitorEventLoopDelay();
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  lag.enable();
  const runs = await Promise.all(
    FLEETS.map(async (fleet) => runFleet(fleet, folders.get(fleet.users) ?? '')),
  );
  lag.disable();
  const { user, system } = process.cpuUsage(cpuBefore);
  const load = (user + system) / 1000 / (performance.now() - startedAt);
  console.log(
    `the doubles: answers ${(lag.mean / 1e6).toFixed(1)} ms late on average, ${(lag.percentile(99) / 1e6).toFixed(0)} ms at worst of 100, ${(load * 100).toFixed(0)} % of a core`,
  );
  for (const { fleet, minutes, perMinute, refused } of runs) {
    console.log(
      `${fleet.what}: ${perMinute.join(', ')} requests in ${minutes.toFixed(2)} minutes, ${refused} refused`,
    );
  }
  for (const { fleet, minutes, perMinute, refused } of runs) {
    expect.soft(minutes, fleet.what).toBeGreaterThan(3);
    for (const count of perMinute.slice(1, Math.floor(minutes)))
      expect.soft(count, fleet.what).toBeGreaterThanOrEqual(0.85 * LIMIT * fleet.users);
    expect.soft(refused, fleet.what).toBeLessThanOrEqual(10);
  }
  expect(load).toBeLessThan(0.8);
});

/** Mirrors a folder by the commands, and counts what came to the registry by the minute. */
async function runFleet(fleet: Fleet, folder: string) {
  const users = USERS.slice(0, fleet.users);
  const ghcr = await useGhcrDouble({
    ...{ users, limitPerMinute: LIMIT, burst: BURST, limited: fleet.users > 1 ? 'each-user' : 'all' },
  });
  await using redis = await startRedis();
  const children: ChildProcess[] = [];
  const start = (args: readonly string[], number: number): ChildProcess => {
    const user = users[number % users.length];
    const child = spawn(process.execPath, [MAIN, ...args, '--queue', redis.url, '--quiet'], {
      cwd: ROOT,
      env: {
        ...testEnvironment(),
        CONDA_FERRY_USERNAME: user?.username ?? '',
        CONDA_FERRY_PASSWORD: user?.password ?? '',
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    children.push(child);
    return child;
  };
  try {
    for (let i = 0; i < fleet.workers; i += 1) start(['worker'], i);
    await untilThere(redis.url, fleet.workers);
    const profile = fleet.isKnown ? ['--profile', 'ghcr.io'] : [];
    const destination = `oci://${ghcr.host}/${STORM_PATH}`;
    const coordinator = start(['mirror', folder, destination, '--plain-http', ...profile], 0);
    await once(coordinator, 'close');
    expect(coordinator.exitCode, fleet.what).toBe(0);
  } finally {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  const records = await listedRecords(doubleReader(ghcr), `${STORM_PATH}/noarch`);
  expect(records).toHaveLength(ARCHIVES * fleet.users);
  expect(await faultsOf(doubleReader(ghcr), `${STORM_PATH}/noarch`)).toEqual([]);
  return { fleet, ...rateOf(ghcr) };
}

/** Counts from the first upload of an archive to the last, by minutes. */
function rateOf(ghcr: GhcrDouble) {
  // Tokens have no limit at the double.
  const limited = ghcr.requests.filter(({ kind }) => kind !== 'token');
  const uploads = limited.filter(
    ({ method, repository }) => method === 'PUT' && /storm-\d+$/.test(repository),
  );
  const from = uploads.at(0)?.at ?? 0;
  const minutes = ((uploads.at(-1)?.at ?? 0) - from) / MINUTE_MS;
  const perMinute = Array.from({ length: Math.ceil(minutes) }, (_, minute) => {
    const begin = from + minute * MINUTE_MS;
    return limited.filter(({ at, status }) => at >= begin && at < begin + MINUTE_MS && status !== 429).length;
  });
  return { minutes, perMinute, refused: limited.filter(({ status }) => status === 429).length };
}

async function untilThere(url: string, workers: number): Promise<void> {
  await using queue = await openQueueRedis({ url });
  while ((await listWorkers(queue)).length < workers) await delay(100);
}
