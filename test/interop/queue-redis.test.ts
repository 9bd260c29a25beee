import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { readFile } from 'node:fs/promises';
import { Redis } from 'ioredis';
import {
  beforeAll,
  afterAll,
  afterEach,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { isFerryError, type FerryError } from '#ferry/errors.js';
import { readMemory, roomFor } from '#ferry/queue/check-redis.js';
import { openQueueRedis, type QueueRedisOptions } from '#ferry/queue/queue-redis.js';
import { listenHere } from '../support/listen.js';
import { startRedis, type RedisOptions, type StartedRedis } from '../support/redis.js';
import { makeServerCertificate } from '../support/registries/certificates.js';
import { tempFolder } from '../support/temp.js';

const MIB = 1024 * 1024;

/** What the libraries print. */
let printed: unknown[][];

beforeEach(() => {
  printed = [];
  for (const way of ['log', 'info', 'warn', 'error'] as const) {
    vi.spyOn(console, way).mockImplementation((...parts: unknown[]) => {
      printed.push(parts);
    });
  }
});

afterEach(() => {
  expect(printed).toEqual([]);
});

let shared: StartedRedis;

beforeAll(async () => {
  shared = await startRedis();
});

afterAll(async () => {
  await shared[Symbol.asyncDispose]();
});

async function ownRedis(options: RedisOptions = {}): Promise<StartedRedis> {
  const redis = await startRedis(options);
  onTestFinished(async () => redis[Symbol.asyncDispose]());
  return redis;
}

/** Somebody else's connection, to set up and to look. */
function admin(redis: { readonly url: string }): Redis {
  const client = new Redis(redis.url);
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

/** Opens, and fails as it must. Nothing but the error is heard of it. */
async function refusal(options: QueueRedisOptions): Promise<FerryError> {
  const troubles: string[] = [];
  const startMs = performance.now();
  try {
    const queue = await openQueueRedis({ ...options, onTrouble: (text) => troubles.push(text) });
    await queue[Symbol.asyncDispose]();
  } catch (error) {
    if (!isFerryError(error)) throw error;
    expect(troubles).toEqual([]);
    expect(error.hint).toEqual(expect.any(String));
    expect(performance.now() - startMs).toBeLessThan(14_000);
    return error;
  }
  throw new Error('it was opened');
}

describe('a Redis that is fit', () => {
  test('is opened without leaving a key, and closed', async () => {
    const troubles: string[] = [];
    const queue = await openQueueRedis({ url: shared.url, onTrouble: (text) => troubles.push(text) });
    expect(queue.url).toBe(`redis://127.0.0.1:${shared.port}/0`);
    expect(queue.name).toBe('mirror');
    expect(queue.key('run')).toBe('conda-ferry:mirror:run');
    expect(queue.key('worker', 'a')).toBe('conda-ferry:mirror:worker:a');
    expect(queue.redis.options.maxRetriesPerRequest).toBeNull();
    expect(await queue.redis.dbsize()).toBe(0);
    await queue[Symbol.asyncDispose]();
    expect(queue.redis.status).toBe('end');
    expect(troubles).toEqual([]);
  });

  test('has databases', async () => {
    await using queue = await openQueueRedis({ url: `${shared.url}/3`, name: 'other' });
    await queue.redis.set(queue.key('run'), 'x');
    const client = admin({ url: `${shared.url}/3` });
    expect(await client.get('conda-ferry:other:run')).toBe('x');
    await client.flushdb();
    expect(await refusal({ url: `${shared.url}/99` })).toMatchObject({ code: 'QUEUE_UNFIT' });
  });

  test('wants the password that it is given, in the URL or beside it', async () => {
    const redis = await ownRedis({ password: 's3cret' });
    const bare = `redis://127.0.0.1:${redis.port}`;
    for (const options of [{ url: redis.url }, { url: bare, password: 's3cret' }]) {
      await using queue = await openQueueRedis(options);
      expect(await queue.redis.ping()).toBe('PONG');
      // BullMQ's connections are copies.
      const copy = queue.redis.duplicate();
      expect(await copy.ping()).toBe('PONG');
      copy.disconnect();
      expect(queue.url).not.toContain('s3cret');
    }
  });

  test('may want no password though there is one', async () => {
    const troubles: string[] = [];
    await using queue = await openQueueRedis({
      url: shared.url,
      password: 's3cret',
      onTrouble: (text) => troubles.push(text),
    });
    expect(await queue.redis.ping()).toBe('PONG');
    expect(troubles).toEqual([expect.stringContaining('asks for no password')]);
    expect(troubles.join()).not.toContain('s3cret');
  });

  test('without an append-only file is used with a warning', async () => {
    const redis = await ownRedis({ appendOnly: false });
    const troubles: string[] = [];
    await using queue = await openQueueRedis({ url: redis.url, onTrouble: (text) => troubles.push(text) });
    expect(await queue.redis.ping()).toBe('PONG');
    expect(troubles).toEqual([expect.stringContaining('append-only')]);
  });

  test('that still reads its data is waited for', async () => {
    const redis = await ownRedis({ flags: ['--key-load-delay', '700'] });
    const client = admin(redis);
    const batch = client.pipeline();
    for (let at = 0; at < 5000; at += 1) batch.set(`k${at}`, 'v');
    await batch.exec();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    client.disconnect();
    await redis.kill();
    const restarted = redis.restart();
    const troubles: string[] = [];
    await vi.waitFor(
      async () => {
        await using queue = await openQueueRedis({
          url: redis.url,
          onTrouble: (text) => troubles.push(text),
        });
        expect(await queue.redis.dbsize()).toBe(5000);
      },
      { timeout: 30_000 },
    );
    await restarted;
    expect(troubles).toEqual([expect.stringContaining('still reads its data')]);
  });

  test('is gone before it is opened: the signal counts', async () => {
    const reason = new Error('enough');
    await expect(openQueueRedis({ url: shared.url, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const mute = await listenHere(createServer());
    const ends = new AbortController();
    const opening = openQueueRedis({ url: `redis://${mute}`, signal: ends.signal });
    setTimeout(() => {
      ends.abort(reason);
    }, 200);
    await expect(opening).rejects.toBe(reason);
  });
});

describe('nothing there', () => {
  test('a port where nobody listens', async () => {
    const error = await refusal({ url: 'redis://:hunter2@127.0.0.1:1' });
    expect(error.code).toBe('QUEUE_UNREACHABLE');
    expect(error.message).toBe(
      'no Redis answers at `redis://127.0.0.1:1/0`: connect ECONNREFUSED 127.0.0.1:1',
    );
  });

  test('a host that is not there', async () => {
    const error = await refusal({ url: 'redis://redis.invalid' });
    expect(error.code).toBe('QUEUE_UNREACHABLE');
    expect(error.message).toMatch(/redis:\/\/redis\.invalid:6379\/0`: getaddrinfo (?:ENOTFOUND|EAI_AGAIN)/);
  });

  test('a web server', async () => {
    const host = await listenHere(createHttpServer((_, response) => response.end('hello')));
    for (const url of [`redis://${host}`, `redis://:hunter2@${host}`, `redis://${host}/2`]) {
      const error = await refusal({ url });
      expect(error.code).toBe('QUEUE_UNREACHABLE');
      expect(error.message).toMatch(/is no Redis|connection was closed/);
    }
  });

  test('a port that takes a connection and says nothing', async () => {
    const host = await listenHere(createServer());
    for (const scheme of ['redis', 'rediss']) {
      const error = await refusal({ url: `${scheme}://${host}` });
      expect(error.code).toBe('QUEUE_UNREACHABLE');
      expect(error.message).toMatch(/within 10 s|in time/);
    }
  });

  test('a port that ends each connection', async () => {
    const host = await listenHere(createServer((socket) => socket.destroy()));
    expect(await refusal({ url: `redis://${host}` })).toMatchObject({ code: 'QUEUE_UNREACHABLE' });
  });
});

describe('what ends the connection at once', () => {
  test.each([
    ['-DENIED Redis is running in protected mode', 'QUEUE_REFUSED', 'QUEUE_REFUSED'],
    ['-ERR max number of clients reached', 'QUEUE_UNFIT', 'QUEUE_UNREACHABLE'],
  ])('%s', async (reply, code, codeWithPassword) => {
    const host = await listenHere(
      createServer((socket) => socket.on('error', () => undefined).end(`${reply}\r\n`)),
    );
    const error = await refusal({ url: `redis://${host}` });
    expect(error.code).toBe(code);
    expect(error.message).toContain(reply.slice(1));
    expect(await refusal({ url: `redis://:hunter2@${host}` })).toMatchObject({ code: codeWithPassword });
  });

  test('or repeats what it was sent', async () => {
    const host = await listenHere(
      createServer((socket) => {
        socket.on('error', () => undefined);
        socket.on('data', (data) => socket.write(`-ERR what is ${JSON.stringify(data.toString())}\r\n`));
      }),
    );
    const error = await refusal({ url: `redis://mirror:hunter2@${host}` });
    expect(error.code).toBe('QUEUE_REFUSED');
    expect(JSON.stringify([error.message, error.hint, error.cause])).not.toContain('hunter2');
  });
});

describe('no way in', () => {
  test('a wrong password, none, a user who is not there', async () => {
    const redis = await ownRedis({ password: 's3cret' });
    const place = `127.0.0.1:${redis.port}`;
    for (const url of [`redis://:hunter2@${place}`, `redis://${place}`, `redis://nobody:s3cret@${place}`]) {
      const error = await refusal({ url });
      expect(error.code).toBe('QUEUE_REFUSED');
      expect(error.message).toContain(`redis://${place}/0`);
      expect(`${error.message} ${error.hint ?? ''}`).not.toMatch(/hunter2|s3cret|nobody/);
      expect(error.hint).toContain('CONDA_FERRY_QUEUE_PASSWORD');
    }
    expect(await admin(redis).dbsize()).toBe(0);
  });

  test('a user without the rights', async () => {
    const redis = await ownRedis();
    const client = admin(redis);
    const rights = {
      none: ['nocommands'],
      reader: ['~*', '+@read', '+@connection', '+info', '+eval'],
      elsewhere: ['~other:*', '+@all'],
      blind: ['~conda-ferry:*', '+@all', '-info'],
    };
    for (const [user, rules] of Object.entries(rights)) {
      await client.call('ACL', 'SETUSER', user, 'on', '>s3cret', ...rules);
      const error = await refusal({ url: `redis://${user}:s3cret@127.0.0.1:${redis.port}` });
      expect(error.code).toBe('QUEUE_REFUSED');
      expect(error.hint).toContain('~conda-ferry:*');
    }
    expect(await client.dbsize()).toBe(0);
  });

  test('but a user with the rights that the hint names', async () => {
    const redis = await ownRedis();
    const rules = ['~conda-ferry:*', '+@all', '-@dangerous', '+info'];
    await admin(redis).call('ACL', 'SETUSER', 'ferry', 'on', '>s3cret', ...rules);
    await using queue = await openQueueRedis({ url: `redis://ferry:s3cret@127.0.0.1:${redis.port}` });
    expect(await queue.redis.set(queue.key('run'), 'x')).toBe('OK');
  });
});

describe('a Redis that is not fit', () => {
  test('evicts', async () => {
    const redis = await ownRedis({ flags: ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'] });
    const error = await refusal({ url: redis.url });
    expect(error.code).toBe('QUEUE_UNFIT');
    expect(error.message).toContain('`allkeys-lru`');
    expect(error.hint).toContain('CONFIG SET maxmemory-policy noeviction');
    const client = admin(redis);
    expect(await client.dbsize()).toBe(0);
    await client.config('SET', 'maxmemory-policy', 'noeviction');
    await using queue = await openQueueRedis({ url: redis.url });
    expect(await queue.redis.ping()).toBe('PONG');
  });

  test('is a replica', async () => {
    const redis = await ownRedis({ flags: ['--replicaof', '127.0.0.1', String(shared.port)] });
    await vi.waitFor(async () => {
      expect(await admin(redis).info('replication')).toContain('master_link_status:up');
    }, 10_000);
    const error = await refusal({ url: redis.url });
    expect(error.code).toBe('QUEUE_UNFIT');
    expect(error.hint).toContain(`\`127.0.0.1:${shared.port}\``);
  });

  test('is a node of a cluster', async () => {
    const redis = await ownRedis({ flags: ['--cluster-enabled', 'yes'] });
    expect(await refusal({ url: redis.url })).toMatchObject({ code: 'QUEUE_UNFIT' });
  });

  test('takes no writes', async () => {
    const redis = await ownRedis({ flags: ['--min-replicas-to-write', '1'] });
    const error = await refusal({ url: redis.url });
    expect(error.code).toBe('QUEUE_UNFIT');
    expect(error.message).toContain('NOREPLICAS');
  });

  test('has no scripts', async () => {
    const redis = await ownRedis({ flags: ['--rename-command', 'EVAL', ''] });
    expect(await refusal({ url: redis.url })).toMatchObject({ code: 'QUEUE_UNFIT' });
  });

  test('has no memory left', async () => {
    const redis = await ownRedis({ flags: ['--maxmemory', '8mb'] });
    const client = admin(redis);
    await using queue = await openQueueRedis({ url: redis.url });
    const { maxBytes, usedBytes } = await readMemory(queue);
    expect(maxBytes).toBe(8 * MIB);
    expect(usedBytes).toBeGreaterThan(0);
    await roomFor(queue, 1 * MIB);
    await expect(roomFor(queue, 100 * MIB)).rejects.toMatchObject({
      code: 'QUEUE_FULL',
      message: expect.stringMatching(/need about 100 MiB, and .* has \d\.\d left of 8\.0 MiB/) as string,
    });
    await client.config('SET', 'maxmemory', '900kb');
    const error = await refusal({ url: redis.url });
    expect(error.code).toBe('QUEUE_FULL');
    expect(error.message).toMatch(/\d\.\d of 0\.9 MiB/);
    // Not so where somebody wants to look, or to empty it.
    await using other = await openQueueRedis({ url: redis.url, allowFull: true });
    expect(await other.redis.dbsize()).toBe(0);
  });
});

describe('TLS', () => {
  test('is spoken where the URL says so, to whom is trusted', async () => {
    const { keyFile, certificateFile, caFile } = await makeServerCertificate(await tempFolder());
    const ca = await readFile(caFile, 'utf8');
    const port = await freePort();
    const redis = await ownRedis({
      flags: [
        ...['--tls-port', String(port), '--tls-auth-clients', 'no'],
        ...['--tls-cert-file', certificateFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', caFile],
      ],
    });
    await using queue = await openQueueRedis({ url: `rediss://localhost:${port}`, ca });
    expect(await queue.redis.ping()).toBe('PONG');
    const untrusted = await refusal({ url: `rediss://localhost:${port}` });
    expect(untrusted.code).toBe('QUEUE_UNREACHABLE');
    expect(untrusted.hint).toContain('--queue-ca-file');
    expect(await refusal({ url: `redis://localhost:${port}` })).toMatchObject({ code: 'QUEUE_UNREACHABLE' });
    const plain = await refusal({ url: `rediss://127.0.0.1:${redis.port}`, ca });
    expect(plain.code).toBe('QUEUE_UNREACHABLE');
    expect(await admin(redis).dbsize()).toBe(0);
  });
});

describe('a Redis that goes away', () => {
  test('is waited for, and told of once', async () => {
    const redis = await ownRedis();
    const troubles: string[] = [];
    await using queue = await openQueueRedis({ url: redis.url, onTrouble: (text) => troubles.push(text) });
    await queue.redis.set(queue.key('run'), 'before');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await redis.kill();
    const waiting = queue.redis.get(queue.key('run'));
    await vi.waitFor(() => {
      expect(troubles).toHaveLength(1);
    }, 5000);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await redis.restart();
    expect(await waiting).toBe('before');
    await vi.waitFor(() => {
      expect(troubles).toEqual([
        expect.stringMatching(
          /^Redis at `redis:.*` does not answer since \d\d:\d\d:\d\d UTC .*: waiting for it$/,
        ),
        expect.stringMatching(/ is back after \d+ s$/),
      ]);
    });
  });

  test('and is back at once is not worth a word', async () => {
    const redis = await ownRedis();
    const troubles: string[] = [];
    await using queue = await openQueueRedis({ url: redis.url, onTrouble: (text) => troubles.push(text) });
    await admin(redis).client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    expect(await queue.redis.ping()).toBe('PONG');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(troubles).toEqual([]);
  });

  test('is left without waiting for it, and what waited fails', async () => {
    const redis = await ownRedis();
    for (const pauseMs of [0, 100, 3000]) {
      await redis.restart();
      const queue = await openQueueRedis({ url: redis.url });
      await redis.kill();
      const waiting = expect(queue.redis.get('x')).rejects.toThrow('closed');
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      const startMs = performance.now();
      await queue[Symbol.asyncDispose]();
      expect(performance.now() - startMs).toBeLessThan(3500);
      expect(queue.redis.status).toBe('end');
      await waiting;
    }
  });

  test('without a word is noticed, and left', async () => {
    const redis = await ownRedis();
    const troubles: string[] = [];
    const queue = await openQueueRedis({ url: redis.url, onTrouble: (text) => troubles.push(text) });
    const pid = Number(/process_id:(\d+)/.exec(await queue.redis.info('server'))?.[1]);
    process.kill(pid, 'SIGSTOP');
    try {
      await vi.waitFor(
        () => {
          expect(troubles).toEqual([expect.stringContaining('does not answer since')]);
        },
        { timeout: 30_000, interval: 200 },
      );
      const waiting = queue.redis.get('x');
      process.kill(pid, 'SIGCONT');
      expect(await waiting).toBeNull();
      expect(troubles).toEqual([expect.anything(), expect.stringContaining('is back')]);
      process.kill(pid, 'SIGSTOP');
      const startMs = performance.now();
      await queue[Symbol.asyncDispose]();
      expect(performance.now() - startMs).toBeLessThan(5000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
