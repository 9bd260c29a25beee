import { afterAll, describe, expect, test } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { describeRepositoryContract, type ContractSubject } from '../contracts/repository.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import { startRegistryDouble, useRegistryDouble } from '../support/double/registry-double.js';
import { digestOf } from '../support/double/registry-state.js';
import { ask, codeOf, putArtifact, putBlob } from './requests.js';

const open: AsyncDisposable[] = [];

afterAll(async () => {
  for (const resource of open.reverse()) await resource[Symbol.asyncDispose]();
});

async function subjectOf(options: RegistryDoubleOptions): Promise<ContractSubject> {
  const server = await startRegistryDouble(options);
  const client = openHttpClient({ userAgent: 'ferry-test/1' });
  open.push(server, client);
  return {
    registry: new RegistryClient({ host: server.host, send: client.send }),
    capabilities: { emptyBlob: true },
  };
}

describeRepositoryContract('the double as it comes', () => subjectOf({}));
describeRepositoryContract('the double in other clothes', () =>
  subjectOf({
    location: 'port',
    redirectBlobs: 'separate',
    tagOrder: 'creation',
    tagDialect: 'next_page',
    tagPageMax: 2,
    referrers: false,
    mount: '202',
    digestHeader: 'absent',
  }),
);

const BYTES = Buffer.from('0123456789');
const DIGEST = digestOf(BYTES);

describe('uploads', () => {
  async function start(options: RegistryDoubleOptions = {}) {
    const double = await useRegistryDouble(options);
    const begun = await ask(`${double.origin}/v2/a/b/blobs/uploads/`, { method: 'POST' });
    return { double, begun, location: new URL(begun.headers.get('location') ?? '', double.origin).href };
  }

  const chunk = (location: string, range: string, body: Buffer<ArrayBuffer>) =>
    ask(location, { method: 'PATCH', headers: { 'content-range': range }, body });

  test('chunks come in order, and the status of the session says how far they got', async () => {
    const { double, location } = await start({ chunkMinLength: 4 });
    const wrong = await chunk(location, '4-7', BYTES.subarray(4, 8));
    expect([wrong.status, wrong.headers.get('range')]).toEqual([416, '0-0']);
    const first = await chunk(location, '0-3', BYTES.subarray(0, 4));
    expect([first.status, first.headers.get('range')]).toEqual([202, '0-3']);
    expect(first.headers.get('oci-chunk-min-length')).toBe('4');
    expect((await chunk(location, '4-9', BYTES.subarray(4))).status).toBe(404);
    const status = await ask(location);
    expect([status.status, status.headers.get('range')]).toEqual([204, '0-3']);
    const next = new URL(status.headers.get('location') ?? '', double.origin);
    const second = await chunk(next.href, '4-9', BYTES.subarray(4));
    expect(second.status).toBe(202);
    const last = new URL(second.headers.get('location') ?? '', double.origin);
    const done = await ask(`${last.href}&digest=${DIGEST}`, { method: 'PUT' });
    expect([done.status, done.headers.get('docker-content-digest')]).toEqual([201, DIGEST]);
    expect(double.repositories.get('a/b')?.blobs.get(DIGEST)).toEqual(BYTES);
    expect(double.openUploads).toBe(0);
  });

  test('a wrong digest ends the session, and so does giving it up', async () => {
    const { double, location } = await start();
    const wrong = `${location}&digest=${digestOf(Buffer.from('other'))}`;
    expect(codeOf(await ask(wrong, { method: 'PUT', body: BYTES }))).toBe('DIGEST_INVALID');
    expect(codeOf(await ask(wrong, { method: 'PUT', body: BYTES }))).toBe('BLOB_UPLOAD_UNKNOWN');
    const again = await ask(`${double.origin}/v2/a/b/blobs/uploads/`, { method: 'POST' });
    const session = new URL(again.headers.get('location') ?? '', double.origin).href;
    expect((await ask(session, { method: 'DELETE' })).status).toBe(204);
    expect((await ask(session)).status).toBe(404);
  });

  test.each([
    ['accepts', 201],
    ['202', 202],
    ['refuses', 405],
  ] as const)('a single POST, where the registry %s: %i', async (singlePost, status) => {
    const double = await useRegistryDouble({ singlePost });
    const url = `${double.origin}/v2/a/blobs/uploads/?digest=${DIGEST}`;
    expect((await ask(url, { method: 'POST', body: BYTES })).status).toBe(status);
  });

  test('mounts what is there, and opens a session for what is not', async () => {
    const double = await useRegistryDouble();
    await putBlob(double, 'from', BYTES);
    const url = `${double.origin}/v2/to/blobs/uploads/?mount=${DIGEST}&from=`;
    expect((await ask(`${url}nowhere`, { method: 'POST' })).status).toBe(202);
    expect((await ask(`${url}from`, { method: 'POST' })).status).toBe(201);
    expect(double.repositories.get('to')?.blobs.has(DIGEST)).toBe(true);
  });

  test.each([
    ['absolute', /^http:\/\/127\.0\.0\.1:\d+\/v2\//],
    ['port', /^http:\/\/127\.0\.0\.1:0\d+\/v2\//],
    ['fragment', /^\/v2\/.*#part$/],
    ['long', /^\/v2\/.{3000}/],
    ['other-path', /^\/artifacts-uploads\/v2\//],
  ] as const)('Location %s leads to the session', async (style, pattern) => {
    const { begun, location } = await start({ location: style });
    expect(begun.headers.get('location')).toMatch(pattern);
    const done = new URL(location);
    done.hash = '';
    expect((await ask(`${done.href}&digest=${DIGEST}`, { method: 'PUT', body: BYTES })).status).toBe(201);
  });

  test('a name that is no name, too deep, unknown, or on a registry that is read only', async () => {
    const deep = await useRegistryDouble({
      maxPathDepth: 2,
      createRepositories: false,
      repositories: ['a/b'],
    });
    expect(codeOf(await putBlob(deep, 'A/b', BYTES))).toBe('NAME_INVALID');
    expect((await putBlob(deep, 'a/b/c', BYTES)).status).toBe(401);
    expect(codeOf(await putBlob(deep, 'a/c', BYTES))).toBe('NAME_UNKNOWN');
    expect((await putBlob(deep, 'a/b', BYTES)).status).toBe(201);
    const readOnly = await useRegistryDouble({ readOnly: true });
    expect(codeOf(await putBlob(readOnly, 'a/b', BYTES))).toBe('UNSUPPORTED');
  });
});

describe('reads', () => {
  test.each([
    ['bytes=2-4', 206, 'bytes 2-4/10', '234'],
    ['bytes=7-', 206, 'bytes 7-9/10', '789'],
    ['bytes=-2', 206, 'bytes 8-9/10', '89'],
    ['bytes=5-99', 206, 'bytes 5-9/10', '56789'],
    ['bytes=4-2', 200, null, '0123456789'],
    ['lines=1-', 200, null, '0123456789'],
  ])('Range %s: %i', async (range, status, contentRange, text) => {
    const double = await useRegistryDouble();
    await putBlob(double, 'a', BYTES);
    const seen = await ask(`${double.origin}/v2/a/blobs/${DIGEST}`, { headers: { range } });
    expect([seen.status, seen.headers.get('content-range'), seen.text]).toEqual([status, contentRange, text]);
    const beyond = await ask(`${double.origin}/v2/a/blobs/${DIGEST}`, { headers: { range: 'bytes=10-' } });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */10']);
  });

  test('a redirected blob comes from a host that wants no Authorization', async () => {
    const double = await useRegistryDouble({ redirectBlobs: 'separate' });
    await putBlob(double, 'a', BYTES);
    const seen = await ask(`${double.origin}/v2/a/blobs/${DIGEST}`);
    const location = seen.headers.get('location') ?? '';
    expect([seen.status, new URL(location).origin]).toEqual([307, double.blobOrigin]);
    expect((await ask(location, { headers: { authorization: 'Bearer x' } })).status).toBe(400);
    expect((await ask(location, { headers: { range: 'bytes=8-' } })).text).toBe('89');
    expect((await ask(location.replace(/sig=.*/, 'sig=forged'))).status).toBe(403);
  });

  test('referrers are listed and filtered', async () => {
    const double = await useRegistryDouble();
    const subject = await putArtifact(double, 'a', 'subject');
    const descriptor = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: subject.digest };
    const referrer = await putArtifact(double, 'a', 'referrer', {
      more: { subject: descriptor, artifactType: 'application/vnd.example.sbom', annotations: { k: 'v' } },
    });
    expect(referrer.headers.get('oci-subject')).toBe(subject.digest);
    const list = async (query: string) => {
      const seen = await ask(`${double.origin}/v2/a/referrers/${subject.digest}${query}`);
      const { manifests } = JSON.parse(seen.text) as {
        manifests: { digest: string; artifactType: string }[];
      };
      return [seen.headers.get('oci-filters-applied'), manifests.map(({ digest }) => digest)];
    };
    expect(await list('')).toEqual([null, [referrer.digest]]);
    expect(await list('?artifactType=application/vnd.example.sbom')).toEqual([
      'artifactType',
      [referrer.digest],
    ]);
    expect(await list('?artifactType=other')).toEqual(['artifactType', []]);
  });

  test.each([
    ['link', '</v2/a/tags/list?n=2&last=b>; rel="next"'],
    ['link-relative', '<list?n=2&last=b>; rel="next"'],
    ['next_page', '</v2/a/tags/list?n=2&next_page=Yg>; rel="next"'],
    ['ignores-n', null],
  ] as const)('tags in the dialect %s', async (tagDialect, link) => {
    const double = await useRegistryDouble({ tagDialect });
    for (const tag of ['c', 'a', 'b']) await putArtifact(double, 'a', tag);
    const seen = await ask(`${double.origin}/v2/a/tags/list?n=2`);
    expect(seen.headers.get('link')).toBe(link);
    expect(JSON.parse(seen.text)).toEqual({ name: 'a', tags: link === null ? ['a', 'b', 'c'] : ['a', 'b'] });
  });
});
