import { describe, expect, test } from 'vitest';
import type { HostProfile } from '#ferry/registry/host-profile.js';
import { PageTrail } from '#ferry/registry/page-trail.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import type { HttpResponse } from '#ferry/http/send.js';
import { rejection, tagsOf } from '../contracts/artifacts.js';
import { openTestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const LIST = 'GET /v2/a/b/tags/list';
const page = (tags: unknown, link?: string | string[]): Answer => ({
  headers: { 'content-type': 'application/json', ...(link === undefined ? {} : { link }) },
  body: JSON.stringify({ name: 'a/b', tags }),
});
const next = (target: string): string => `<${target}>; rel="next"`;

async function sceneOf(
  rows: readonly Row[],
  profile: Partial<HostProfile> = {},
): Promise<{ readonly server: ScriptedServer; readonly repository: RepositoryClient }> {
  const server = await startScriptedServer(...rows);
  const { send } = openTestClient();
  const registry = new RegistryClient({ host: server.host, send, profile });
  return { server, repository: registry.repository('a/b') };
}

async function inOrder(repository: RepositoryClient): Promise<string[]> {
  const tags: string[] = [];
  for await (const tag of repository.tags()) tags.push(tag);
  return tags;
}

describe('dialects', () => {
  test('ghcr/G15: tags come in the order of creation, over all pages, each once', async () => {
    const { repository } = await sceneOf([
      [`${LIST}?n=1000`, page(['9', '1', '5'], next('/v2/a/b/tags/list?n=1000&last=5'))],
      [`${LIST}?n=1000&last=5`, page(['5', '0', '9', '2'])],
    ]);
    expect(await inOrder(repository)).toEqual(['9', '1', '5', '0', '2']);
  });

  test('Quay gives a cursor of its own', async () => {
    const { repository } = await sceneOf(
      [
        [`${LIST}?n=100`, page(['b'], next('/v2/a/b/tags/list?n=50&next_page=gAAA%3D%3D'))],
        [`${LIST}?n=50&next_page=gAAA%3D%3D`, page(['a'], next('/v2/a/b/tags/list?n=50&next_page=gBBB'))],
        [`${LIST}?n=50&next_page=gBBB`, page([])],
      ],
      { tagPageSize: 100 },
    );
    expect(await tagsOf(repository)).toEqual(['a', 'b']);
  });

  test('docker-registry 2.8 knows no pages and sends all', async () => {
    const all = Array.from({ length: 3000 }, (_, i) => `t${i}`);
    const { server, repository } = await sceneOf([[`${LIST}?n=1000`, page(all)]]);
    expect(await inOrder(repository)).toEqual(all);
    expect(server.lines).toHaveLength(1);
  });

  test.each<[string, Answer]>([
    ['UNSUPPORTED (ECR)', { status: 405, body: '{"errors":[{"code":"UNSUPPORTED"}]}' }],
    ['PAGINATION_NUMBER_INVALID', { status: 400, body: '{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}' }],
    ['400', { status: 400 }],
  ])('a page size that is refused with %s is left out, once', async (_, refusal) => {
    const { repository } = await sceneOf([
      [`${LIST}?n=1000`, refusal],
      [LIST, page(['a'], next('/v2/a/b/tags/list?last=a'))],
      [`${LIST}?last=a`, page(['b'])],
    ]);
    expect(await tagsOf(repository)).toEqual(['a', 'b']);
    const { server, repository: stubborn } = await sceneOf([
      [`${LIST}?n=1000`, refusal],
      [LIST, refusal],
    ]);
    expect(await rejection(tagsOf(stubborn))).toMatchObject({ status: refusal.status });
    expect(server.lines).toHaveLength(2);
  });

  test('empty pages in the middle are no end', async () => {
    const { repository } = await sceneOf([
      [`${LIST}?n=1000`, page([], next('?last=a'))],
      [`${LIST}?last=a`, page(null, next('?last=b'))],
      [`${LIST}?last=b`, page(['c'])],
    ]);
    expect(await tagsOf(repository)).toEqual(['c']);
  });

  test('names that cannot be tags are passed over', async () => {
    const { repository } = await sceneOf([
      [
        `${LIST}?n=1000`,
        page(['good', '', '../../x', 'a b', 'a/b', '-x', 'x'.repeat(129), 'sha256:0', '_ok']),
      ],
    ]);
    expect(await tagsOf(repository)).toEqual(['_ok', 'good']);
  });

  test('names that cannot be repositories are passed over in the catalog', async () => {
    const server = await startScriptedServer([
      'GET /v2/_catalog?n=1000',
      { body: '{"repositories":["a","A","../b","c/d"]}' },
    ]);
    const registry = new RegistryClient({ host: server.host, send: openTestClient().send });
    expect(await registry.repositories()).toEqual(['a', 'c/d']);
  });
});

describe('a list is refused', () => {
  test.each([
    ['another repository', '/v2/a/other/tags/list?last=a'],
    ['the catalog', '/v2/_catalog'],
    ['another API', '/admin/delete-everything'],
    ['another repository, by dots', '/v2/a/b/../c/tags/list'],
    ['another repository, by encoded dots', '/v2/a/b/%2e%2e/c/tags/list'],
    ['another repository, by encoded slashes', '/v2/a/b/..%2fc/tags/list'],
    ['another repository, by backslashes', String.raw`\v2\a\c`],
    ['a name that only begins alike', '/v2/a/bc/tags/list'],
  ])('where it goes on in %s (GHSA-h7vf-4x9w-h99v)', async (_, target) => {
    const { server, repository } = await sceneOf([[`${LIST}?n=1000`, page(['a'], next(target))]]);
    expect(await rejection(tagsOf(repository))).toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(server.lines).toHaveLength(1);
  });

  test('where a catalog goes on in a repository', async () => {
    const server = await startScriptedServer([
      'GET /v2/_catalog?n=1000',
      { body: '{"repositories":["a"]}', headers: { link: next('/v2/_catalogue?last=a') } },
    ]);
    const registry = new RegistryClient({ host: server.host, send: openTestClient().send });
    expect(await rejection(registry.repositories())).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });

  test('where the cursor comes again under another URL', async () => {
    const { server, repository } = await sceneOf([
      [`${LIST}?n=1000`, page(['a'], next('?next_page=x&r=1'))],
      [`${LIST}?next_page=x&r=1`, page(['b'], next('?next_page=x&r=2'))],
    ]);
    expect(await rejection(tagsOf(repository))).toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(server.lines).toHaveLength(2);
  });

  test('where pages with ever new URLs bring nothing new', async () => {
    const { server, repository } = await sceneOf([
      [`${LIST}?n=1000`, page(['a', 'b'], next('?r=1'))],
      [`${LIST}?r=1`, page(['a', 'b'], next('?r=2'))],
    ]);
    expect(await rejection(tagsOf(repository))).toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(server.lines).toHaveLength(2);
  });
});

describe('PageTrail', () => {
  const first = new URL('https://r.example/v2/a/tags/list');
  const answer = (link?: string): HttpResponse => ({
    status: 200,
    url: first,
    body: (async function* () {})(),
    header: (name) => (name === 'link' ? link : undefined),
    discard: () => Promise.resolve(),
  });
  const take = (trail: PageTrail, entries: string[], link?: string): unknown =>
    trail.take(first, answer(link), entries, (entry) => entry);
  const endless: unknown = expect.objectContaining({ code: 'REGISTRY_REFUSED' });

  test('ends after so many pages', () => {
    const trail = new PageTrail(first, { within: '/v2/a/', maxPages: 3 });
    take(trail, ['1'], next('?p=2'));
    take(trail, ['2'], next('?p=3'));
    expect(() => take(trail, ['3'], next('?p=4'))).toThrow(endless);
  });

  test('ends after so many entries', () => {
    const trail = new PageTrail(first, { within: '/v2/a/', maxEntries: 3 });
    take(trail, ['1', '2', '3'], next('?p=2'));
    expect(() => take(trail, ['4'])).toThrow(endless);
  });

  test('never goes from https to http', () => {
    const trail = new PageTrail(first, { within: '/v2/a/' });
    expect(() => take(trail, ['1'], next('http://r.example/v2/a/tags/list?p=2'))).toThrow(endless);
  });
});
