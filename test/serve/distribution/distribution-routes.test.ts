import { describe, expect, onTestFinished, test } from 'vitest';
import { FerryError, ResponseError } from '#ferry/errors.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { Repository } from '#ferry/oci/storage.js';
import {
  createDistributionRoutes,
  type DistributionOptions,
} from '#ferry/serve/distribution/distribution-routes.js';
import { contentBodyOf } from '#ferry/serve/reply/content-body.js';
import { memoryContent } from '#ferry/serve/cache/memory-contents.js';
import {
  artifactOf,
  contentOf,
  indexOf,
  pushArtifact,
  pushContent,
  type Artifact,
  type Content,
} from '../../contracts/artifacts.js';
import { ask } from '../../support/ask.js';
import { passingContent, serveDistribution, serveLayouts } from '../../support/distribution-server.js';
import { statedRepository } from '../../support/stated-repository.js';
import { tempFolder } from '../../support/temp.js';

const FOREVER = 'max-age=31536000, immutable';
const ABSENT = `sha256:${'0'.repeat(64)}`;

/** The routes over a store in memory, without a server. */
function routesOver(
  repository: Repository,
  more: Partial<DistributionOptions> = {},
): (path: string, init?: RequestInit) => Promise<Response> {
  const app = createDistributionRoutes({
    resolveRepository: (name) => (name === repository.name ? { repository } : undefined),
    content: passingContent,
    ...more,
  });
  return async (path, init) => app.fetch(new Request(`http://here${path}`, init));
}

async function stored(): Promise<{ readonly repository: Repository; readonly artifact: Artifact }> {
  const repository = new MemoryRegistry().repository('channel/noarch/thing');
  const artifact = artifactOf('layer');
  await pushArtifact(repository, artifact, ['1.0-0', 'latest']);
  return { repository, artifact };
}

/** A repository whose every answer is a failure. */
function failing(error: Error): Repository {
  const fail = (): Promise<never> => Promise.reject(error);
  const failBytes = async function* (): AsyncGenerator<never> {
    await fail();
  };
  const inner = new MemoryRegistry().repository('channel/noarch/thing');
  return {
    ...statedRepository(inner, { statBlob: fail }),
    fetch: failBytes,
    fetchManifest: fail,
    tags: failBytes,
    referrers: failBytes,
  };
}

async function errorOf(response: Response): Promise<{ readonly code: string; readonly message: string }> {
  const document = (await response.json()) as { errors: { code: string; message: string }[] };
  expect(document.errors).toHaveLength(1);
  return document.errors[0] ?? { code: '', message: '' };
}

test('the base says that the API is there', async () => {
  const get = routesOver((await stored()).repository);
  for (const path of ['/v2', '/v2/']) {
    const response = await get(path, { headers: { authorization: 'Bearer whatever' } });
    expect(response.status).toBe(200);
    expect(response.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
    expect(await response.text()).toBe('{}');
  }
});

test('everybody gets a token that nobody checks', async () => {
  const get = routesOver((await stored()).repository);
  for (const [path, method] of [
    ['/token?scope=repository:a:pull', 'GET'],
    ['/v2/token', 'GET'],
    ['/token', 'POST'],
  ] as const) {
    const response = await get(path, { method });
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const document = (await response.json()) as Record<string, unknown>;
    expect(document).toMatchObject({ token: 'anonymous', access_token: 'anonymous', expires_in: 3600 });
    expect(new Date(document['issued_at'] as string).getTime()).not.toBeNaN();
  }
});

describe('a manifest', () => {
  test('comes by tag for a while and by digest for good, byte for byte', async () => {
    const { repository, artifact } = await stored();
    const get = routesOver(repository);
    const { digest } = artifact.manifest.descriptor;
    for (const [reference, cacheControl] of [
      ['1.0-0', 'max-age=5'],
      [digest, FOREVER],
    ] as const) {
      for (const method of ['GET', 'HEAD']) {
        const response = await get(`/v2/${repository.name}/manifests/${reference}`, { method });
        expect(response.status).toBe(200);
        expect(response.headers.get('content-type')).toBe(IMAGE_MANIFEST);
        expect(response.headers.get('docker-content-digest')).toBe(digest);
        expect(response.headers.get('etag')).toBe(`"${digest}"`);
        expect(response.headers.get('cache-control')).toBe(cacheControl);
        expect(response.headers.get('content-length')).toBe(String(artifact.manifest.bytes.byteLength));
        const body = Buffer.from(await response.arrayBuffer());
        expect(body.equals(method === 'GET' ? artifact.manifest.bytes : Buffer.alloc(0))).toBe(true);
      }
    }
  });

  test('that a client has is not sent again', async () => {
    const { repository, artifact } = await stored();
    const headers = { 'if-none-match': `"${artifact.manifest.descriptor.digest}"` };
    const response = await routesOver(repository)(`/v2/${repository.name}/manifests/latest`, { headers });
    expect(response.status).toBe(304);
  });

  test('that is an index comes as one, whatever the client says it accepts', async () => {
    const { repository, artifact } = await stored();
    await pushContent(repository, indexOf(artifact.manifest), ['both']);
    const headers = { accept: IMAGE_MANIFEST };
    const response = await routesOver(repository)(`/v2/${repository.name}/manifests/both`, { headers });
    expect(response.headers.get('content-type')).toBe(IMAGE_INDEX);
  });

  test('is asked for once by many, by digest for good, and a tag again when it is old', async () => {
    const { repository, artifact } = await stored();
    const asked: string[] = [];
    let now = 0;
    const counting: Repository = {
      ...statedRepository(repository, {}),
      fetchManifest: (reference, options) => {
        asked.push(reference);
        return repository.fetchManifest(reference, options);
      },
    };
    const get = routesOver(counting, { now: () => now });
    const { digest } = artifact.manifest.descriptor;
    const path = `/v2/${repository.name}/manifests`;
    await Promise.all(Array.from({ length: 50 }, () => get(`${path}/latest`)));
    await get(`${path}/${digest}`);
    expect(asked).toEqual(['latest']);
    await get(`${path}/absent`);
    await get(`${path}/absent`);
    await get(`${path}/${ABSENT}`);
    await get(`${path}/${ABSENT}`);
    expect(asked).toEqual(['latest', 'absent', ABSENT]);
    now = 5_000;
    const other = artifactOf('other');
    await pushArtifact(repository, other, ['latest']);
    const moved = await get(`${path}/latest`);
    expect(moved.headers.get('docker-content-digest')).toBe(other.manifest.descriptor.digest);
    await get(`${path}/${ABSENT}`);
    await get(`${path}/${digest}`);
    expect(asked.slice(3)).toEqual(['latest', ABSENT]);
  });

  test('of a type that is none goes out as bytes', async () => {
    const { repository, artifact } = await stored();
    const odd: Repository = {
      ...statedRepository(repository, {}),
      fetchManifest: () => {
        const { descriptor, bytes } = artifact.manifest;
        return Promise.resolve({ descriptor: { ...descriptor, mediaType: 'text/html\r\nx: y' }, bytes });
      },
    };
    const response = await routesOver(odd)(`/v2/${repository.name}/manifests/latest`);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });
});

describe('a blob', () => {
  test('comes whole and in parts', async () => {
    const { repository, artifact } = await stored();
    const [, layer] = artifact.blobs;
    const { digest, size } = layer?.descriptor ?? { digest: ABSENT, size: 0 };
    const get = routesOver(statedRepository(repository, { statBlob: () => Promise.resolve({ size }) }));
    const path = `/v2/${repository.name}/blobs/${digest}`;
    const whole = await get(path);
    expect(whole.status).toBe(200);
    expect(whole.headers.get('cache-control')).toBe(FOREVER);
    expect(whole.headers.get('docker-content-digest')).toBe(digest);
    expect(await whole.text()).toBe('layer');
    const part = await get(path, { headers: { range: 'bytes=1-2' } });
    expect(part.status).toBe(206);
    expect(part.headers.get('content-range')).toBe('bytes 1-2/5');
    expect(await part.text()).toBe('ay');
    expect((await get(path, { headers: { range: 'bytes=5-' } })).status).toBe(416);
    expect((await get(path, { headers: { 'if-none-match': `"${digest}"` } })).status).toBe(304);
  });

  test('is only looked at for HEAD, and brought where the store cannot look', async () => {
    const { repository, artifact } = await stored();
    const [, layer] = artifact.blobs;
    const { digest, size } = layer?.descriptor ?? { digest: ABSENT, size: 0 };
    let brought = 0;
    const content: DistributionOptions['content'] = (origin, options) => {
      brought += 1;
      return passingContent(origin, options);
    };
    const looking = statedRepository(repository, { statBlob: () => Promise.resolve({ size }) });
    const path = `/v2/${repository.name}/blobs/${digest}`;
    const looked = await routesOver(looking, { content })(path, { method: 'HEAD' });
    expect(looked.headers.get('content-length')).toBe('5');
    expect(brought).toBe(0);
    // Without the manifest nobody knows its size, and this store cannot tell.
    const get = routesOver(statedRepository(repository, {}), { content });
    expect((await get(path, { method: 'HEAD' })).status).toBe(404);
    await get(`/v2/${repository.name}/manifests/latest`);
    expect((await get(path, { method: 'HEAD' })).headers.get('content-length')).toBe('5');
    expect(await (await get(path)).text()).toBe('layer');
  });

  test('needs no question for its size once its manifest was read', async () => {
    const { repository, artifact } = await stored();
    let asked = 0;
    const counting = statedRepository(repository, {
      statBlob: (digest) => {
        asked += 1;
        const blob = artifact.blobs.find(({ descriptor }) => descriptor.digest === digest);
        return Promise.resolve(blob?.descriptor);
      },
    });
    const get = routesOver(counting);
    const path = `/v2/${repository.name}/blobs/${artifact.blobs[1]?.descriptor.digest ?? ''}`;
    await get(path);
    expect(asked).toBe(1);
    await get(`/v2/${repository.name}/manifests/latest`);
    expect((await get(path)).status).toBe(200);
    expect(asked).toBe(1);
  });
});

test('a blob on disk comes out of its file, which a server may send past the stream', async () => {
  const { repository, artifact } = await stored();
  const layer = artifact.blobs[1] ?? contentOf('');
  let isClosed = false;
  const openBlob: Repository['openBlob'] = async () => {
    const opened = await memoryContent(layer.descriptor.digest, layer.bytes).open();
    return {
      size: opened.size,
      read: (...args) => opened.read(...args),
      [Symbol.asyncDispose]: () => {
        isClosed = true;
        return Promise.resolve();
      },
    };
  };
  const get = routesOver(statedRepository(repository, { openBlob }));
  const response = await get(`/v2/${repository.name}/blobs/${layer.descriptor.digest}`);
  expect(contentBodyOf(response)).toMatchObject({ start: 0, end: 5 });
  isClosed = false;
  expect(await response.text()).toBe('layer');
  expect(isClosed).toBe(true);
});

describe('lists', () => {
  test('of tags are in order of bytes, with pages', async () => {
    const { repository, artifact } = await stored();
    for (const tag of ['b', 'B', '_x']) await repository.tag(artifact.manifest.descriptor, tag);
    const get = routesOver(repository);
    const path = `/v2/${repository.name}/tags/list`;
    const all = await get(path);
    expect(all.headers.get('content-type')).toBe('application/json');
    expect(await all.json()).toEqual({ name: repository.name, tags: ['1.0-0', 'B', '_x', 'b', 'latest'] });
    const first = await get(`${path}?n=2`);
    expect(first.headers.get('link')).toBe(`<${path}?n=2&last=B>; rel="next"`);
    const rest = await get(`${path}?last=B`);
    expect(await rest.json()).toEqual({ name: repository.name, tags: ['_x', 'b', 'latest'] });
    expect((await get(`${path}?n=x`)).status).toBe(400);
    const head = await get(path, { method: 'HEAD' });
    expect(head.headers.get('content-length')).toBe(all.headers.get('content-length'));
  });

  test('of repositories are there where the stores can tell', async () => {
    const { repository } = await stored();
    const get = routesOver(repository, { catalog: () => Promise.resolve(['b', 'a', 'c']) });
    expect(await (await get('/v2/_catalog')).json()).toEqual({ repositories: ['a', 'b', 'c'] });
    const page = await get('/v2/_catalog?n=1&last=a');
    expect(page.headers.get('link')).toBe('</v2/_catalog?n=1&last=b>; rel="next"');
    expect(await page.json()).toEqual({ repositories: ['b'] });
    for (const more of [{}, { catalog: () => Promise.resolve(undefined) }]) {
      const response = await routesOver(repository, more)('/v2/_catalog');
      expect(response.status).toBe(404);
      expect((await errorOf(response)).code).toBe('UNSUPPORTED');
    }
  });

  test('of referrers are an index, also of none, and of one type if asked', async () => {
    const { repository, artifact } = await stored();
    const subject = artifact.manifest.descriptor;
    const referrers = await Promise.all(['a', 'b'].map((type) => attach(repository, artifact, type)));
    const get = routesOver(repository);
    const path = `/v2/${repository.name}/referrers/${subject.digest}`;
    const all = await get(path);
    expect(all.headers.get('content-type')).toBe(IMAGE_INDEX);
    expect(all.headers.has('oci-filters-applied')).toBe(false);
    const document = (await all.json()) as { manifests: { digest: string }[] };
    expect(document).toMatchObject({ schemaVersion: 2, mediaType: IMAGE_INDEX });
    expect(document.manifests.map(({ digest }) => digest)).toEqual(
      referrers.map(({ descriptor }) => descriptor.digest).sort(),
    );
    const some = await get(`${path}?artifactType=application/vnd.example.b`);
    expect(some.headers.get('oci-filters-applied')).toBe('artifactType');
    expect(((await some.json()) as typeof document).manifests).toEqual([
      expect.objectContaining({ artifactType: 'application/vnd.example.b' }),
    ]);
    const none = await get(`/v2/${repository.name}/referrers/${ABSENT}`);
    expect(none.status).toBe(200);
    expect(await none.json()).toEqual({ schemaVersion: 2, mediaType: IMAGE_INDEX, manifests: [] });
  });
});

async function attach(repository: Repository, { manifest, blobs }: Artifact, type: string): Promise<Content> {
  const referrer = contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_MANIFEST,
      artifactType: `application/vnd.example.${type}`,
      config: blobs[0]?.descriptor,
      layers: [],
      subject: manifest.descriptor,
    }),
    IMAGE_MANIFEST,
  );
  await pushContent(repository, referrer);
  return referrer;
}

test.each([
  [`manifests/absent`, 'MANIFEST_UNKNOWN'],
  [`manifests/${ABSENT}`, 'MANIFEST_UNKNOWN'],
  [`blobs/${ABSENT}`, 'BLOB_UNKNOWN'],
  ['blobs/uploads/', 'BLOB_UPLOAD_UNKNOWN'],
])('%s that is not there is 404 %s, for HEAD too', async (path, code) => {
  const { repository } = await stored();
  const get = routesOver(statedRepository(repository, { statBlob: () => Promise.resolve(undefined) }));
  const response = await get(`/v2/${repository.name}/${path}`);
  expect(response.status).toBe(404);
  expect(response.headers.get('cache-control')).toBe('no-store');
  expect((await errorOf(response)).code).toBe(code);
  const head = await get(`/v2/${repository.name}/${path}`, { method: 'HEAD' });
  expect(head.status).toBe(404);
  expect(await head.text()).toBe('');
});

test('a repository that is not offered, or has no tags, is unknown', async () => {
  const { repository } = await stored();
  const get = routesOver(repository);
  for (const path of ['tags/list', 'manifests/latest', `blobs/${ABSENT}`, `referrers/${ABSENT}`]) {
    const response = await get(`/v2/other/${path}`);
    expect(response.status).toBe(404);
    expect((await errorOf(response)).code).toBe('NAME_UNKNOWN');
  }
  const empty = new MemoryRegistry().repository('empty');
  expect((await errorOf(await routesOver(empty)('/v2/empty/tags/list'))).code).toBe('NAME_UNKNOWN');
});

describe('a store that fails', () => {
  const paths = [
    'manifests/latest',
    `manifests/${ABSENT}`,
    `blobs/${ABSENT}`,
    'tags/list',
    `referrers/${ABSENT}`,
  ];
  const limit = new ResponseError('RATE_LIMITED', 'answered 429', {
    method: 'GET',
    url: 'https://registry.example/',
    status: 429,
    retryAfterMs: 7000,
  });

  test.each(paths)('is no absence, nor a limit of ours: %s', async (path) => {
    for (const [error, status, code] of [
      [limit, 503, 'UNAVAILABLE'],
      [new FerryError('NETWORK', 'no answer'), 503, 'UNAVAILABLE'],
      [new FerryError('DENIED', 'refused'), 502, 'UNKNOWN'],
      [new FerryError('DIGEST_MISMATCH', 'wrong bytes'), 502, 'UNKNOWN'],
      [new Error('at /srv/secret'), 500, 'UNKNOWN'],
    ] as const) {
      const repository = failing(error);
      for (const method of ['GET', 'HEAD']) {
        const response = await routesOver(repository)(`/v2/${repository.name}/${path}`, { method });
        expect(response.status).toBe(status);
        expect(response.headers.has('retry-after')).toBe(status !== 500);
        if (error === limit) expect(response.headers.get('retry-after')).toBe('7');
        if (method === 'HEAD') continue;
        const said = await errorOf(response);
        expect(said.code).toBe(code);
        expect(said.message).not.toContain('secret');
      }
    }
  });

  test('by refusing what need not be there says that it is absent', async () => {
    const repository = failing(new FerryError('DENIED', 'refused'));
    const resolveRepository = (): { repository: Repository; isOptional: boolean } => ({
      repository,
      isOptional: true,
    });
    for (const path of paths) {
      const response = await routesOver(repository, { resolveRepository })(`/v2/${repository.name}/${path}`);
      expect(response.status).toBe(404);
      expect((await errorOf(response)).code).toBe('NAME_UNKNOWN');
    }
    const limited = failing(limit);
    const get = routesOver(limited, {
      resolveRepository: () => ({ repository: limited, isOptional: true }),
    });
    expect((await get(`/v2/${limited.name}/tags/list`)).status).toBe(503);
  });

  test('is a refusal where nobody can tell in time whether it means absence', async () => {
    const repository = failing(new FerryError('DENIED', 'refused'));
    const get = routesOver(repository, {
      resolveRepository: () => ({ repository, isOptional: () => new Promise<never>(() => undefined) }),
      timeLimitMs: 50,
    });
    expect((await get(`/v2/${repository.name}/tags/list`)).status).toBe(502);
  });

  test('by saying nothing is given up', async () => {
    const never = new Promise<never>(() => undefined);
    const repository: Repository = { ...failing(new Error('unused')), fetchManifest: () => never };
    const response = await routesOver(repository, { timeLimitMs: 20 })(
      `/v2/${repository.name}/manifests/latest`,
    );
    expect(response.status).toBe(503);
  });

  test('to list its repositories fails the list', async () => {
    const { repository } = await stored();
    const get = routesOver(repository, { catalog: () => Promise.reject(limit) });
    expect((await get('/v2/_catalog')).status).toBe(503);
  });
});

test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('%s is not for a gateway', async (method) => {
  const { repository } = await stored();
  const get = routesOver(repository);
  for (const path of [
    '/v2/',
    `/v2/${repository.name}/manifests/latest`,
    `/v2/${repository.name}/blobs/uploads/`,
    `/v2/${repository.name}/blobs/uploads/?mount=${ABSENT}&from=a`,
    `/v2/${repository.name}/blobs/${ABSENT}`,
  ]) {
    const response = await get(path, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD');
    expect((await errorOf(response)).code).toBe('UNSUPPORTED');
  }
});

describe('over image layouts and a socket', () => {
  test('answers come as they are made, with a length for each', async () => {
    const root = await tempFolder();
    const artifact = artifactOf('layer');
    await pushArtifact(openLayoutRegistry(root).repository('a/b'), artifact, ['1.0']);
    const server = await serveLayouts(root);
    onTestFinished(async () => server[Symbol.asyncDispose]());
    const layer = artifact.blobs[1]?.descriptor.digest ?? '';
    for (const [path, length] of [
      ['/v2/', '2'],
      ['/v2/a/b/manifests/1.0', String(artifact.manifest.bytes.byteLength)],
      [`/v2/a/b/blobs/${layer}`, '5'],
      ['/v2/a/b/tags/list', '29'],
      ['/v2/_catalog', '24'],
    ] as const) {
      const url = `http://${server.host}${path}`;
      const got = await ask(url);
      const headed = await ask(url, { method: 'HEAD' });
      for (const { status, headers } of [got, headed]) {
        expect(status, path).toBe(200);
        expect(headers['content-length'], path).toBe(length);
      }
      expect(got.body.byteLength).toBe(Number(length));
    }
    const part = await ask(`http://${server.host}/v2/a/b/blobs/${layer}`, { headers: { range: 'bytes=-2' } });
    expect([part.status, part.body.toString()]).toEqual([206, 'er']);
    const absent = await ask(`http://${server.host}/v2/a/b/blobs/${ABSENT}`, { method: 'HEAD' });
    expect(absent.status).toBe(404);
  });

  test('hostile requests are refused, and the server goes on', async () => {
    const { repository } = await stored();
    const server = await serveDistribution({
      resolveRepository: (name) => (name === repository.name ? { repository } : undefined),
      content: passingContent,
    });
    onTestFinished(async () => server[Symbol.asyncDispose]());
    for (const path of [
      '/v2/..%2f..%2fetc/manifests/passwd',
      '/v2/%00/manifests/x',
      '/v2/a/blobs/sha256:%2e%2e',
      `/v2/${'a/'.repeat(4000)}tags/list`,
      '/v2/channel/noarch/thing/manifests/%0d%0aset-cookie:x',
      '/v2/channel/noarch/thing/tags/list?n=-1&last=%ff%00',
      '/v2/channel/noarch/thing/tags/list?n=99999999999999999999',
      '/v2/%e0%80%af/manifests/x',
    ]) {
      const { status, headers } = await ask(`http://${server.host}${path}`);
      expect(status, path).toBeGreaterThanOrEqual(400);
      expect(status, path).toBeLessThan(500);
      expect(headers['set-cookie']).toBeUndefined();
    }
    expect((await ask(`http://${server.host}/v2/`)).status).toBe(200);
  });
});
