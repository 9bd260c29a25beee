import { PassThrough, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { createAccessLog } from '#ferry/serve/access-log.js';
import type { Answered } from '#ferry/serve/listen/listen-reporter.js';
import { expect, test } from 'vitest';

const EVENT: Answered = {
  id: 'a-1',
  remote: '127.0.0.1',
  method: 'GET',
  target: '/conda-forge/noarch/repodata.json',
  userAgent: 'conda/25.1',
  status: 200,
  bytes: 81,
  ms: 1.54,
  route: 'repodata',
  cache: 'hit',
  isWhole: true,
};

/** What is logged of these events. */
async function logged(...events: Partial<Answered>[]): Promise<string> {
  const sink = new PassThrough();
  const log = createAccessLog(sink);
  for (const event of events) log.write({ ...EVENT, ...event });
  await log.close();
  sink.end();
  return text(sink);
}

test('a request is one line of JSON', async () => {
  const output = await logged({}, { isWhole: false, status: 0 });
  const lines = output.trimEnd().split('\n');
  const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
  expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  expect(rest).toEqual({
    id: 'a-1',
    remote: '127.0.0.1',
    method: 'GET',
    path: '/conda-forge/noarch/repodata.json',
    status: 200,
    bytes: 81,
    ms: 1.5,
    agent: 'conda/25.1',
    cache: 'hit',
    route: 'repodata',
  });
  expect(JSON.parse(lines[1]!)).toMatchObject({ status: 0, broken: true });
});

test.each([
  ['/t/secret/conda-forge/a', '/t/***/conda-forge/a'],
  ['/t/secret', '/t/***'],
  ['/x/t/secret/a', '/x/t/***/a'],
  ['//t/secret/a', '/t/***/a'],
  ['/%74/secret/a', '/t/***/a'],
  ['/T%2fsecret/a', '/t/***/a'],
  ['/a?token=secret', '/a?token=***'],
  ['/a?secret', '/a?***='],
  ['/v2/a/tags/list?n=10', '/v2/a/tags/list?n=10'],
  ['http://name:secret@host/a', '[url]'],
  ['/a%20b/c', '/a%20b/c'],
])('the target %j is logged as %j', async (target, path) => {
  expect(JSON.parse(await logged({ target }))).toMatchObject({ path });
});

test('nothing a client sends makes a line of its own, or speaks to a terminal', async () => {
  const nasty = 'a\n{"status":200}\r\u001b[31m\u009b31m\u202e\u2028\u007f"\\';
  const output = await logged({ userAgent: nasty, target: `/${nasty}`, method: nasty });
  expect(output.trimEnd()).toMatch(/^[\u0020-\u007e]+$/);
  expect(JSON.parse(output)).toMatchObject({ agent: nasty, method: nasty });
});

test('what is long is cut', async () => {
  const output = await logged({ userAgent: 'u'.repeat(5000), target: `/${'p'.repeat(8000)}` });
  const { agent, path } = JSON.parse(output) as { agent: string; path: string };
  expect([agent.length, path.length]).toEqual([200, 2000]);
});

test('lines are written together, soon', async () => {
  const writes: string[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      writes.push(chunk.toString());
      done();
    },
  });
  const log = createAccessLog(sink, { flushMs: 20 });
  for (let index = 0; index < 100; index += 1) log.write(EVENT);
  expect(writes).toEqual([]);
  await delay(100);
  expect(writes).toHaveLength(1);
  expect(writes[0]?.match(/\n/g)).toHaveLength(100);
  await log.close();
});

test('a sink that is slow loses lines, which are counted, and nobody waits for it', async () => {
  let release: (() => void) | undefined;
  const writes: string[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      writes.push(chunk.toString());
      if (release === undefined) release = done;
      else done();
    },
  });
  const log = createAccessLog(sink, { flushMs: 5, maxBytes: 3000 });
  for (let index = 0; index < 100; index += 1) log.write(EVENT);
  await delay(30);
  for (let index = 0; index < 100; index += 1) log.write(EVENT);
  const { dropped } = log;
  expect(dropped).toBeGreaterThan(150);
  release?.();
  await delay(5);
  log.write(EVENT);
  await log.close();
  const lines = writes
    .join('')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { dropped?: number });
  expect(lines.reduce((sum, line) => sum + (line.dropped ?? 0), 0)).toBe(dropped);
  expect(lines.filter((line) => line.dropped === undefined)).toHaveLength(201 - dropped);
});

test('a sink that breaks ends nothing', async () => {
  const sink = new PassThrough();
  const log = createAccessLog(sink, { flushMs: 1 });
  log.write(EVENT);
  sink.destroy(new Error('broken pipe'));
  await delay(10);
  log.write(EVENT);
  expect(log.dropped).toBe(1);
  await log.close();
});
