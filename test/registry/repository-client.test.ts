import { describe, expect, test } from 'vitest';
import type { Send } from '#ferry/http/send.js';
import { collect, openerOf } from '#ferry/io/bytes.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import { artifactOf, contentOf, rejection, tagsOf } from '../contracts/artifacts.js';
import { referrersOf } from '../contracts/referrer-contract.js';
import { openTestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const { manifest } = artifactOf('a layer');
const { digest } = manifest.descriptor;
const blob = contentOf('0123456789');
const BLOB = `/v2/a/b/blobs/${blob.descriptor.digest}`;
const other = contentOf('another').descriptor.digest;

async function sceneOf(
  ...rows: Row[]
): Promise<{ readonly server: ScriptedServer; readonly repository: RepositoryClient }> {
  const server = await startScriptedServer(...rows);
  const { send } = openTestClient();
  return { server, repository: new RegistryClient({ host: server.host, send }).repository('a/b') };
}

const manifestHeaders = {
  'content-type': IMAGE_MANIFEST,
  'content-length': manifest.descriptor.size,
  'docker-content-digest': digest,
};
const stored: Answer = {
  headers: { 'content-type': IMAGE_MANIFEST, 'docker-content-digest': digest },
  body: manifest.bytes,
};

describe('resolve', () => {
  test('asks with HEAD for all media types of manifests', async () => {
    const { server, repository } = await sceneOf([
      'HEAD /v2/a/b/manifests/1.0',
      { headers: manifestHeaders },
    ]);
    expect(await repository.resolve('1.0')).toEqual(manifest.descriptor);
    const accept = server.requests[0]?.headers.accept?.split(', ');
    expect(accept).toEqual(expect.arrayContaining([IMAGE_MANIFEST, IMAGE_INDEX]));
    expect(accept).toHaveLength(4);
  });

  test.each<[string, keyof typeof manifestHeaders, string?]>([
    ['no digest', 'docker-content-digest'],
    ['a digest that is none', 'docker-content-digest', 'sha256:abc'],
    ['no media type', 'content-type'],
    ['an empty media type', 'content-type', ''],
    ['a length of 0', 'content-length', '0'],
    ['a length that no manifest has', 'content-length', '99999999'],
  ])('reads the manifest where HEAD tells %s', async (_, name, value) => {
    const { [name]: _right, ...others } = manifestHeaders;
    const headers = value === undefined ? others : { ...others, [name]: value };
    const { server, repository } = await sceneOf(
      ['HEAD /v2/a/b/manifests/1.0', { headers }],
      ['GET /v2/a/b/manifests/1.0', stored],
    );
    expect(await repository.resolve('1.0')).toEqual(manifest.descriptor);
    expect(server.lines).toHaveLength(2);
  });

  test('by digest, HEAD need not repeat the digest', async () => {
    const { repository } = await sceneOf([
      `HEAD /v2/a/b/manifests/${digest}`,
      { headers: { 'content-type': IMAGE_MANIFEST, 'content-length': manifest.descriptor.size } },
    ]);
    expect(await repository.resolve(digest)).toEqual(manifest.descriptor);
  });

  test('the media type is what stands before the parameters', async () => {
    const headers = { ...manifestHeaders, 'content-type': `${IMAGE_MANIFEST} ; charset=utf-8` };
    const { repository } = await sceneOf(
      ['HEAD /v2/a/b/manifests/1.0', { headers }],
      ['GET /v2/a/b/manifests/1.0', { headers, body: manifest.bytes }],
    );
    expect(await repository.resolve('1.0')).toEqual(manifest.descriptor);
    expect((await repository.fetchManifest('1.0'))?.descriptor).toEqual(manifest.descriptor);
  });

  test('a 401 is an error, not an absence', async () => {
    const { repository } = await sceneOf(['HEAD /v2/a/b/manifests/1.0', { status: 401 }]);
    expect(await rejection(repository.resolve('1.0'))).toMatchObject({ status: 401 });
  });

  test.each([400, 403, 405])('a HEAD that is refused with %i is asked for by GET, once', async (status) => {
    const { repository } = await sceneOf(
      ['HEAD /v2/a/b/manifests/1.0', { status }],
      ['GET /v2/a/b/manifests/1.0', stored],
    );
    expect(await repository.resolve('1.0')).toEqual(manifest.descriptor);
  });

  test('what GET says to it has the body that HEAD lacks', async () => {
    const body = '{"errors":[{"code":"DENIED","message":"not yours"}]}';
    const { repository } = await sceneOf(
      ['HEAD /v2/a/b/manifests/1.0', { status: 403 }],
      ['GET /v2/a/b/manifests/1.0', { status: 403, body }],
    );
    expect(await rejection(repository.resolve('1.0'))).toMatchObject({
      code: 'DENIED',
      errors: [{ code: 'DENIED', message: 'not yours' }],
    });
  });

  test('a HEAD by digest that tells of another one is not believed', async () => {
    const { repository } = await sceneOf(
      [
        `HEAD /v2/a/b/manifests/${digest}`,
        { headers: { ...manifestHeaders, 'docker-content-digest': other } },
      ],
      [`GET /v2/a/b/manifests/${digest}`, stored],
    );
    expect(await repository.resolve(digest)).toEqual(manifest.descriptor);
  });

  test.each(['../../x', 'a b', 'a/b', 'sha256:abc', ''])(
    'sends nothing for the reference %j',
    async (reference) => {
      const { server, repository } = await sceneOf();
      expect(await rejection(repository.resolve(reference))).toMatchObject({ code: 'REFERENCE_INVALID' });
      expect(await rejection(repository.fetchManifest(reference))).toMatchObject({
        code: 'REFERENCE_INVALID',
      });
      expect(server.lines).toEqual([]);
    },
  );
});

describe('fetchManifest', () => {
  test('refuses bytes that do not have the digest they were asked for by', async () => {
    const { repository } = await sceneOf([`GET /v2/a/b/manifests/${other}`, stored]);
    expect(await rejection(repository.fetchManifest(other))).toMatchObject({
      code: 'DIGEST_MISMATCH',
      expected: other,
      actual: digest,
    });
  });

  test('by tag, the digest is that of the bytes, whatever the header says', async () => {
    const headers = { ...stored.headers, 'docker-content-digest': other };
    const { repository } = await sceneOf(['GET /v2/a/b/manifests/1.0', { ...stored, headers }]);
    expect((await repository.fetchManifest('1.0'))?.descriptor.digest).toBe(digest);
  });

  test('takes 4 MiB and refuses a byte more, without reading on', async () => {
    const limit = 4 * 1024 * 1024;
    const headers = { 'content-type': IMAGE_MANIFEST };
    const { repository } = await sceneOf(
      ['GET /v2/a/b/manifests/fits', { headers, body: ' '.repeat(limit) }],
      ['GET /v2/a/b/manifests/large', { headers, body: ' '.repeat(limit + 1) }],
      ['GET /v2/a/b/manifests/endless', { headers, body: ' '.repeat(3 * limit), fault: 'stalled' }],
    );
    expect((await repository.fetchManifest('fits'))?.descriptor.size).toBe(limit);
    expect(await rejection(repository.fetchManifest('large'))).toMatchObject({ code: 'SIZE_EXCEEDED' });
    expect(await rejection(repository.fetchManifest('endless'))).toMatchObject({ code: 'SIZE_EXCEEDED' });
  });

  test('refuses a manifest without a media type', async () => {
    const { repository } = await sceneOf(['GET /v2/a/b/manifests/1.0', { body: manifest.bytes }]);
    expect(await rejection(repository.fetchManifest('1.0'))).toMatchObject({ code: 'MANIFEST_INVALID' });
  });

  test.each([
    ['another type of manifest', IMAGE_INDEX],
    ['no type of manifest', 'text/html'],
  ])('refuses a manifest that came as %s (CVE-2021-41190)', async (_, type) => {
    const headers = { ...stored.headers, 'content-type': type };
    const { repository } = await sceneOf(['GET /v2/a/b/manifests/1.0', { ...stored, headers }]);
    expect(await rejection(repository.fetchManifest('1.0'))).toMatchObject({ code: 'MANIFEST_INVALID' });
  });

  test('a manifest that breaks off is read again from its start', async () => {
    const { server, repository } = await sceneOf(
      ['GET /v2/a/b/manifests/1.0', { ...stored, fault: 'truncated' }],
      ['GET /v2/a/b/manifests/1.0', stored],
    );
    expect(await repository.fetchManifest('1.0')).toBeDefined();
    expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined, undefined]);
  });

  test('a manifest that breaks off every time is an error of the network', async () => {
    const { repository } = await sceneOf(
      ...Array.from({ length: 8 }, (): Row => [
        'GET /v2/a/b/manifests/1.0',
        { ...stored, fault: 'truncated' },
      ]),
    );
    expect(await rejection(repository.fetchManifest('1.0'))).toMatchObject({ code: 'NETWORK' });
  });
});

describe('push of a manifest', () => {
  const put = (reference: string): string => `PUT /v2/a/b/manifests/${reference}`;

  test('goes to each tag, or to its digest where there is none', async () => {
    const { server, repository } = await sceneOf(
      [put('one'), { status: 201 }],
      [put('two'), { status: 202 }],
      [put(digest), { status: 200 }],
    );
    await repository.push(manifest.descriptor, openerOf(manifest.bytes), { tags: ['one', 'two'] });
    await repository.push(manifest.descriptor, openerOf(manifest.bytes));
    expect(server.lines).toEqual([put('one'), put('two'), put(digest)]);
    for (const request of server.requests) {
      expect(request.headers['content-type']).toBe(IMAGE_MANIFEST);
      expect(request.body.equals(manifest.bytes)).toBe(true);
    }
  });

  test('is repeated, since the same bytes under the same name change nothing', async () => {
    const { server, repository } = await sceneOf(
      [put('one'), { fault: 'reset' }],
      [put('one'), { status: 503 }],
      [put('one'), { status: 201 }],
    );
    await repository.push(manifest.descriptor, openerOf(manifest.bytes), { tags: ['one'] });
    expect(server.lines).toHaveLength(3);
  });

  test('a refusal is told with its code', async () => {
    const body = '{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}';
    const { server, repository } = await sceneOf([put('one'), { status: 400, body }]);
    const pushing = repository.push(manifest.descriptor, openerOf(manifest.bytes), { tags: ['one', 'two'] });
    expect(await rejection(pushing)).toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN' });
    expect(server.lines).toEqual([put('one')]);
  });

  test('a bad tag among good ones sends nothing', async () => {
    const { server, repository } = await sceneOf();
    const pushing = repository.push(manifest.descriptor, openerOf(manifest.bytes), {
      tags: ['good', 'b/ad'],
    });
    expect(await rejection(pushing)).toMatchObject({ code: 'REFERENCE_INVALID' });
    expect(server.lines).toEqual([]);
  });

  test('one over 4 MiB is refused before it is sent', async () => {
    const { server, repository } = await sceneOf();
    const large = contentOf(Buffer.alloc(4 * 1024 * 1024 + 1), IMAGE_MANIFEST);
    const pushing = repository.push(large.descriptor, openerOf(large.bytes));
    expect(await rejection(pushing)).toMatchObject({ code: 'MANIFEST_TOO_LARGE' });
    expect(server.lines).toEqual([]);
  });

  test.each<[string, Answer]>([
    ['413', { status: 413, body: '<html>' }],
    [
      'a 400 that says so',
      {
        status: 400,
        body: '{"errors":[{"code":"MANIFEST_INVALID","message":"http: request body too large"}]}',
      },
    ],
  ])('one that is too large for the registry is told as such after %s', async (_, answer) => {
    const { repository } = await sceneOf([put('one'), answer]);
    const pushing = repository.push(manifest.descriptor, openerOf(manifest.bytes), { tags: ['one'] });
    expect(await rejection(pushing)).toMatchObject({
      code: 'MANIFEST_TOO_LARGE',
      cause: { status: answer.status },
    });
  });

  test('is wrong where the registry read other bytes', async () => {
    const sha512 = `sha512:${'0'.repeat(128)}`;
    const { repository } = await sceneOf(
      [put('one'), { status: 201, headers: { 'docker-content-digest': other } }],
      [put('one'), { status: 201, headers: { 'docker-content-digest': sha512 } }],
    );
    const push = (): Promise<void> =>
      repository.push(manifest.descriptor, openerOf(manifest.bytes), { tags: ['one'] });
    expect(await rejection(push())).toMatchObject({ code: 'DIGEST_MISMATCH', actual: other });
    // Of another algorithm: nothing to compare.
    await push();
  });
});

describe('delete', () => {
  test('is repeated, and what is gone by then is deleted', async () => {
    const { server, repository } = await sceneOf(
      // Has it a subject that lists it?
      [`GET /v2/a/b/manifests/${digest}`, stored],
      [`DELETE /v2/a/b/manifests/${digest}`, { fault: 'reset' }],
      [`DELETE /v2/a/b/manifests/${digest}`, { status: 404 }],
      [`DELETE ${BLOB}`, { status: 429, headers: { 'retry-after': '1' } }],
      [`DELETE ${BLOB}`, { status: 202 }],
    );
    await repository.delete(manifest.descriptor);
    await repository.delete(blob.descriptor);
    expect(server.lines).toHaveLength(5);
  });

  test.each<Answer>([
    { status: 405 },
    { status: 400, body: '{"errors":[{"code":"UNSUPPORTED","message":"no"}]}' },
  ])('a registry that cannot says so: %j', async (answer) => {
    const { repository } = await sceneOf([`DELETE ${BLOB}`, answer]);
    expect(await rejection(repository.delete(blob.descriptor))).toMatchObject({ code: 'UNSUPPORTED' });
  });

  test('a refusal is no lack of power', async () => {
    const { repository } = await sceneOf(
      [`DELETE ${BLOB}`, { status: 400 }],
      [`DELETE ${BLOB}`, { status: 403 }],
    );
    expect(await rejection(repository.delete(blob.descriptor))).toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(await rejection(repository.delete(blob.descriptor))).toMatchObject({ code: 'DENIED' });
  });
});

describe('untag', () => {
  const LINE = 'DELETE /v2/a/b/manifests/1.0';

  test.each([200, 202, 204, 404])('is done after %i', async (status) => {
    const { server, repository } = await sceneOf([LINE, { status }]);
    await repository.untag('1.0');
    expect(server.lines).toEqual([LINE]);
  });

  test.each([
    [400, 'UNSUPPORTED'],
    [405, 'UNSUPPORTED'],
    [403, 'DENIED'],
  ])('a %i means %s', async (status, code) => {
    const { repository } = await sceneOf([LINE, { status }]);
    expect(await rejection(repository.untag('1.0'))).toMatchObject({ code });
  });

  test.each(['a/b', '', digest])('sends nothing for %j', async (tag) => {
    const { server, repository } = await sceneOf();
    expect(await rejection(repository.untag(tag))).toMatchObject({ code: 'REFERENCE_INVALID' });
    expect(server.lines).toEqual([]);
  });

  test('asks for nothing where the registry is known not to', async () => {
    const server = await startScriptedServer();
    const { send } = openTestClient();
    const registry = new RegistryClient({ host: server.host, send, profile: { deletesTags: false } });
    expect(await rejection(registry.repository('a/b').untag('1.0'))).toMatchObject({ code: 'UNSUPPORTED' });
    expect(server.lines).toEqual([]);
  });
});

describe('tags', () => {
  const LIST = 'GET /v2/a/b/tags/list';
  const page = (tags: unknown, link?: string | string[]): Answer => ({
    headers: { 'content-type': 'application/json', ...(link === undefined ? {} : { link }) },
    body: JSON.stringify({ name: 'a/b', tags }),
  });

  test('are asked for in pages of 1000', async () => {
    const { server, repository } = await sceneOf([`${LIST}?n=1000`, page(['a', 'b'])]);
    expect(await tagsOf(repository)).toEqual(['a', 'b']);
    expect(server.lines).toHaveLength(1);
  });

  test.each<[string, (origin: string) => string | string[]]>([
    ['relative', () => '</v2/a/b/tags/list?n=2&last=b>; rel="next"'],
    ['relative to the list', () => '<?n=2&last=b>; rel=next'],
    ['absolute', (origin) => `<${origin}/v2/a/b/tags/list?n=2&last=b>; rel="next"`],
    [
      'among others in one header',
      () => '</a,b>; rel="prev", </v2/a/b/tags/list?n=2&last=b>; title="x"; rel="next"',
    ],
    ['in a second header', () => ['</first>; rel="first"', '</v2/a/b/tags/list?n=2&last=b>; rel="next"']],
  ])('go on where a %s Link says', async (_, linkOf) => {
    const { server, repository } = await sceneOf([`${LIST}?n=2&last=b`, page(['c'])]);
    server.expect([`${LIST}?n=1000`, page(['a', 'b'], linkOf(server.origin))]);
    expect(await tagsOf(repository)).toEqual(['a', 'b', 'c']);
  });

  test.each([
    '<x>; rel="prev"',
    '<x>; rel="nextish"',
    '<x>; xrel="next',
    'x; rel="next"',
    '<x>, rel="next"',
    '',
  ])('end where the Link is %j', async (link) => {
    const { repository } = await sceneOf([`${LIST}?n=1000`, page(['a'], link)]);
    expect(await tagsOf(repository)).toEqual(['a']);
  });

  // The search once went back at each bracket: seconds for one header.
  test.each(['<', '<>;', '<a>;b,'])('end where the Link is 60,000 characters of %j', async (piece) => {
    const link = piece.repeat(60_000 / piece.length);
    const { repository } = await sceneOf([`${LIST}?n=1000`, page(['a'], link)]);
    expect(await tagsOf(repository)).toEqual(['a']);
  });

  test('are refused where the list goes in circles', async () => {
    const { repository } = await sceneOf(
      [`${LIST}?n=1000`, page(['a'], `</v2/a/b/tags/list?last=a>; rel="next"`)],
      [`${LIST}?last=a`, page(['b'], `</v2/a/b/tags/list?n=1000>; rel="next"`)],
    );
    expect(await rejection(tagsOf(repository))).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });

  test('are refused where the list goes on at another host', async () => {
    const other = await startScriptedServer();
    const { repository } = await sceneOf([
      `${LIST}?n=1000`,
      page(['a'], `<${other.origin}/v2/a/b/tags/list?token=secret>; rel="next"`),
    ]);
    const error = await rejection(tagsOf(repository));
    expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(String(error)).not.toContain('secret');
    expect(other.lines).toEqual([]);
  });

  test.each<[string, Answer]>([
    ['null', page(null)],
    ['absent', { body: '{"name":"a/b"}' }],
    ['an empty list', page([])],
    [
      'those of a repository that is not there',
      { status: 404, body: '{"errors":[{"code":"NAME_UNKNOWN"}]}' },
    ],
  ])('are none where they are %s', async (_, answer) => {
    const { repository } = await sceneOf([`${LIST}?n=1000`, answer]);
    expect(await tagsOf(repository)).toEqual([]);
  });

  test('are no short list where a later page is not found', async () => {
    const { repository } = await sceneOf(
      [`${LIST}?n=1000`, page(['a'], '</v2/a/b/tags/list?last=a>; rel="next"')],
      [`${LIST}?last=a`, { status: 404 }],
    );
    expect(await rejection(tagsOf(repository))).toMatchObject({ code: 'NOT_FOUND' });
  });

  test.each(['<html>', '[]', 'null', '{"tags":"a"}', '{"tags":[1]}', '{"tags":'])(
    'are not %s',
    async (body) => {
      const { repository } = await sceneOf([`${LIST}?n=1000`, { body }]);
      expect(await rejection(tagsOf(repository))).toMatchObject({ code: 'REGISTRY_REFUSED' });
    },
  );

  test('a page over 8 MiB is refused', async () => {
    const { repository } = await sceneOf([`${LIST}?n=1000`, { body: ' '.repeat(8 * 1024 * 1024 + 1) }]);
    expect(await rejection(tagsOf(repository))).toMatchObject({ code: 'SIZE_EXCEEDED' });
  });
});

test('requests say what they do, for the token that is asked for', async () => {
  const asked: string[] = [];
  const send: Send = (request) => {
    const { repository = '', actions, from } = request.access ?? {};
    asked.push(
      [request.method, repository, String(actions), ...(from === undefined ? [] : [from])].join(' '),
    );
    return Promise.reject(new Error('stop'));
  };
  const repository = new RegistryClient({ host: 'registry.example', send }).repository('a/b');
  for (const call of [
    () => repository.resolve('1.0'),
    () => repository.fetchManifest('1.0'),
    () => repository.push(manifest.descriptor, openerOf(manifest.bytes)),
    () => repository.untag('1.0'),
    () => repository.delete(blob.descriptor),
    () => tagsOf(repository),
    () => referrersOf(repository, manifest.descriptor),
    () => repository.exists(blob.descriptor),
    () => collect(repository.fetch(blob.descriptor), 1000, 'blob'),
    () => repository.push(blob.descriptor, openerOf(blob.bytes)),
    () => repository.mount(blob.descriptor, 'a/c'),
    () => repository.checkPush(),
  ]) {
    await rejection(call());
  }
  expect(asked).toEqual([
    'HEAD a/b pull',
    'GET a/b pull',
    'PUT a/b pull,push',
    'DELETE a/b delete',
    'DELETE a/b delete',
    'GET a/b pull',
    'GET a/b pull',
    'HEAD a/b pull',
    'GET a/b pull',
    'POST a/b pull,push',
    'POST a/b pull,push a/c',
    'POST a/b pull,push',
  ]);
});
