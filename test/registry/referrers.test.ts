import { describe, expect, test } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { DOCKER_MANIFEST_LIST, IMAGE_INDEX, IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import { referrersTag } from '#ferry/oci/referrers.js';
import { RegistryClient, type RegistryClientOptions } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import { artifactOf, contentOf, rejection } from '../contracts/artifacts.js';
import { entryOf, referrerOf, referrersOf, SIGNATURE } from '../contracts/referrer-contract.js';
import { openTestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type RecordedRequest,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const subject = artifactOf('a subject').manifest.descriptor;
const one = referrerOf(subject, 'one', SIGNATURE);
const two = referrerOf(subject, 'two');
const oneEntry = entryOf(one, 'one', SIGNATURE);
const twoEntry = entryOf(two, 'two');
const foreign: Descriptor = {
  ...contentOf('by another', IMAGE_MANIFEST).descriptor,
  artifactType: SIGNATURE,
};

const API = `GET /v2/a/b/referrers/${subject.digest}`;
const TAG = `/v2/a/b/manifests/${referrersTag(subject.digest)}`;
const PUT_ONE = `PUT /v2/a/b/manifests/${one.manifest.descriptor.digest}`;

function index(manifests: readonly unknown[], more: object = {}): Answer {
  return {
    headers: { 'content-type': IMAGE_INDEX },
    body: JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_INDEX, manifests, ...more }),
  };
}
const absent: Answer = { status: 404, body: '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}' };
const stored = (referrer: typeof one): Answer => ({
  headers: { 'content-type': IMAGE_MANIFEST },
  body: referrer.manifest.bytes,
});

interface Scene {
  readonly server: ScriptedServer;
  readonly registry: RegistryClient;
  readonly repository: RepositoryClient;
  readonly pausesMs: number[];
}

async function sceneOf(rows: readonly Row[], options: Partial<RegistryClientOptions> = {}): Promise<Scene> {
  const server = await startScriptedServer(...rows);
  const { send, retry, pausesMs } = openTestClient();
  const registry = new RegistryClient({ host: server.host, send, ...retry, ...options });
  return { server, registry, repository: registry.repository('a/b'), pausesMs };
}

function digestsIn(request: RecordedRequest | undefined): string[] {
  const { manifests } = JSON.parse(request?.body.toString() ?? '') as { manifests: Descriptor[] };
  return manifests.map(({ digest }) => digest);
}

const push = (repository: RepositoryClient, referrer = one): Promise<void> =>
  repository.push(referrer.manifest.descriptor, openerOf(referrer.manifest.bytes));

describe('referrersTag', () => {
  test('is the digest, cut to what a tag takes', () => {
    expect(referrersTag(`sha256:${'a'.repeat(64)}`)).toBe(`sha256-${'a'.repeat(64)}`);
    expect(referrersTag(`sha512:${'a'.repeat(64)}${'b'.repeat(64)}`)).toBe(`sha512-${'a'.repeat(64)}`);
  });
});

describe('the API', () => {
  test('is followed over its pages, each referrer once, and the subject itself never', async () => {
    const { server, repository } = await sceneOf([
      [API, { ...index([oneEntry]), headers: { 'content-type': IMAGE_INDEX, link: '<?p=2>; rel="next"' } }],
      [`${API}?p=2`, index([oneEntry, twoEntry, subject])],
    ]);
    expect(await referrersOf(repository, subject)).toEqual(
      [oneEntry, twoEntry].sort((a, b) => (a.digest < b.digest ? -1 : 1)),
    );
    expect(server.requests[0]?.headers.accept).toBe(IMAGE_INDEX);
  });

  test('a page that breaks off is read again from its start', async () => {
    const first = index([oneEntry]);
    const headers = { ...first.headers, link: '<?p=2>; rel="next"' };
    const { server, repository } = await sceneOf([
      [API, { ...first, headers, fault: 'truncated' }],
      [API, { ...first, headers }],
      [`${API}?p=2`, { ...index([twoEntry]), fault: 'reset-in-body' }],
      [`${API}?p=2`, index([twoEntry])],
    ]);
    expect(await referrersOf(repository, subject)).toHaveLength(2);
    expect(server.lines).toEqual([API, API, `${API}?p=2`, `${API}?p=2`]);
  });

  test('may say that there are none, with a charset', async () => {
    const headers = { 'content-type': `${IMAGE_INDEX}; charset=utf-8` };
    const { server, repository } = await sceneOf([[API, { ...index([]), headers }]]);
    expect(await referrersOf(repository, subject)).toEqual([]);
    expect(server.lines).toEqual([API]);
  });

  test('may filter or not', async () => {
    const line = `${API}?artifactType=${encodeURIComponent(SIGNATURE)}`;
    const { headers, ...rest } = index([oneEntry, twoEntry]);
    const { repository } = await sceneOf([
      [line, index([oneEntry, twoEntry])],
      [line, { ...rest, headers: { ...headers, 'oci-filters-applied': 'artifactType' } }],
      [line, { ...rest, headers: { ...headers, 'oci-filters-applied': 'other' } }],
    ]);
    expect(await referrersOf(repository, subject, SIGNATURE)).toEqual([oneEntry]);
    // It says that it filtered, and knows best.
    expect(await referrersOf(repository, subject, SIGNATURE)).toHaveLength(2);
    expect(await referrersOf(repository, subject, SIGNATURE)).toEqual([oneEntry]);
  });

  test('says of an unknown repository that nothing refers to anything there', async () => {
    const { server, repository } = await sceneOf([
      [API, { status: 404, body: '{"errors":[{"code":"NAME_UNKNOWN"}]}' }],
    ]);
    expect(await referrersOf(repository, subject)).toEqual([]);
    expect(server.lines).toEqual([API]);
  });

  test.each([401, 403, 429, 500])('a %i says nothing of the API', async (status) => {
    const { repository } = await sceneOf(Array.from({ length: 8 }, (): Row => [API, { status }]));
    expect(await rejection(referrersOf(repository, subject))).toMatchObject({ status });
  });

  test('does not lead elsewhere', async () => {
    const headers = { 'content-type': IMAGE_INDEX, link: '</v2/other/referrers/x>; rel="next"' };
    const { repository } = await sceneOf([[API, { ...index([oneEntry]), headers }]]);
    expect(await rejection(referrersOf(repository, subject))).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });
});

describe('without an API', () => {
  test.each<[string, Answer]>([
    ['plain text (docker-registry 2.8)', { status: 404, body: '404 page not found' }],
    ['HTML of a portal (GitLab, Harbor)', { status: 404, body: '<html>' }],
    ['another code', { status: 404, body: '{"errors":[{"code":"NOT_FOUND"}]}' }],
    ['400', { status: 400 }],
    ['405', { status: 405 }],
    ['406', { status: 406 }],
    ['200 of another type', { status: 200, body: '{}', headers: { 'content-type': 'application/json' } }],
    ['200 and no type', { status: 200, body: '{}' }],
  ])('that is, with %s, the tag is read', async (_, answer) => {
    const { server, repository } = await sceneOf([
      [API, answer],
      [`GET ${TAG}`, index([oneEntry])],
    ]);
    expect(await referrersOf(repository, subject)).toEqual([oneEntry]);
    expect(server.lines).toEqual([API, `GET ${TAG}`]);
  });

  test('ghcr/G14: a redirect to a page for people is none, whatever the page says', async () => {
    const portal = await startScriptedServer(['GET /login', index([twoEntry])]);
    const { repository } = await sceneOf([
      [API, { status: 303, headers: { location: `${portal.origin}/login` } }],
      [`GET ${TAG}`, index([oneEntry])],
    ]);
    expect(await referrersOf(repository, subject)).toEqual([oneEntry]);
  });

  test('a redirect to where nobody answers is none', async () => {
    const { repository } = await sceneOf([
      [API, { status: 303, headers: { location: 'http://127.0.0.1:1/login' } }],
      [`GET ${TAG}`, absent],
      [API, { status: 303, headers: { location: 'ftp://127.0.0.1/login' } }],
    ]);
    expect(await referrersOf(repository, subject)).toEqual([]);
  });

  test('is remembered for a while', async () => {
    let ms = 0;
    const missing: Answer = { status: 404, body: 'no' };
    const { server, repository } = await sceneOf(
      [
        [API, missing],
        [API, index([oneEntry])],
        [`GET ${TAG}`, absent],
        [`GET ${TAG}`, absent],
      ],
      { now: () => ms },
    );
    await referrersOf(repository, subject);
    ms = 14 * 60_000;
    await referrersOf(repository, subject);
    expect(server.lines).toEqual([API, `GET ${TAG}`, `GET ${TAG}`]);
    ms = 15 * 60_000;
    expect(await referrersOf(repository, subject)).toEqual([oneEntry]);
  });

  test('is remembered for all repositories only where the registry is known to be one thing', async () => {
    const other = API.replace('/a/b/', '/c/');
    const rows = (): Row[] => [
      [API, { status: 404 }],
      [other, { status: 404 }],
      [`GET ${TAG}`, absent],
      [`GET ${TAG.replace('/a/b/', '/c/')}`, absent],
    ];
    for (const [referrers, asked] of [
      ['unknown', true],
      ['tag', false],
    ] as const) {
      const { server, registry, repository } = await sceneOf(rows(), { profile: { referrers } });
      await referrersOf(repository, subject);
      await referrersOf(registry.repository('c'), subject);
      expect(server.lines.includes(other)).toBe(asked);
    }
  });

  test('an empty answer where no API is expected does not hide what the tag has', async () => {
    const { repository } = await sceneOf(
      [
        [API, index([])],
        [`GET ${TAG}`, index([oneEntry])],
      ],
      { profile: { referrers: 'tag' } },
    );
    expect(await referrersOf(repository, subject)).toEqual([oneEntry]);
  });

  test('ghcr/G14: an entry of another type than asked for is looked into', async () => {
    const gone = { ...contentOf('gone', IMAGE_MANIFEST).descriptor, artifactType: 'x/y' };
    const wrong = { ...one.manifest.descriptor, artifactType: 'application/vnd.oci.empty.v1+json' };
    const { repository } = await sceneOf([
      [`${API}?artifactType=${encodeURIComponent(SIGNATURE)}`, { status: 404 }],
      [`GET ${TAG}`, index([wrong, twoEntry, gone])],
      [`GET /v2/a/b/manifests/${wrong.digest}`, stored(one)],
      [`GET /v2/a/b/manifests/${twoEntry.digest}`, stored(two)],
      [`GET /v2/a/b/manifests/${gone.digest}`, absent],
    ]);
    expect(await referrersOf(repository, subject, SIGNATURE)).toEqual([oneEntry]);
  });

  test.each<[string, Answer]>([
    ['a manifest', stored(one)],
    ['a list of Docker', { headers: { 'content-type': DOCKER_MANIFEST_LIST }, body: '{"manifests":[]}' }],
    ['no JSON', { headers: { 'content-type': IMAGE_INDEX }, body: '<html>' }],
  ])('%s under the tag is refused', async (_, answer) => {
    const { repository } = await sceneOf([
      [API, { status: 404 }],
      [`GET ${TAG}`, answer],
    ]);
    expect(await rejection(referrersOf(repository, subject))).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });
});

describe('push of a referrer', () => {
  const accepted: Answer = { status: 201 };

  test('is all where the registry answers with OCI-Subject', async () => {
    const { server, repository } = await sceneOf([
      [PUT_ONE, { status: 201, headers: { 'oci-subject': subject.digest } }],
    ]);
    await push(repository);
    expect(server.lines).toEqual([PUT_ONE]);
  });

  test('else makes the list, which keeps the manifest as it was described, and reads it back', async () => {
    const { server, repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, absent],
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([oneEntry])],
    ]);
    await push(repository);
    expect(server.lines).toEqual([PUT_ONE, `GET ${TAG}`, `PUT ${TAG}`, `GET ${TAG}`]);
    const put = server.requests[2];
    expect(put?.headers['content-type']).toBe(IMAGE_INDEX);
    expect(JSON.parse(put?.body.toString() ?? '')).toEqual({
      schemaVersion: 2,
      mediaType: IMAGE_INDEX,
      manifests: [oneEntry],
    });
  });

  test('adds to a list, whose own fields and unknown ones stay', async () => {
    const odd = { ...foreign, 'x-more': { of: 1 } };
    const { server, repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, index([odd], { annotations: { a: 'b' }, 'x-unknown': [1] })],
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([odd, oneEntry])],
    ]);
    await push(repository);
    expect(JSON.parse(server.requests[2]?.body.toString() ?? '')).toMatchObject({
      annotations: { a: 'b' },
      'x-unknown': [1],
      manifests: [odd, oneEntry],
    });
  });

  test('changes nothing where it is listed already', async () => {
    const { server, repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, index([foreign, oneEntry])],
    ]);
    await push(repository);
    expect(server.lines).toHaveLength(2);
  });

  test('adds itself again if another writer wrote over it, after a pause by chance', async () => {
    const { server, repository, pausesMs } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, absent],
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([foreign])],
      [`GET ${TAG}`, index([foreign])],
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([foreign, oneEntry])],
    ]);
    await push(repository);
    const puts = server.requests.filter(({ line }) => line === `PUT ${TAG}`);
    expect(puts.map(digestsIn)).toEqual([[oneEntry.digest], [foreign.digest, oneEntry.digest]]);
    expect(pausesMs).toEqual([250]);
  });

  test('gives up after five writes that others wrote over, saying what is done and what is not', async () => {
    const round: Row[] = [
      [`GET ${TAG}`, index([foreign])],
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([foreign])],
    ];
    const { server, repository, pausesMs } = await sceneOf([
      [PUT_ONE, accepted],
      ...Array.from({ length: 6 }, () => round).flat(),
    ]);
    const error = await rejection(push(repository));
    expect(error).toMatchObject({ code: 'REGISTRY_REFUSED', cause: { code: 'REGISTRY_REFUSED' } });
    expect(String(error)).toContain('is pushed, but not yet listed');
    expect(server.lines.filter((line) => line === `PUT ${TAG}`)).toHaveLength(5);
    expect(pausesMs).toEqual([250, 500, 1000, 2000]);
  });

  test.each<[string, Answer]>([
    ['a reset', { fault: 'reset' }],
    ['503', { status: 503 }],
    ['409', { status: 409 }],
    ['412', { status: 412 }],
  ])('after %s reads again before it writes again', async (_, failure) => {
    const { server, repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, absent],
      [`PUT ${TAG}`, failure],
      // In the meantime somebody else wrote.
      [`GET ${TAG}`, index([foreign])],
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([foreign, oneEntry])],
    ]);
    await push(repository);
    expect(digestsIn(server.requests[4])).toEqual([foreign.digest, oneEntry.digest]);
  });

  test('after a reset finds that the write had happened', async () => {
    const { server, repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, absent],
      [`PUT ${TAG}`, { fault: 'reset' }],
      [`GET ${TAG}`, index([oneEntry])],
    ]);
    await push(repository);
    expect(server.lines).toHaveLength(4);
  });

  test('waits as long as the registry asks', async () => {
    const { repository, pausesMs } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, absent],
      [`PUT ${TAG}`, { status: 429, headers: { 'retry-after': '7' } }],
      // What was turned away was not done: no need to read again.
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([oneEntry])],
    ]);
    await push(repository);
    expect(pausesMs).toEqual([expect.closeTo(7000, -3)]);
  });

  test('does not write over what is no list', async () => {
    const { server, repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, stored(two)],
    ]);
    expect(await rejection(push(repository))).toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(server.lines).toHaveLength(2);
  });

  test('leaves out of the list what is gone, where the registry minds', async () => {
    const unknown = '{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}';
    const found: Answer = { headers: { 'content-type': IMAGE_MANIFEST, 'content-length': 10 } };
    const { server, repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`GET ${TAG}`, index([foreign])],
      [`PUT ${TAG}`, { status: 400, body: unknown }],
      [`HEAD /v2/a/b/manifests/${foreign.digest}`, { status: 404 }],
      [`HEAD /v2/a/b/manifests/${oneEntry.digest}`, found],
      [`PUT ${TAG}`, accepted],
      [`GET ${TAG}`, index([oneEntry])],
    ]);
    await push(repository);
    expect(digestsIn(server.requests[5])).toEqual([oneEntry.digest]);
  });

  test('in one process, all that wait go into one write', async () => {
    let list: unknown[] = [];
    const read = (): Answer => (list.length === 0 ? absent : index(list));
    const write = (request: RecordedRequest): Answer => {
      ({ manifests: list } = JSON.parse(request.body.toString()) as { manifests: unknown[] });
      return accepted;
    };
    const referrers = Array.from({ length: 10 }, (_, i) => referrerOf(subject, `referrer ${i}`));
    const { server, repository } = await sceneOf([
      ...referrers.map(({ manifest }): Row => [
        `PUT /v2/a/b/manifests/${manifest.descriptor.digest}`,
        accepted,
      ]),
      ...Array.from({ length: 30 }, (): Row => [`GET ${TAG}`, read]),
      ...Array.from({ length: 10 }, (): Row => [`PUT ${TAG}`, write]),
    ]);
    await Promise.all(referrers.map((referrer) => push(repository, referrer)));
    expect(list).toHaveLength(10);
    expect(server.lines.filter((line) => line === `PUT ${TAG}`).length).toBeLessThan(10);
  });

  test('one who leaves the queue leaves alone', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    let list: unknown[] = [];
    const { repository } = await sceneOf([
      [PUT_ONE, accepted],
      [`PUT /v2/a/b/manifests/${two.manifest.descriptor.digest}`, accepted],
      [
        `GET ${TAG}`,
        () => {
          controller.abort(reason);
          return absent;
        },
      ],
      ...Array.from({ length: 4 }, (): Row => [
        `GET ${TAG}`,
        () => (list.length === 0 ? absent : index(list)),
      ]),
      ...Array.from({ length: 2 }, (): Row => [
        `PUT ${TAG}`,
        (request) => {
          ({ manifests: list } = JSON.parse(request.body.toString()) as { manifests: unknown[] });
          return accepted;
        },
      ]),
    ]);
    const { descriptor, bytes } = two.manifest;
    const leaving = repository.push(descriptor, openerOf(bytes), { signal: controller.signal });
    const staying = push(repository);
    expect(await rejection(leaving)).toBe(reason);
    await staying;
    expect(list).toContainEqual(oneEntry);
  });
});

describe('delete of a referrer', () => {
  const GET_ONE = `GET /v2/a/b/manifests/${one.manifest.descriptor.digest}`;
  const DELETE_ONE = `DELETE /v2/a/b/manifests/${one.manifest.descriptor.digest}`;

  test('takes it off the list, which stays though it be empty', async () => {
    const { server, repository } = await sceneOf([
      [GET_ONE, stored(one)],
      [DELETE_ONE, { status: 202 }],
      [`GET ${TAG}`, index([oneEntry])],
      [`PUT ${TAG}`, { status: 201 }],
      [`GET ${TAG}`, index([])],
    ]);
    await repository.delete(one.manifest.descriptor);
    expect(digestsIn(server.requests[3])).toEqual([]);
    expect(server.lines.filter((line) => line.startsWith('DELETE'))).toEqual([DELETE_ONE]);
  });

  test('needs no list where there is none, or the registry keeps it', async () => {
    const { server, repository } = await sceneOf([
      [GET_ONE, stored(one)],
      [DELETE_ONE, { status: 202 }],
      [`GET ${TAG}`, absent],
      [API, index([])],
      [DELETE_ONE, { status: 202 }],
    ]);
    await repository.delete(one.manifest.descriptor);
    await referrersOf(repository, subject);
    await repository.delete(one.manifest.descriptor);
    expect(server.lines).toEqual([GET_ONE, DELETE_ONE, `GET ${TAG}`, API, DELETE_ONE]);
  });

  test('leaves the list alone if the registry does not delete', async () => {
    const { server, repository } = await sceneOf([
      [GET_ONE, stored(one)],
      [DELETE_ONE, { status: 405 }],
    ]);
    expect(await rejection(repository.delete(one.manifest.descriptor))).toMatchObject({
      code: 'UNSUPPORTED',
    });
    expect(server.lines).toHaveLength(2);
  });

  test('what cannot be read as a manifest can still be deleted', async () => {
    const { server, repository } = await sceneOf([
      [GET_ONE, { headers: { 'content-type': IMAGE_INDEX }, body: one.manifest.bytes }],
      [DELETE_ONE, { status: 202 }],
    ]);
    await repository.delete(one.manifest.descriptor);
    expect(server.lines).toHaveLength(2);
  });
});
