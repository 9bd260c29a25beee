/**
 * `node queue-enqueue.mjs items|lone|plan REDIS ARCHIVES [CHANNEL]`: puts archives into a queue that has no workers, until all
 * are there, and tells what that took. `items` makes up a plan, 34 builds a name as conda-forge has them on average; `lone` one
 * of a single build a name, so that no two archives share a job; `plan` is a coordinator that plans a channel by itself.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { argv, exit, memoryUsage, resourceUsage, stdout } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { letHeapGrow } from '#ferry/cli/heap-growth.js';
import { VERSION } from '#ferry/cli/version.js';
import { carryByQueue } from '#ferry/queue/carry-by-queue.js';
import { mirrorByQueue } from '#ferry/queue/coordinate.js';
import { JobQueue } from '#ferry/queue/job-queue.js';
import { openQueueRedis } from '#ferry/queue/queue-redis.js';
import { ChannelStore, DirectoryChannel, oci, schemaV0 } from '../dist/index.js';

const SUBDIR = 'linux-64';
const BUILDS_PER_NAME = 34;
const POLL_MS = 500;
/** Jobs that become no more for so long are all there. */
const QUIET_MS = 4000;

letHeapGrow();
const [way = 'items', redisUrl = '', archivesText = '0', channel = ''] = argv.slice(2);
const archives = Number(archivesText);
const queue = await openQueueRedis({ url: redisUrl });
const store = new ChannelStore(new oci.MemoryRegistry(), 'bench', schemaV0);
const before = await redisBytes();
const idleBytes = memoryUsage.rss();
const start = performance.now();
const end = new AbortController();
const working = (way === 'plan' ? coordinate() : enqueue()).catch((/** @type {unknown} */ error) => {
  if (!end.signal.aborted) throw error;
});
const { jobs, seconds } = await Promise.race([untilFilled(), working.then(() => ({ jobs: 0, seconds: 0 }))]);
const redis = await redisBytes();
const residentBytes = await peakBytes();
const rss = memoryUsage.rss();
end.abort();
await working;
await queue[Symbol.asyncDispose]();
stdout.write(
  JSON.stringify({
    ...{ archives, jobs, seconds, idleBytes, residentBytes, rss },
    redisBytesPerArchive: (redis - before) / archives,
  }),
);
// What a coordinator has open besides is of no interest any more.
exit(0);

/** Waits until as many jobs are there as there will be. */
async function untilFilled() {
  let jobs = 0;
  let grownAt = performance.now();
  while (jobs === 0 || performance.now() - grownAt < QUIET_MS) {
    await delay(POLL_MS);
    const now = await queue.redis.llen(queue.key('wait'));
    if (now > jobs) grownAt = performance.now();
    jobs = Math.max(jobs, now);
  }
  return { jobs, seconds: (grownAt - start) / 1000 };
}

async function enqueue() {
  const jobs = new JobQueue(queue, 'bench');
  const executor = carryByQueue({
    jobs,
    attempts: 3,
    checkRoom: () => Promise.resolve(),
    isRepeated: () => false,
    onState: () => Promise.resolve(),
    onWarning: () => undefined,
  });
  // Of a plan, what the executor asks for.
  const plan = /** @type {import('../dist/mirror/plan.js').SubdirPlan} */ (
    /** @type {unknown} */ ({ subdir: SUBDIR, artifacts: archives, items, item: () => undefined })
  );
  const context = /** @type {import('../dist/mirror/executor.js').ExecutorContext} */ (
    /** @type {unknown} */ ({ store })
  );
  await executor.carry(
    {
      plan,
      isSuspect: () => false,
      stop: undefined,
      signal: end.signal,
      settled: () => Promise.resolve(),
      abandoned: () => undefined,
    },
    context,
  );
}

/** @returns {Generator<import('../dist/mirror/plan.js').PlanItem>} */
function* items() {
  const builds = way === 'lone' ? 1 : BUILDS_PER_NAME;
  for (let i = 0; i < archives; i += 1) {
    const sha256 = createHash('sha256').update(String(i)).digest('hex');
    // Names, versions and builds are as long as conda-forge's are, or a little longer.
    const name = `package-${String(Math.floor(i / builds)).padStart(7, '0')}`;
    const [version, build] = [`1.${String(i % 97)}.0`, `py312h${sha256.slice(0, 7)}_${String(i % builds)}`];
    const record = {
      ...{ name, version, build, sha256, md5: sha256.slice(0, 32), size: 1_000_000 + i, listedIn: SUBDIR },
      ...{ filename: `${name}-${version}-${build}.conda`, extension: '.conda', url: undefined },
    };
    yield /** @type {import('../dist/mirror/plan.js').PlanItem} */ (
      /** @type {unknown} */ ({
        ...{ subdir: SUBDIR, add: [record], replaces: false, displaced: undefined, twin: undefined },
        place: store.schema.placeOf(record),
      })
    );
  }
}

async function coordinate() {
  const ends = { source: 'https://conda.example/bench', destination: 'oci://registry.example/bench' };
  await mirrorByQueue(
    { source: new DirectoryChannel(channel), destination: store, subdirs: [SUBDIR], signal: end.signal },
    { queue, version: VERSION, ends },
  );
}

/** Since this program began; what the system counts for a process may be that of whoever started it. */
async function peakBytes() {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const kib = /VmHWM:\s*(\d+) kB/.exec(status)?.[1];
  return (kib === undefined ? resourceUsage().maxRSS : Number(kib)) * 1024;
}

async function redisBytes() {
  const info = await queue.redis.info('memory');
  return Number(/used_memory:(\d+)/.exec(info)?.[1]);
}
