import { mulberry32 } from './double/faults.js';
import type { RawRequest } from './raw-request.js';

/** A request that nobody with good intentions sends. */
export interface HostileRequest extends RawRequest {
  readonly kind: string;
  /** For people, where it went wrong. */
  readonly shown: string;
  /** Whether it may come to its end only when the server loses its patience. */
  readonly isSlow?: boolean;
}

/** What is there to be asked for: names in paths, as a client knows them. */
export interface Prey {
  readonly channels: readonly string[];
  readonly archives: readonly string[];
  readonly repositories: readonly string[];
  readonly digests: readonly string[];
}

const HOST = 'Host: localhost\r\n';
const UP = [
  '..',
  '%2e%2e',
  '%2E.',
  '.%2e',
  '%252e%252e',
  '..%00',
  '%c0%ae%c0%ae',
  '%e0%80%ae.',
  '..;',
  '....',
  '..%5c..',
  '..\\..',
  '%u002e.',
];
const SLASHES = ['/', '//', '%2f', '%2F', '%252f', '\\', '%5c', '%c0%af', '/./', '/%20/'];
const LURES = ['secret.txt', 'etc/passwd', 'proc/self/environ', 'oci-layout', 'index.json', '.env'];
const METHODS = [
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'TRACE',
  'CONNECT',
  'OPTIONS',
  'PROPFIND',
  'BREW',
  'get',
  'GE T',
  'G\u0000T',
  'PRI',
  'HEAD',
  'SOURCE',
  'X'.repeat(300),
];
const VERSIONS = [
  'HTTP/0.9',
  'HTTP/1.2',
  'HTTP/2.0',
  'HTTP/9.9',
  'HTTP/1.1x',
  'HTTP/1',
  'http/1.1',
  'HTTP/1.1 HTTP/1.1',
  'HTTP/-1.1',
  'RTSP/1.0',
  '',
  'HTTP/1.0',
];
const RANGES = [
  'bytes=-0',
  'bytes=0-',
  'bytes=5-1',
  'bytes=-99999999999999999999',
  'bytes=99999999999999999999-',
  'bytes=0-99999999999999999999999',
  'bytes=a-b',
  'bytes=--1',
  'bytes=1e3-',
  'bytes= 0-1',
  'items=0-1',
  'bytes=0-0,-1',
  'bytes=0x0-0x1',
  'bytes=9007199254740993-',
  'bytes=',
  '=',
  'bytes=0-1\t',
];
const TAGS = [
  '.',
  '..',
  '-a',
  'a'.repeat(129),
  'latest%00',
  'la test',
  '%ff',
  '',
  'latest/',
  '@',
  'sha256:',
  `sha256:${'0'.repeat(63)}`,
  `sha256:${'g'.repeat(64)}`,
  `sha512:${'0'.repeat(64)}`,
  `md5:${'0'.repeat(32)}`,
  `SHA256:${'A'.repeat(64)}`,
  `sha256:${'A'.repeat(64)}`,
  'sha256%3A',
  '%',
  '%zz',
  '🦊',
];
const REPOSITORIES = [
  'UPPER',
  'a//b',
  '../x',
  '-a',
  'a..b',
  'a/../../b',
  'a%2fb',
  '.',
  'a'.repeat(300),
  '_',
  'a__b/c___d',
  '%2e%2e/x',
  'a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p',
];
const QUERIES = [
  '?n=-1',
  '?n=abc',
  '?n=99999999999999999999',
  '?n=0',
  '?last=%00',
  '?last=..&n=1',
  '?artifactType=%0d%0aX:1',
  '?q=(((((a%2B)%2B)%2B)%2B)%2B%24',
  '?q=%3Cscript%3E',
  '?',
  '?%',
  `?${'a&'.repeat(1500)}`,
  '?page=-1',
  '?page=1e9',
  '?__proto__=1',
  '?q[]=a',
  '#fragment',
];
const CONDITIONS = [
  ['If-None-Match', '*'],
  ['If-None-Match', '"x",'.repeat(2000)],
  ['If-None-Match', '"unterminated'],
  ['If-None-Match', 'W/"","'],
  ['If-Modified-Since', 'yesterday'],
  ['If-Modified-Since', '99999999999999'],
  ['If-Range', '"x"'],
  ['If-Match', '"x"'],
  ['If-Unmodified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT'],
  ['Accept-Encoding', 'zstd;q=NaN, gzip;q=-1, identity;q=2'],
  ['Accept-Encoding', 'identity;q=0, *;q=0'],
  ['Accept-Encoding', ','.repeat(5000)],
  ['Accept', '\u00ff\u00fe'],
  ['Authorization', 'Basic ====='],
  ['Authorization', `Bearer ${'x'.repeat(7000)}`],
  ['Cookie', 'a=b;'.repeat(1000)],
  ['Expect', '100-continue'],
  ['Expect', 'the unexpected'],
  ['Upgrade', 'websocket'],
  ['Upgrade', 'h2c'],
  ['X-Forwarded-Host', 'evil.example'],
  ['Connection', 'close, keep-alive, upgrade, host'],
  ['__proto__', 'x'],
] as const;

/** Makes so many hostile requests, the same for the same seed. */
export function* hostileRequests(
  count: number,
  seed: number,
  prey: Prey,
  slowShare = 0,
): Generator<HostileRequest> {
  const random = mulberry32(seed);
  const int = (below: number): number => Math.floor(random() * below);
  const pick = <T>(items: readonly T[]): T => items[int(items.length)] as T;
  const word = (): string => `x${int(2 ** 31).toString(36)}`;
  const good = (): string => pick(prey.archives);
  const get = (target: string, headers = ''): Buffer =>
    Buffer.from(`GET ${target} HTTP/1.1\r\n${HOST}${headers}\r\n`, 'latin1');
  const one = (kind: string, bytes: Buffer, more: Partial<HostileRequest> = {}): HostileRequest => ({
    kind,
    shown: bytes.subarray(0, 200).toString('latin1'),
    pieces: [bytes],
    ...more,
  });

  const kinds: Readonly<Record<string, () => HostileRequest>> = {
    traversal: () => {
      const slash = pick(SLASHES);
      const up = Array.from({ length: 1 + int(6) }, () => pick(UP)).join(slash);
      const start = pick([
        '/',
        '',
        '//',
        '/ch/',
        '/files/noarch/',
        '/v2/',
        '/v2/ch/noarch/',
        '/ch/label/',
        'http://h/',
        '//evil.example/',
        'file:///',
        '/\u0000',
      ]);
      return one('traversal', get(`${start}${up}${slash}${pick(LURES)}`), { then: 'half-close' });
    },
    long: () => {
      const length = pick([1025, 8191, 8193, 16_000, 20_000, 70_000]);
      const bytes = pick([
        () => get(`/${'a'.repeat(length)}`),
        () => get(`/ch/${'a/'.repeat(length >> 1)}`),
        () => get(`/ch/${'%61'.repeat(length >> 2)}`),
        () => get('/', `X: ${'b'.repeat(length)}\r\n`),
        () => get('/', `${'c'.repeat(length)}: 1\r\n`),
        () => get('/', 'D: 1\r\n'.repeat(length >> 3)),
        () => get(`/v2/${'a/'.repeat(length >> 1)}tags/list`),
      ])();
      return one('long', bytes, { then: 'half-close' });
    },
    headers: () => {
      const lines = pick([
        'X: a\r\n b\r\n',
        'X: a\rY: b\r\n',
        'X: a\nY: b\r\n',
        'X: \u0000\r\n',
        'X\u0000: a\r\n',
        'X : a\r\n',
        ': a\r\n',
        ' X: a\r\n',
        'no colon\r\n',
        'Host: other\r\n',
        'Host: a b\r\n',
        'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
        'Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello',
        'Content-Length: 5, 5\r\n\r\nhello',
        'Content-Length: -1\r\n',
        'Content-Length: +5\r\n\r\nhello',
        'Content-Length: 99999999999999999999\r\n',
        'Content-Length: 0x5\r\n',
        'Content-Length:\r\n',
        'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n',
        'Transfer-Encoding: xchunked\r\n',
        'Transfer-Encoding: chunked, identity\r\n',
        'Transfer-Encoding: identity, chunked\r\n\r\n0\r\n',
        'Transfer-Encoding : chunked\r\n\r\n0\r\n',
        'Transfer-Encoding:\u000bchunked\r\n',
        'Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n',
        'Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n',
        'Transfer-Encoding: chunked\r\n\r\n5;ext="\r\n\r\nhello\r\n0\r\n',
        'Transfer-Encoding: chunked\r\n\r\n1\r\naGET /files/noarch/repodata.json HTTP/1.1\r\n',
        'Content-Length: 0\r\n\r\nGET /../secret.txt HTTP/1.1\r\nHost: x\r\n',
      ]);
      return one('headers', get(pick(['/', good(), '/v2/', '/ch/noarch/repodata.json']), lines), {
        then: 'half-close',
      });
    },
    host: () => {
      const hosts = pick([
        '',
        'Host:\r\n',
        'Host: a\r\nHost: b\r\n',
        'Host: localhost\r\nHost: localhost\r\n',
        'Host: a/b\r\n',
        'Host: <script>\r\n',
        'Host: a@b:c\r\n',
        `Host: ${'h'.repeat(5000)}\r\n`,
        'Host: [::\r\n',
      ]);
      return one(
        'host',
        Buffer.from(`GET ${pick(['/', '/ch/', good()])} HTTP/1.1\r\n${hosts}\r\n`, 'latin1'),
        { then: 'half-close' },
      );
    },
    method: () => {
      const method = pick(METHODS);
      const target = pick([
        '/',
        '*',
        good(),
        '/v2/',
        '/v2/ch/noarch/x/blobs/uploads/',
        'localhost:1',
        '/token',
        '/ch/noarch/repodata.json',
      ]);
      const text = `${method} ${target} HTTP/1.1\r\n${HOST}\r\n`;
      return one('method', Buffer.from(text, 'latin1'), { then: 'half-close', isHead: method === 'HEAD' });
    },
    version: () =>
      one('version', Buffer.from(`GET ${pick(['/', good()])} ${pick(VERSIONS)}\r\n${HOST}\r\n`), {
        then: 'half-close',
      }),
    range: () => {
      const many = `bytes=${Array.from({ length: 1 + int(2000) }, () => `${int(50)}-${50 + int(50)}`).join(',')}`;
      const range = random() < 0.3 ? many : pick(RANGES);
      const target = random() < 0.2 ? `/v2/${pick(prey.repositories)}/blobs/${pick(prey.digests)}` : good();
      return one('range', get(target, `Range: ${range}\r\n`));
    },
    conditions: () => {
      const [name, value] = pick(CONDITIONS);
      return one(
        'conditions',
        get(pick([good(), '/ch/noarch/repodata.json', '/', '/v2/']), `${name}: ${value}\r\n`),
        { then: 'half-close' },
      );
    },
    distribution: () => {
      const repository = random() < 0.5 ? pick(REPOSITORIES) : pick(prey.repositories);
      const reference = random() < 0.8 ? pick(TAGS) : pick(prey.digests);
      const target = pick([
        `/v2/${repository}/manifests/${reference}`,
        `/v2/${repository}/blobs/${reference}`,
        `/v2/${repository}/referrers/${reference}`,
        `/v2/${repository}/tags/list${pick(QUERIES)}`,
        `/v2/${repository}/blobs/uploads/${reference}`,
        `/v2/_catalog${pick(QUERIES)}`,
        `/v2/${reference}`,
        `/v2//${repository}`,
      ]);
      return one('distribution', Buffer.from(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`), {
        then: 'half-close',
      });
    },
    invented: () => {
      const channel = pick([...prey.channels, word()]);
      const subdir = pick(['noarch', 'linux-64', `${word()}-64`, word()]);
      const file = pick([
        'repodata.json',
        'repodata.json.zst',
        'run_exports.json',
        'repodata_shards.msgpack.zst',
        `${word()}-1.0-0.conda`,
        `${word()}-1.0-0.tar.bz2.sigs`,
        `shards/${'0'.repeat(64)}.msgpack.zst`,
        `${word()}.json`,
        '',
      ]);
      const target = pick([
        `/${channel}/${subdir}/${file}`,
        `/${channel}/label/${word()}/${subdir}/${file}`,
        `/${channel}/label/${word()}/${word()}/${file}`,
        `/${channel}/${word()}`,
        `/${channel}/${word()}/${word()}/${word()}`,
        `/v2/${channel}/${subdir}/${word()}/manifests/latest`,
        `/v2/${channel}/${subdir}/${word()}/tags/list`,
        `/v2/${channel}/${word()}/blobs/sha256:${int(2 ** 31)
          .toString(16)
          .padStart(64, '0')}`,
        `/t/${word()}/${channel}/${subdir}/${file}`,
      ]);
      return one('invented', get(target));
    },
    pages: () =>
      one(
        'pages',
        get(
          `${pick(['/', '/ch/', '/files/', `/ch/${word()}/`, '/ch/noarch/', '/ch/%3Cscript%3E/', '/ch/constructor/', '/__proto__/', '/ch/%ff/'])}${pick(QUERIES)}`,
          'Accept: text/html\r\n',
        ),
        { then: 'half-close' },
      ),
    body: () => {
      const body = 'x'.repeat(int(3000));
      const headers = pick([
        `Content-Length: ${body.length}\r\n`,
        `Content-Length: ${body.length + 10}\r\n`,
        'Transfer-Encoding: chunked\r\n',
      ]);
      return one('body', Buffer.concat([get(pick(['/', good()]), headers), Buffer.from(body)]), {
        then: 'half-close',
      });
    },
    'half-closed': () => {
      const whole = get(pick([good(), '/ch/noarch/repodata.json', '/', '/v2/']));
      const cut = random() < 0.5 ? whole.subarray(0, int(whole.byteLength)) : whole;
      return one('half-closed', cut, { then: random() < 0.3 ? 'reset' : 'half-close' });
    },
    pipelining: () => {
      const answers = 1 + int(120);
      const targets = Array.from({ length: answers }, () =>
        pick(['/ch/noarch/repodata.json', '/v2/', good(), '/nothing', '/../x']),
      );
      return one('pipelining', Buffer.concat(targets.map((target) => get(target))), {
        answers,
        then: pick(['wait', 'half-close']),
      });
    },
    'not HTTP': () => {
      const hello = Buffer.from('1603010200010001fc0303', 'hex');
      const noise = Buffer.from(Array.from({ length: 1 + int(600) }, () => int(256)));
      const bytes = pick([
        Buffer.concat([hello, noise]),
        noise,
        Buffer.from('SSH-2.0-x\r\n'),
        Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n'),
        Buffer.from('\r\n\r\n\r\n'),
        Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
        Buffer.from('\u0000'.repeat(100)),
        Buffer.from('{"jsonrpc":"2.0"}'),
      ]);
      return one('not HTTP', bytes, { then: 'half-close' });
    },
    slow: () => {
      const request = get(good(), 'X: y\r\n');
      const pieces = pick([
        [],
        [request.subarray(0, 10)],
        Array.from(request.subarray(0, -2), (byte) => Buffer.from([byte])),
        [
          Buffer.from('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n'),
          ...Array.from({ length: 50 }, () => Buffer.from('x')),
        ],
        [
          get('/', 'Transfer-Encoding: chunked\r\n'),
          ...Array.from({ length: 50 }, () => Buffer.from('1\r\nx\r\n')),
        ],
        Array.from({ length: 100 }, (_, index) =>
          Buffer.from(index === 0 ? 'GET / HTTP/1.1\r\n' : `X${index}: 1\r\n`),
        ),
      ]);
      return {
        kind: 'slow',
        shown: `slow: ${Buffer.concat(pieces).toString('latin1').slice(0, 100)}`,
        pieces,
        pauseMs: 400,
        isSlow: true,
      };
    },
  };
  const { slow, ...quick } = kinds;
  const makers = Object.values(quick);
  for (let i = 0; i < count; i += 1)
    yield (random() < slowShare && slow !== undefined ? slow : pick(makers))();
}
