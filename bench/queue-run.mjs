/**
 * `node queue-run.mjs single|queue REGISTRY SOURCE [REDIS PIDS]`: two mirror runs, a small one that warms up and the one
 * that counts, timed from within: as the single process does it, or as the coordinator of workers that others have started. PIDS, such as
 * `12,13`, are of the workers and of Redis, whose processor time counts too.
 */
import { readFile } from 'node:fs/promises';
import { argv, cpuUsage, stdout } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { letHeapGrow } from '#ferry/cli/heap-growth.js';
import { mirrorByQueue } from '#ferry/queue/coordinate.js';
import { listWorkers } from '#ferry/queue/presence.js';
import { openQueueRedis } from '#ferry/queue/queue-redis.js';
import { VERSION } from '#ferry/cli/version.js';
import { ChannelStore, HttpChannel, mirrorChannel, oci, schemaV0 } from '../dist/index.js';

letHeapGrow();
const [way = 'single', host = '', sourceHost = '', redisUrl = '', pids = ''] = argv.slice(2);
const options = { userAgent: 'conda-ferry-bench' };
const reading = oci.openHttpClient(options);
const writing = oci.openHttpClient(options);
const queue = way === 'queue' ? await openQueueRedis({ url: redisUrl }) : undefined;
const others = pids === '' ? [] : pids.split(',');
// One of them is Redis.
if (queue !== undefined) while ((await listWorkers(queue)).length < others.length - 1) await delay(100);

await mirror('warm');
// Workers that are done with one run are at rest before the next.
if (queue !== undefined) await delay(2000);
const cpuBefore = cpuUsage();
const othersBefore = await cpuOfOthers();
const start = performance.now();
const report = await mirror('main');
const seconds = (performance.now() - start) / 1000;
const { user, system } = cpuUsage(cpuBefore);
const cpuSeconds = (user + system) / 1e6 + (await cpuOfOthers()) - othersBefore;
if (report.subdirs.some(({ failed }) => failed.length > 0)) throw new Error('archives failed');
stdout.write(JSON.stringify({ seconds, cpuSeconds }));
await queue?.[Symbol.asyncDispose]();
await Promise.all([reading[Symbol.asyncDispose](), writing[Symbol.asyncDispose]()]);

/** @param {string} channel */
async function mirror(channel) {
  const path = `bench/${channel}`;
  const source = `http://${sourceHost}/${channel}`;
  const registry = new oci.RegistryClient({ host, send: writing.send });
  const run = {
    source: new HttpChannel(new URL(source), reading.send),
    destination: new ChannelStore(registry, path, schemaV0),
    subdirs: ['noarch'],
  };
  if (queue === undefined) return mirrorChannel(run);
  const ends = { source, destination: `oci://${host}/${path}`, schema: 'v0', plainHttp: true };
  const done = await mirrorByQueue(run, { queue, version: VERSION, ends });
  return done.report;
}

/** Processor seconds of the other processes so far, where the system tells. */
async function cpuOfOthers() {
  let ticks = 0;
  for (const pid of others) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    // After the name, which may hold anything: utime and stime are the 14th and 15th fields, a hundred ticks a second.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks / 100;
}
