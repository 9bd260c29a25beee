/**
 * One part of a mirror by queue in a process of its own, which may be killed. Arguments: `worker` or `mirror`, and JSON:
 * `redis` (port), `name`, `version`, `source`, `host` or `folder`, `path`, `schema`, and more as below. Says what happens in
 * lines of JSON, the last of them the report or the error.
 */
import { argv, exit, stdout } from 'node:process';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import { isFerryError } from '#ferry/errors.js';
import { openHttpClient } from '#ferry/http/client.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { Resources } from '#ferry/io/resources.js';
import { mirrorByQueue } from '#ferry/queue/coordinate.js';
import { openQueueRedis } from '#ferry/queue/queue-redis.js';
import { runWorker } from '#ferry/queue/worker.js';
import { openRegistry } from '#ferry/registry/open-registry.js';

/** @import { WorkerEnds } from '#ferry/queue/run-parts.js' */

const [role, json = '{}'] = argv.slice(2);
/** @type {import('../support/queue-scene.js').PartOptions} */
const options = /** @type {never} */ (JSON.parse(json));
const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stop.abort(new Error('stopped')));

/** @param {object} what */
function say(what) {
  stdout.write(`${JSON.stringify(what)}\n`);
}

/** @param {import('#ferry/queue/run-record.js').RunEnds} ends @returns {Promise<WorkerEnds>} */
async function openEnds(ends) {
  const requests = { source: 0, destination: 0 };
  const schema = ends['schema'] === 'v1' ? schemaV1 : schemaV0;
  /** @type {AsyncDisposable[]} */
  const open = [];
  const { username, password } = options;
  /** @param {string} host @param {'source' | 'destination'} side */
  const registryAt = (host, side) => {
    const registry = openRegistry(host, {
      userAgent: 'conda-ferry-test',
      onRequest: () => (requests[side] += 1),
      findCredential: () =>
        Promise.resolve(
          username === undefined || password === undefined
            ? undefined
            : { kind: 'basic', username, password },
        ),
    });
    open.push(registry);
    return registry;
  };
  const { source: from = '', host, folder = '', path = '' } = /** @type {Record<string, string>} */ (ends);
  const registry = host === undefined ? openLayoutRegistry(folder) : registryAt(host, 'destination');
  const store = new ChannelStore(registry, path, schema);
  const url = new URL(from);
  /** @type {import('#ferry/conda/channel-source.js').ChannelSource} */
  let source;
  if (url.protocol === 'oci:') {
    source = new OciChannel(new ChannelStore(registryAt(url.host, 'source'), url.pathname.slice(1), schema));
  } else {
    const client = openHttpClient({
      userAgent: 'conda-ferry-test',
      onRequest: () => (requests.source += 1),
    });
    open.push(client);
    source = new HttpChannel(url, client.send);
  }
  const { deadly } = options;
  if (deadly !== undefined && role === 'worker') {
    const openArchive = source.openArchive.bind(source);
    source.openArchive = (archive, more) => {
      // As the kernel ends a process that takes too much memory.
      if (archive.filename.startsWith(deadly)) process.kill(process.pid, 'SIGKILL');
      return openArchive(archive, more);
    };
  }
  return {
    source,
    store,
    requests: () => ({ ...requests }),
    [Symbol.asyncDispose]: async () => {
      for (const one of open) await one[Symbol.asyncDispose]();
    },
  };
}

const { redis, name, version = '1', lockMs, stalledCheckMs, concurrency = 4, untilDone } = options;
const resources = new Resources();
try {
  const redisOptions = {
    url: `redis://127.0.0.1:${String(redis)}`,
    name,
    onTrouble: (/** @type {string} */ text) => say({ trouble: text }),
  };
  const queue = resources.use(await openQueueRedis(redisOptions));
  const workers = resources.use(new WorkerPool());
  if (role === 'worker') {
    const report = await runWorker({
      ...{ queue, version, concurrency, openEnds, workers, lockMs, stalledCheckMs, untilDone },
      stop: stop.signal,
      reporter: {
        waiting: () => say({ waiting: true }),
        run: ({ id }) => say({ run: id }),
        ended: (_, state) => say({ ended: state }),
        archive: ({ filename, failure }) => say({ archive: filename, code: failure?.code }),
        warning: (text) => say({ warning: text }),
      },
    });
    say({ report });
  } else {
    const ends = resources.use(await openEnds(options.ends));
    const { attempts, retryMs, leaseMs, checkpointMs, stopGraceMs } = options;
    const result = await mirrorByQueue(
      {
        ...{ source: ends.source, destination: ends.store, workers, checkpointMs, stopGraceMs },
        stop: stop.signal,
        reporter: {
          planned: (total) => say({ planned: total.archives }),
          archive: ({ filename, failure }) => say({ archive: filename, code: failure?.code }),
          warning: (text) => say({ warning: text }),
          published: (subdir, as) => say({ published: subdir, as }),
        },
      },
      { ...{ queue, version, attempts, retryMs, leaseMs }, ends: options.ends },
    );
    say({ ...result, own: ends.requests() });
  }
} catch (error) {
  if (stop.signal.aborted && error === stop.signal.reason) say({ stopped: true });
  else if (isFerryError(error)) say({ code: error.code, message: error.message, hint: error.hint });
  else say({ error: error instanceof Error ? String(error.stack) : String(error) });
  process.exitCode = 3;
} finally {
  await resources[Symbol.asyncDispose]();
}
// A handle that is forgotten must not pass unnoticed.
setTimeout(() => {
  say({ error: 'the process does not end by itself' });
  exit(4);
}, 10_000).unref();
