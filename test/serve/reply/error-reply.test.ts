import { describe, expect, test } from 'vitest';
import {
  CopyError,
  ERROR_CODES,
  FerryError,
  IntegrityError,
  ResponseError,
  TransportError,
  type FerryErrorCode,
} from '#ferry/errors.js';
import { describeFailure, replyWithError } from '#ferry/serve/reply/error-reply.js';

const response = { method: 'GET', url: 'https://ghcr.io/v2/', status: 429 };
const unlisted = { listed: false };
const listed = { listed: true };

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: no such thing, open '/srv/cache/x'`), { code });
}

describe('what a client is told', () => {
  test('a limit of the registry is no limit of ours: 503 with the time it named', () => {
    const limit = new ResponseError('RATE_LIMITED', 'answered 429', { ...response, retryAfterMs: 2500 });
    expect(describeFailure(limit, unlisted)).toMatchObject({ status: 503, retryAfterSeconds: 3 });
    const wrapped = new CopyError('source', 'cannot be read', limit);
    expect(describeFailure(wrapped, listed)).toMatchObject({
      status: 503,
      code: 'RATE_LIMITED',
      message: 'cannot be read: answered 429',
      retryAfterSeconds: 3,
    });
  });

  test.each([
    [undefined, 60],
    [0, 1],
    [10, 1],
    [90_000, 90],
    [86_400_000, 3600],
  ])('a limit of %s ms is %i seconds', (retryAfterMs, seconds) => {
    const limit = new ResponseError('RATE_LIMITED', 'slow down', { ...response, retryAfterMs });
    expect(describeFailure(limit, unlisted).retryAfterSeconds).toBe(seconds);
  });

  test.each([
    new TransportError('NETWORK', 'no answer', { ...response, attempts: 3 }),
    new TransportError('TIMEOUT', 'no answer in time', { ...response, attempts: 3 }),
    new FerryError('LOCK_TIMEOUT', 'held by another'),
    new FerryError('DISK_FULL', 'no room left'),
    new DOMException('timed out', 'TimeoutError'),
    new DOMException('aborted', 'AbortError'),
    systemError('ENOSPC'),
    systemError('EMFILE'),
  ])('what passes is 503 with a time: %s', (error) => {
    for (const options of [listed, unlisted]) {
      const { status, retryAfterSeconds } = describeFailure(error, options);
      expect(status).toBe(503);
      expect(retryAfterSeconds).toBeGreaterThan(0);
    }
  });

  test.each([
    new ResponseError('UNAUTHORIZED', 'asks for credentials', { ...response, status: 401 }),
    new ResponseError('DENIED', 'refused', { ...response, status: 403 }),
    new ResponseError('REGISTRY_REFUSED', 'answered 500', { ...response, status: 500 }),
    new IntegrityError('DIGEST_MISMATCH', 'blob', 'a', 'b'),
    new IntegrityError('SIZE_MISMATCH', 'blob', 1, 2),
    new IntegrityError('SIZE_EXCEEDED', 'blob', 1, 2),
    new FerryError('MANIFEST_INVALID', 'nonsense'),
    new FerryError('REPODATA_INVALID', 'nonsense'),
  ])('what a store gives wrong is 502: %s', (error) => {
    for (const options of [listed, unlisted]) {
      const failure = describeFailure(error, options);
      expect(failure.status).toBe(502);
      expect(failure.retryAfterSeconds).toBe(60);
    }
  });

  test.each(['NOT_FOUND', 'ARCHIVE_ABSENT', 'REFERENCE_INVALID', 'NAME_UNREPRESENTABLE'] as const)(
    'what is absent is 404, and 502 where the repodata lists it: %s',
    (code) => {
      expect(describeFailure(new FerryError(code, 'gone'), unlisted).status).toBe(404);
      expect(describeFailure(new FerryError(code, 'gone'), listed).status).toBe(502);
    },
  );

  test('no code whatever makes a listed thing look absent', () => {
    for (const code of Object.keys(ERROR_CODES) as FerryErrorCode[]) {
      expect(describeFailure(new FerryError(code, 'x'), listed).status, code).not.toBe(404);
    }
  });

  test.each([
    new Error('secret /etc/passwd'),
    new TypeError('x is not a function'),
    new FerryError('INTERNAL', 'secret'),
    systemError('EACCES'),
    'secret',
    undefined,
  ])('what nobody thought of is 500, without a word of it', (error) => {
    expect(describeFailure(error, listed)).toEqual({
      status: 500,
      code: 'INTERNAL',
      message: 'something went wrong in here',
    });
  });
});

describe('a message for strangers', () => {
  test.each([
    ['cannot read `/srv/my channel/noarch/index.json`', 'cannot read `[path]`'],
    ["open '/srv/x y/z' failed", "open '[path]' failed"],
    ['no room left on the disk of `/var/cache`: x', 'no room left on the disk of `[path]`: x'],
    ['at /srv/channel/noarch: gone', 'at [path] gone'],
    ['`./channel/x` and `../y` and ~/z', '`[path]` and `[path]` and [path]'],
    ['in C:\\Users\\me\\x and `D:/a b`', 'in [path] and `[path]`'],
    ['oci-layout:/srv/x is bad', '[path] is bad'],
    ['file:///srv/x is bad', '[path] is bad'],
    ['(/srv/x)', '([path]'],
    ['lines\r\nof\u0000several', 'lines of several'],
  ])('does not tell where files lie: %j', (message, told) => {
    expect(describeFailure(new FerryError('LAYOUT_INVALID', message), unlisted).message).toBe(told);
  });

  test.each([
    'GET https://ghcr.io/v2/org/zlib/manifests/1.0 answered 404',
    '`conda-forge/linux-64/zlib` has no manifest sha256:abc',
    '`oci://ghcr.io/org/channel` is not there',
    'either/or, 1/2',
  ])('keeps names: %s', (message) => {
    expect(describeFailure(new FerryError('NOT_FOUND', message), unlisted).message).toBe(message);
  });

  test('has no secrets, is short, and so is its hint', () => {
    const hint = 'log in to https://me:secret@here.example/?token=secret, see /root/.docker/config.json';
    const error = new FerryError('DENIED', `https://u:secret@x.example/ ${'x'.repeat(5000)}`, { hint });
    const failure = describeFailure(error, unlisted);
    expect(JSON.stringify(failure)).not.toContain('secret');
    expect(JSON.stringify(failure)).not.toContain('.docker');
    expect(failure.message.length).toBeLessThanOrEqual(1000);
  });

  test('hostile text is read in no time', () => {
    const started = performance.now();
    for (const text of ['`/', '"/', './', '://', "'~/", 'a:\\', 'https://'].map((part) =>
      part.repeat(20_000),
    )) {
      describeFailure(new FerryError('DENIED', text), unlisted);
    }
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe('the reply to an error', () => {
  const limit = new FerryError('RATE_LIMITED', 'the registry wants fewer requests', { hint: 'log in' });

  test('is one line that nobody keeps', async () => {
    const reply = replyWithError(new Request('http://here/x'), limit, listed);
    expect(reply.status).toBe(503);
    expect(Object.fromEntries(reply.headers)).toEqual({
      'cache-control': 'no-store',
      'content-length': '56',
      'content-type': 'text/plain; charset=utf-8',
      'retry-after': '60',
      'x-content-type-options': 'nosniff',
    });
    expect(await reply.text()).toBe('RATE_LIMITED: the registry wants fewer requests; log in\n');
  });

  test('has no body for HEAD', async () => {
    const reply = replyWithError(new Request('http://here/x', { method: 'HEAD' }), limit, listed);
    expect(reply.status).toBe(503);
    expect(reply.headers.get('content-length')).toBe('56');
    expect(await reply.text()).toBe('');
  });
});
