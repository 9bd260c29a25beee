import { expect, test } from 'vitest';
import { exhaustedForMs, readRateLimit, retryAfterOf } from '#ferry/http/rate-limit.js';
import type { RateLimit } from '#ferry/http/send.js';
import { answerOf, textOf } from '../support/http.js';

const NOW = Date.UTC(2026, 0, 1);
const SECOND = NOW / 1000;
const GHCR = (detail: string): string =>
  JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: detail }] });

type Case = readonly [
  what: string,
  status: number,
  headers: Record<string, string>,
  body: string,
  limit: RateLimit | undefined,
];

test.each<Case>([
  ['429 that says nothing', 429, {}, '', {}],
  ['429 in seconds', 429, { 'retry-after': '7' }, '', { retryAfterMs: 7000 }],
  [
    '429 as a date',
    429,
    { 'retry-after': new Date(NOW + 60_000).toUTCString() },
    '',
    { retryAfterMs: 60_000 },
  ],
  [
    '429 as a date gone by',
    429,
    { 'retry-after': new Date(NOW - 60_000).toUTCString() },
    '',
    { retryAfterMs: 0 },
  ],
  ['429 as nonsense', 429, { 'retry-after': 'some day' }, '', {}],
  ['429 as an absurd time', 429, { 'retry-after': '1000000000' }, '', { retryAfterMs: 1e12 }],
  [
    '429 as more than a number holds',
    429,
    { 'retry-after': '9'.repeat(400) },
    '',
    { retryAfterMs: Infinity },
  ],
  [
    'ghcr/G1: milliseconds and rate in the body',
    429,
    {},
    GHCR('retry-after: 10.3ms, allowed: 2000/minute'),
    { retryAfterMs: 11, requestsPerMinute: 2000 },
  ],
  [
    'microseconds in the body',
    429,
    {},
    GHCR('retry-after: 245.655µs, allowed: 44000/minute'),
    { retryAfterMs: 1, requestsPerMinute: 44_000 },
  ],
  ['microseconds with the Greek letter', 429, {}, GHCR('retry-after: 2500μs'), { retryAfterMs: 3 }],
  [
    'minutes and seconds in the body',
    429,
    {},
    GHCR('retry-after: 1m30s, allowed: 5/second'),
    { retryAfterMs: 90_000, requestsPerMinute: 300 },
  ],
  [
    'hours in the body',
    429,
    {},
    GHCR('Retry-After: 1h0m0.5s; allowed: 600/hour'),
    { retryAfterMs: 3_600_500, requestsPerMinute: 10 },
  ],
  ['a rate of nothing is no rate', 429, {}, GHCR('allowed: 0/minute'), {}],
  [
    'the header before the body',
    429,
    { 'retry-after': '1' },
    GHCR('retry-after: 9s'),
    { retryAfterMs: 1000 },
  ],
  ['a limit that comes as 403', 403, {}, GHCR('slow down'), {}],
  [
    'ghcr/G4: the secondary limit of GitHub',
    403,
    {},
    '{"message":"You have exceeded a secondary rate limit."}',
    { retryAfterMs: 60_000 },
  ],
  [
    'the secondary limit with a time',
    403,
    { 'retry-after': '5' },
    'secondary rate limit',
    { retryAfterMs: 5000 },
  ],
  [
    '403 with nothing remaining',
    403,
    { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(SECOND + 90) },
    '',
    { retryAfterMs: 90_000 },
  ],
  ['reset in seconds', 429, { 'ratelimit-reset': '30' }, '', { retryAfterMs: 30_000 }],
  [
    'reset as a time of day, under either name',
    429,
    { 'ratelimit-reset': String(SECOND + 30) },
    '',
    { retryAfterMs: 30_000 },
  ],
  ['reset gone by', 429, { 'x-ratelimit-reset': String(SECOND - 5) }, '', { retryAfterMs: 0 }],
  ['reset as nonsense', 429, { 'x-ratelimit-reset': 'soon', 'retry-after': '' }, '', {}],
  ['503 that names a time', 503, { 'retry-after': '3' }, '', { retryAfterMs: 3000 }],
  ['503 that does not', 503, {}, 'upstream', undefined],
  ['403 for lack of rights', 403, {}, '{"errors":[{"code":"DENIED"}]}', undefined],
  ['403 with something remaining', 403, { 'x-ratelimit-remaining': '10' }, '', undefined],
  ['200 whatever it says', 200, { 'retry-after': '3' }, 'secondary rate limit', undefined],
  ['404', 404, { 'x-ratelimit-remaining': '0' }, '', undefined],
])('%s', async (_, status, headers, body, limit) => {
  const read = await readRateLimit(answerOf(status, headers, body), NOW);
  expect(read.limit).toEqual(limit && { retryAfterMs: undefined, requestsPerMinute: undefined, ...limit });
  // Whoever gets the answer can still read it.
  expect(await textOf(read.response)).toBe(body);
  expect(read.response.status).toBe(status);
  for (const [name, value] of Object.entries(headers)) expect(read.response.header(name)).toBe(value);
});

test('reads no more than 64 KiB of an error body', async () => {
  let pieces = 0;
  const body = (async function* () {
    for (;;) {
      pieces += 1;
      yield await Promise.resolve(Buffer.alloc(16 * 1024, 'x'));
    }
  })();
  const { response, limit } = await readRateLimit({ ...answerOf(403), body }, NOW);
  expect(limit).toBeUndefined();
  expect(await textOf(response)).toHaveLength(64 * 1024);
  expect(pieces).toBe(4);
});

test('a body that breaks off leaves what the headers say', async () => {
  const body = (async function* () {
    yield await Promise.resolve(Buffer.from('secondary rate'));
    throw new Error('broken off');
  })();
  const { limit } = await readRateLimit({ ...answerOf(429, { 'retry-after': '2' }), body }, NOW);
  expect(limit?.retryAfterMs).toBe(2000);
});

test.each<[Record<string, string>, number | undefined]>([
  [{ 'ratelimit-remaining': '0', 'ratelimit-reset': '30' }, 30_000],
  [{ 'ratelimit-remaining': '0;w=21600', 'ratelimit-reset': '30;w=60' }, 30_000],
  [{ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(SECOND + 2) }, 2000],
  [{ 'ratelimit-remaining': '0;w=21600' }, undefined],
  [{ 'ratelimit-remaining': '100;w=21600', 'ratelimit-reset': '30' }, undefined],
  [{ 'ratelimit-remaining': '05', 'ratelimit-reset': '30' }, undefined],
  [{ 'ratelimit-reset': '30' }, undefined],
  [{}, undefined],
])('of the headers %j, hold back for %s ms', (headers, ms) => {
  expect(exhaustedForMs(answerOf(200, headers), NOW)).toBe(ms);
});

test.each<[string | undefined, number | undefined]>([
  [undefined, undefined],
  [' 3 ', 3000],
  ['1.5', 1500],
  ['1e9', undefined],
  ['0x10', undefined],
  ['', undefined],
])('Retry-After %j is %s ms', (value, ms) => {
  expect(retryAfterOf(value, NOW)).toBe(ms);
});
