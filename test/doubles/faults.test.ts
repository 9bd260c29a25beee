import { request as tlsRequest } from 'node:https';
import { describe, expect, test } from 'vitest';
import type { FaultKind } from '../support/double/fault-rules.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { artifactOf, pushArtifact } from '../contracts/artifacts.js';
import { openTestClient } from '../support/http.js';
import { seededSchedule } from '../support/double/faults.js';
import { useAttacker } from '../support/double/attacker.js';
import { testCertificates } from '../support/double/certificates.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { digestOf } from '../support/double/registry-state.js';
import { ask, codeOf, putArtifact, putBlob, tokenFor, type Headers } from './requests.js';

const BLOB = Buffer.from('0123456789'.repeat(100));
const BLOB_PATH = `/v2/a/blobs/${digestOf(BLOB)}`;
const MANIFEST_PATH = '/v2/a/manifests/x';
const TAGS_PATH = '/v2/a/tags/list';
const REFERRERS_PATH = `/v2/a/referrers/sha256:${'0'.repeat(64)}`;

async function useFull(): Promise<RegistryDouble> {
  const double = await useRegistryDouble();
  await putBlob(double, 'a', BLOB);
  await putArtifact(double, 'a', 'x');
  double.reset();
  return double;
}

describe('what goes wrong with an answer', () => {
  test.each<[FaultKind, string, number, Record<string, string | RegExp | null>]>([
    ['429', BLOB_PATH, 429, { 'retry-after': null }],
    ['429-seconds', BLOB_PATH, 429, { 'retry-after': '1' }],
    ['429-date', BLOB_PATH, 429, { 'retry-after': / GMT$/ }],
    ['429-absurd', BLOB_PATH, 429, { 'retry-after': '1000000000' }],
    ['429-body', BLOB_PATH, 429, { 'retry-after': null }],
    ['403-secondary', BLOB_PATH, 403, {}],
    ['500', BLOB_PATH, 500, {}],
    ['502', BLOB_PATH, 502, { 'content-type': 'text/html' }],
    ['502-after', BLOB_PATH, 502, { 'content-type': 'text/html' }],
    ['503', BLOB_PATH, 503, {}],
    ['short-length', BLOB_PATH, 200, { 'content-length': '500' }],
    ['slow', BLOB_PATH, 200, { 'content-length': '1000' }],
    ['gzip', BLOB_PATH, 200, { 'content-encoding': 'gzip' }],
    ['html-404', REFERRERS_PATH, 404, { 'content-type': 'text/html' }],
    ['charset', MANIFEST_PATH, 200, { 'content-type': /; charset=utf-8$/ }],
    ['media-type-mismatch', MANIFEST_PATH, 200, { 'content-type': /index/ }],
    ['huge-manifest', MANIFEST_PATH, 200, { 'content-length': '10485760' }],
    ['link-loop', TAGS_PATH, 200, { link: `<${TAGS_PATH}>; rel="next"` }],
    ['link-elsewhere', TAGS_PATH, 200, { link: /^<http:\/\/127\.0\.0\.2:/ }],
    ['null-tags', TAGS_PATH, 200, {}],
    ['cyclic-referrers', REFERRERS_PATH, 200, {}],
    ['redirect-elsewhere', BLOB_PATH, 307, { location: /^http:\/\/127\.0\.0\.2:/ }],
  ])('%s', async (kind, path, status, headers) => {
    const double = await useFull();
    const right = await ask(double.origin + path);
    double.faultNext(() => true, kind);
    const wrong = await ask(double.origin + path);
    expect(wrong.status).toBe(status);
    for (const [name, value] of Object.entries(headers)) {
      if (value === null) expect(wrong.headers.get(name)).toBeNull();
      else expect(wrong.headers.get(name)).toMatch(value);
    }
    if (kind === 'null-tags') expect(wrong.text).toBe('{"name":"a","tags":null}');
    if (kind === 'cyclic-referrers') expect(wrong.text).toContain('0'.repeat(64));
    expect([double.faults, double.pendingFaults]).toEqual([{ [kind]: 1 }, 0]);
    expect(double.requests.map(({ fault, status: sent }) => [fault, sent])).toEqual([
      [undefined, 200],
      [kind, status],
    ]);
    expect((await ask(double.origin + path)).text).toBe(right.text);
  });

  test.each(['truncated', 'reset-in-body', 'reset-before', 'duplicate-length', 'huge-warning'] as const)(
    '%s breaks the answer',
    async (kind) => {
      const double = await useFull();
      double.faultNext(() => true, kind);
      await expect(ask(double.origin + BLOB_PATH)).rejects.toThrow();
      expect(double.faults).toEqual({ [kind]: 1 });
      expect((await ask(double.origin + BLOB_PATH)).status).toBe(200);
    },
  );

  test('ranges come from elsewhere, or not at all', async () => {
    const double = await useFull();
    const headers = { range: 'bytes=100-' };
    double.faultNext(() => true, 'wrong-offset');
    double.faultNext(() => true, 'ignored-range');
    const seen = [
      await ask(double.origin + BLOB_PATH, { headers }),
      await ask(double.origin + BLOB_PATH, { headers }),
    ];
    expect(seen.map((one) => [one.status, one.headers.get('content-range')])).toEqual([
      [206, 'bytes 101-999/1000'],
      [200, null],
    ]);
  });

  test('HEAD tells no length, or another', async () => {
    const double = await useFull();
    const length = async () =>
      (await ask(double.origin + BLOB_PATH, { method: 'HEAD' })).headers.get('content-length');
    double.faultNext(() => true, 'head-no-length');
    double.faultNext(() => true, 'head-wrong-length');
    expect([await length(), await length(), await length()]).toEqual([null, '1005', '1000']);
  });
});

describe('what goes wrong with a write', () => {
  const isEnd = ({ method, route }: { method: string; route: { kind: string } }): boolean =>
    method === 'PUT' && route.kind === 'upload';

  test.each([
    ['reset-before', 404, false],
    ['reset-after', 200, true],
    ['lost-commit', 404, true],
  ] as const)('%s: the blob is %i afterwards, the session gone: %s', async (kind, status, isGone) => {
    const double = await useRegistryDouble();
    double.faultNext(isEnd, kind);
    await expect(putBlob(double, 'a', BLOB)).rejects.toThrow();
    expect((await ask(double.origin + BLOB_PATH, { method: 'HEAD' })).status).toBe(status);
    expect(double.openUploads).toBe(isGone ? 0 : 1);
  });

  test('a session goes stale, a blob unknown, an answer early', async () => {
    const double = await useFull();
    double.faultNext(isEnd, 'stale-location');
    expect(codeOf(await putBlob(double, 'a', BLOB))).toBe('BLOB_UPLOAD_UNKNOWN');
    double.faultNext(({ route }) => route.kind === 'manifest', 'blob-unknown');
    expect(codeOf(await putArtifact(double, 'a', 'y'))).toBe('MANIFEST_BLOB_UNKNOWN');
    expect((await putArtifact(double, 'a', 'y')).status).toBe(201);
    double.faultNext(({ method }) => method === 'POST', '429-early');
    expect((await putBlob(double, 'a', BLOB)).status).toBe(429);
  });

  test('half a chunk arrives', async () => {
    const double = await useRegistryDouble();
    const start = await ask(`${double.origin}/v2/a/blobs/uploads/`, { method: 'POST' });
    const location = new URL(start.headers.get('location') ?? '', double.origin).href;
    double.faultNext(() => true, 'reset-half');
    const headers = { 'content-range': '0-999' };
    await expect(ask(location, { method: 'PATCH', headers, body: BLOB })).rejects.toThrow();
    expect((await ask(location)).headers.get('range')).toBe('0-499');
  });

  test('a fault that does not fit waits for a request that it fits', async () => {
    const double = await useFull();
    double.faultNext(() => true, 'gzip');
    expect((await ask(double.origin + TAGS_PATH)).headers.get('content-encoding')).toBeNull();
    expect((await ask(`${double.origin}/v2/a/blobs/sha256:${'1'.repeat(64)}`)).status).toBe(404);
    expect([double.faults, double.pendingFaults]).toEqual([{}, 1]);
    expect((await ask(double.origin + BLOB_PATH)).headers.get('content-encoding')).toBe('gzip');
  });
});

test('a storm is the same for the same seed, and ends for every request', async () => {
  const storm = async (seed: number): Promise<number[]> => {
    const double = await useFull();
    double.schedule = seededSchedule({ seed, rate: 0.8, kinds: ['429', '502', '503'] });
    const statuses: number[] = [];
    for (const path of [BLOB_PATH, MANIFEST_PATH, TAGS_PATH]) {
      for (let i = 0; i < 6; i += 1) statuses.push((await ask(double.origin + path)).status);
    }
    return statuses;
  };
  const [one, again, other] = [await storm(1), await storm(1), await storm(2)];
  expect(again).toEqual(one);
  expect(other).not.toEqual(one);
  expect(one.filter((status) => status === 200).length).toBeGreaterThanOrEqual(6);
  expect(new Set(one).size).toBeGreaterThan(2);
});

test('a fresh token is rejected, and the next one taken', async () => {
  const double = await useRegistryDouble({
    auth: { kind: 'token', anonymousPull: true },
    repositories: ['a'],
  });
  const status = async (headers: Headers): Promise<number> =>
    (await ask(double.origin + TAGS_PATH, { headers })).status;
  const [token, next] = [
    await tokenFor(double.origin, 'repository:a:pull'),
    await tokenFor(double.origin, 'repository:a:pull'),
  ];
  expect(await status(token)).toBe(200);
  double.faultNext(() => true, '401-expired');
  expect([await status(token), await status(token), await status(next)]).toEqual([401, 401, 200]);
});

test('an upload goes on elsewhere', async () => {
  const attacker = await useAttacker();
  const double = await useRegistryDouble({ elsewhere: attacker.origin });
  double.faultNext(() => true, 'location-elsewhere');
  expect((await putBlob(double, 'a', BLOB)).text).toBe('from the attacker');
});

test('a client of ours gets its artifacts through a storm, each of them whole', async () => {
  const double = await useRegistryDouble({ singlePost: '202' });
  const kinds = ['429', '429-date', '502', '503', 'reset-before', 'reset-after', 'stale-location'] as const;
  double.schedule = seededSchedule({ seed: 7, rate: 0.3, kinds });
  const { send, retry } = openTestClient();
  const repository = new RegistryClient({ host: double.host, send, ...retry }).repository('a');
  const artifacts = Array.from({ length: 30 }, (_, i) => artifactOf('common', `layer ${i}`));
  for (const [i, artifact] of artifacts.entries()) await pushArtifact(repository, artifact, [`t${i}`]);
  const stored = double.repositories.get('a');
  expect([...(stored?.tags.values() ?? [])]).toEqual(
    artifacts.map(({ manifest }) => manifest.descriptor.digest),
  );
  expect(stored?.blobs.size).toBe(32);
  expect(Object.keys(double.faults).sort()).toEqual([...kinds].sort());
});

describe('an attacker', () => {
  test('takes down what it is told, and finds secrets in it', async () => {
    const attacker = await useAttacker();
    const basic = Buffer.from('user:canary-1').toString('base64');
    await ask(`${attacker.origin}/a?token=canary-2`, { headers: { accept: '*/*' } });
    await ask(`${attacker.origin}/b`, { headers: { authorization: `Basic ${basic}`, 'x-own': '1' } });
    await ask(`${attacker.origin}/c`, { method: 'POST', body: 'password=canary-1' });
    await ask(`${attacker.origin}/d`);
    expect(attacker.secretsSeen(['canary-1', 'canary-2'])).toEqual([
      'GET /a?token=canary-2: in the URL',
      expect.stringMatching(/^GET \/b: authorization: Basic /),
      'GET /b: x-own: 1',
      'GET /b: in the Basic authorization',
      'POST /c: in the body',
    ]);
    expect(attacker.host).toMatch(/^127\.0\.0\.2:/);
  });

  test('sees client certificates, which a registry may demand', async () => {
    const { ca, server, client } = await testCertificates();
    const attacker = await useAttacker({ tls: server });
    const double = await useRegistryDouble({ tls: { ...server, clientCa: ca } });
    const get = async (url: string, identity: object): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = tlsRequest(url, { ca, agent: false, ...identity }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        request.on('error', reject).end();
      });
    expect(await get(`${attacker.origin}/`, {})).toBe(200);
    expect(attacker.secretsSeen()).toEqual([]);
    expect(await get(`${attacker.origin}/`, client)).toBe(200);
    expect(attacker.secretsSeen()).toEqual(['GET /: client certificate ferry-client']);
    expect(await get(`${double.origin}/v2/`, client)).toBe(200);
    expect(double.requests.at(-1)?.clientCertificate).toBe('ferry-client');
    await expect(get(`${double.origin}/v2/`, {})).rejects.toThrow();
    double.faultNext(() => true, 'reset-before');
    await expect(get(`${double.origin}/v2/`, client)).rejects.toThrow();
  });
});
