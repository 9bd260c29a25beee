/**
 * `node queue-run.mjs REGISTRY SOURCE [REDIS]`: two runs of the command, a small one first and the one that is timed, as anybody
 * would start it: by itself, or, where a Redis is named, as the coordinator of workers that others have started.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { argv, execPath, stdout } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { listWorkers } from '#ferry/queue/presence.js';
import { openQueueRedis } from '#ferry/queue/queue-redis.js';

const MAIN = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js');

const [host = '', sourceHost = '', redisUrl = '', workers = '0'] = argv.slice(2);
if (redisUrl !== '') {
  const queue = await openQueueRedis({ url: redisUrl });
  while ((await listWorkers(queue)).length < Number(workers)) await delay(100);
  await queue[Symbol.asyncDispose]();
}
await mirror('warm');
// Workers that are done with one run are at rest before the next.
await delay(2000);
const start = performance.now();
await mirror('main');
stdout.write(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));

/** @param {string} channel */
async function mirror(channel) {
  const queue = redisUrl === '' ? [] : ['--queue', redisUrl];
  const ends = [`http://${sourceHost}/${channel}`, `oci://${host}/bench/${channel}`];
  await promisify(execFile)(execPath, [MAIN, 'mirror', ...ends, '--subdir', 'noarch', '--quiet', ...queue]);
}
