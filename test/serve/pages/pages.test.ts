import { hash } from 'node:crypto';
import fc from 'fast-check';
import { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { createPages } from '#ferry/serve/pages/pages.js';
import type { ShownInfo } from '#ferry/serve/pages/read-info.js';
import { hostileText } from '../../conformance/reports/hostile.js';
import { tagsOf, textOf, type Token } from '../../conformance/reports/markup.js';
import { namedRecord, servedChannel } from '../../support/served-channel.js';
import { ask, BASE_URL, render } from './render.js';

const SHA256 = 'ab'.repeat(32);
const zlib = (version: string, fields: Readonly<Record<string, unknown>> = {}, build = 'h1_0') =>
  namedRecord(
    `zlib-${version}-${build}.conda`,
    { build_number: 0, depends: ['__glibc >=2.17', 'libgcc >=13'], sha256: SHA256, ...fields },
    'linux-64',
  );
const numpy = namedRecord(
  'numpy-2.1.0-py312_0.conda',
  {
    build_number: 3,
    depends: ['python >=3.12,<3.13.0a0', 'python_abi 3.12.* *_cp312', 'zlib >=1.3,<2'],
    constrains: ['numpy-base <0a0'],
    license: 'BSD-3-Clause',
    md5: 'cd'.repeat(16),
    sha256: SHA256,
    size: 7_654_321,
    timestamp: 1_760_000_000_000,
  },
  'linux-64',
);
const tools = servedChannel({
  subdirs: {
    'linux-64': {
      records: [zlib('1.9'), zlib('1.10'), zlib('1.10', { build_number: 1 }, 'h2_1'), numpy],
      removed: ['zlib-1.0-0.conda'],
    },
    noarch: { records: [namedRecord('tzdata-2025b-0.conda'), namedRecord('zlib-1.9-noarch_0.tar.bz2')] },
  },
});
const dev = servedChannel({ label: 'dev', subdirs: { noarch: { records: [namedRecord('dev-1-0.conda')] } } });
const INFO: ShownInfo = new Map(
  Object.entries({
    'index.json': '{"name":"numpy"}',
    'about.json': JSON.stringify({
      summary: 'Arrays',
      home: 'https://numpy.org/a?b&c',
      doc_url: ['javascript:alert(1)', 'https://me:secret@example.org/'],
      extra: { 'recipe-maintainers': ['somebody'] },
    }),
    'run_exports.json': '["zlib >=1.3"]',
    'paths.json': JSON.stringify({
      paths: [{ _path: 'lib/a.py', path_type: 'hardlink', sha256: SHA256, size_in_bytes: 1234 }],
    }),
    'recipe/meta.yaml': 'package:\n\tname: numpy\n',
  }).map(([path, text]) => [path, Buffer.from(text)]),
);
const withInfo = { readInfo: () => Promise.resolve(INFO) };
const DENIED = new FerryError('DENIED', 'https://u:p@registry.example.org says no', { hint: 'log in there' });

const hrefsOf = (tokens: readonly Token[]) => tagsOf(tokens, 'a').map((tag) => tag.get('href'));
/** Where a link of a page leads. */
const resolve = (href: string | undefined, path: string) =>
  new URL(href ?? '', `${BASE_URL}${path}`).pathname;

describe('the page of all channels', () => {
  test('says what is served, and how to use it', async () => {
    const { status, tokens } = await render('/', [tools, dev]);
    expect(status).toBe(200);
    const text = textOf(tokens);
    for (const part of [
      'tools, label dev',
      'oci://registry.example.org/org/tools',
      'linux-64, noarch',
      '2026-11-20 08:30 UTC',
      'up to date',
      'conda install -c http://127.0.0.1:8000/tools PACKAGE',
      'channel_alias: http://127.0.0.1:8000\nchannels:\n  - tools\n  - tools/label/dev',
      'channels = [\n  "http://127.0.0.1:8000/tools",\n  "http://127.0.0.1:8000/tools/label/dev",\n]',
      'conda-ferry 1.2.3',
    ])
      expect(text).toContain(part);
    expect(hrefsOf(tokens)).toEqual(['#main', './tools/', './tools/label/dev/']);
  });

  test('stands although channels do not', async () => {
    const broken = servedChannel({ name: 'broken', subdirs: {}, error: DENIED });
    const since = new Date('2026-11-19T00:00:00Z');
    const old = servedChannel({
      name: 'old',
      subdirs: { noarch: { staleness: { since, code: 'NETWORK' } } },
    });
    const { status, tokens } = await render('/', [broken, old]);
    expect(status).toBe(200);
    expect(textOf(tokens)).toContain('cannot be read: DENIED');
    const inside = await render('/old/', [old]);
    expect(textOf(inside.tokens)).toContain('2026-11-19 00:00 UTC, since then NETWORK: noarch.');
    expect(textOf(tokens)).toContain('Out of date, last confirmed 2026-11-19 00:00 UTC, since then NETWORK');
  });

  test('says where nothing is served', async () => {
    expect(textOf((await render('/', [])).tokens)).toContain('No channel is served here.');
  });
});

describe('the page of a channel', () => {
  test('lists its packages and subdirs, with links that work below any prefix', async () => {
    const { tokens } = await render('/tools/', [tools, dev]);
    const text = textOf(tokens);
    expect(text).toContain('3 packages, by name.');
    expect(text).toContain('zlib linux-64, noarch');
    const links = hrefsOf(tokens).map((href) => resolve(href, '/some/prefix/tools/'));
    expect(links).toContain('/some/prefix/');
    expect(links).toContain('/some/prefix/tools/-/zlib');
    const label = await render('/tools/label/dev/', [tools, dev]);
    expect(hrefsOf(label.tokens)).toContain('../../../tools/label/dev/-/dev');
  });

  test('finds packages by a part of their name, those that begin with it first', async () => {
    const names = ['py-b', 'a-py', 'py', 'pyz', 'zz', 'xpy'];
    const records = names.map((name) => namedRecord(`${name}-1-0.conda`));
    const channel = servedChannel({ subdirs: { noarch: { records } } });
    const { tokens } = await render('/tools/?q=%20PY&page=9', [channel]);
    expect(textOf(tokens)).toContain('5 packages with py in the name.');
    const found = hrefsOf(tokens).flatMap((href) => /-\/(.*)$/.exec(href ?? '')?.[1] ?? []);
    expect(found).toEqual(['py', 'py-b', 'pyz', 'a-py', 'xpy']);
    const nothing = await render('/tools/?q=%3Cscript%3E', [channel]);
    expect(textOf(nothing.tokens)).toContain('0 packages with <script> in the name.');
    expect(tagsOf(nothing.tokens, 'input')[0]?.get('value')).toBe('<script>');
  });

  test('cuts long lists into pages, and a search stops somewhere', async () => {
    const records = Array.from({ length: 2000 }, (_, i) => namedRecord(`${'abcd'[i % 4]}${i}-1-0.conda`));
    const channel = servedChannel({ subdirs: { noarch: { records } } });
    const { tokens } = await render('/tools/?page=2', [channel]);
    expect(textOf(tokens)).toContain('Page 2 of 7');
    const hrefs = hrefsOf(tokens);
    expect(hrefs.filter((href) => href?.includes('/-/'))).toHaveLength(300);
    for (const page of ['../tools/?page=1', '../tools/?page=3', '../tools/?page=6'])
      expect(hrefs).toContain(page);
    const found = await render('/tools/?q=1', [channel]);
    expect(textOf(found.tokens)).not.toContain('Only the first');
    const most = Array.from({ length: 1600 }, (_, i) => namedRecord(`a${i}-1-0.conda`));
    const many = await render('/tools/?q=a&page=5', [
      servedChannel({ subdirs: { noarch: { records: most } } }),
    ]);
    expect(textOf(many.tokens)).toContain('Only the first 1\u00a0500 are shown.');
    expect(hrefsOf(many.tokens)).toContain('../tools/?q=a&page=4');
  });

  test('comes again by itself only while there is nothing on it', async () => {
    const waiting = servedChannel({ subdirs: { noarch: { shards: 'never-ready' } } });
    const { status, headers, tokens } = await render('/tools/', [waiting]);
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(tagsOf(tokens, 'meta').map((tag) => [tag.get('http-equiv'), tag.get('content')])).toContainEqual([
      'refresh',
      '5',
    ]);
    const partly = servedChannel({
      subdirs: {
        noarch: { records: [namedRecord('a-1-0.conda')] },
        'linux-64': { shards: 'never-ready' },
        'osx-64': { error: new FerryError('NETWORK', 'no answer') },
      },
    });
    const some = await render('/tools/', [partly]);
    expect(tagsOf(some.tokens, 'meta').some((tag) => tag.get('http-equiv') === 'refresh')).toBe(false);
    expect(textOf(some.tokens)).toContain('Still being read, so not on this page: linux-64.');
    expect(textOf(some.tokens)).toContain('Not to be read, so not on this page: osx-64 (NETWORK).');
    const other = await render('/tools/-/b', [partly]);
    expect(textOf(other.tokens)).toContain('is being read');
  });

  test('says why it cannot be read, without secrets', async () => {
    const channel = servedChannel({ subdirs: {}, error: DENIED });
    for (const path of ['/tools/', '/tools/-/a', '/tools/-/a/noarch/a-1-0.conda']) {
      const { status, headers, html, tokens } = await render(path, [channel]);
      expect(status).toBe(503);
      expect(headers.get('retry-after')).toBe('30');
      expect(textOf(tokens)).toContain('DENIED');
      expect(textOf(tokens)).toContain('Log in there.');
      expect(html).not.toContain('u:p@');
    }
    const unsharded = servedChannel({
      subdirs: { noarch: { shards: new FerryError('REPODATA_INVALID', 'no JSON') } },
    });
    expect((await render('/tools/', [unsharded])).status).toBe(503);
  });
});

describe('the page of a package', () => {
  test('has versions from the newest on, and all that is known of each archive', async () => {
    const { tokens } = await render('/tools/-/zlib', [tools]);
    const text = textOf(tokens);
    const at = ['zlib-1.10-h2_1', 'zlib-1.10-h1_0', 'zlib-1.9-h1_0'].map((name) => text.indexOf(name));
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect(at[0]).toBeGreaterThan(0);
    for (const part of [
      '4 archives in 2 versions',
      'linux-64, noarch',
      'conda install -c http://127.0.0.1:8000/tools zlib',
      'mamba install -c http://127.0.0.1:8000/tools zlib',
      'pixi add zlib',
      'application/vnd.conda.package.v2',
      'application/vnd.conda.package.v1',
      `sha256:${SHA256}`,
      'linux-64/zlib-1.0-0.conda',
    ])
      expect(text).toContain(part);
  });

  test('links dependencies that the channel has, and no others', async () => {
    const describeArtifact = () => 'oci://registry.example.org/org/tools/linux-64/numpy:2.1.0-py312_0';
    const { tokens } = await render('/tools/-/numpy', [tools], { describeArtifact });
    const targets = hrefsOf(tokens).map((href) => resolve(href, '/tools/-/numpy'));
    expect(targets).toContain('/tools/-/zlib');
    expect(targets).not.toContain('/tools/-/python');
    expect(targets).toContain('/tools/linux-64/numpy-2.1.0-py312_0.conda');
    expect(targets).toContain('/tools/-/numpy/linux-64/numpy-2.1.0-py312_0.conda');
    const text = textOf(tokens);
    for (const part of [
      'Python 3.12',
      'numpy-base <0a0',
      '7.7 MB',
      '2025-10-09 08:53 UTC',
      'linux-64/numpy:2.1.0',
    ])
      expect(text).toContain(part);
  });

  test('is 404 for a name that is not listed', async () => {
    const { status, headers, tokens } = await render('/tools/-/nothing', [tools]);
    expect(status).toBe(404);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(textOf(tokens)).toContain('tools lists no package nothing.');
  });

  test('shows no command for a name that a shell would run', async () => {
    const name = '$(reboot)';
    const channel = servedChannel({ subdirs: { noarch: { records: [namedRecord(`${name}-1-0.conda`)] } } });
    const { status, tokens } = await render(`/tools/-/${encodeURIComponent(name)}`, [channel]);
    expect(status).toBe(200);
    expect(textOf(tokens)).not.toContain('install -c');
  });

  test('quotes the epoch of a version', async () => {
    const channel = servedChannel({ subdirs: { noarch: { records: [namedRecord('a-1!2-0.conda')] } } });
    const { tokens } = await render('/tools/-/a/noarch/a-1!2-0.conda', [channel]);
    expect(textOf(tokens)).toContain("conda install -c http://127.0.0.1:8000/tools 'a=1!2=0'");
    expect(textOf(tokens)).toContain("pixi add 'a==1!2=0'");
  });
});

describe('the page of an archive', () => {
  const path = '/tools/-/numpy/linux-64/numpy-2.1.0-py312_0.conda';

  test('has what is inside, too', async () => {
    const { tokens } = await render(path, [tools], withInfo);
    const text = textOf(tokens);
    for (const part of [
      'Arrays',
      'conda install -c http://127.0.0.1:8000/tools numpy=2.1.0=py312_0',
      'somebody',
      'weak',
      '1 file, 1.2 kB unpacked',
      'lib/a.py',
      'package:\n    name: numpy\n',
      '"name": "numpy"',
    ])
      expect(text).toContain(part);
    const links = tagsOf(tokens, 'a');
    const web = links.filter((tag) => tag.get('href')?.startsWith('http'));
    expect(web.map((tag) => [tag.get('href'), tag.get('rel')])).toEqual([
      ['https://numpy.org/a?b&c', 'noopener nofollow noreferrer'],
    ]);
  });

  test('says so where that is not to be had', async () => {
    expect(textOf((await render(path, [tools])).tokens)).toContain('is not available here.');
    const readInfo = () => Promise.reject(new FerryError('ARCHIVE_LIMIT_EXCEEDED', 'too much'));
    const { status, tokens } = await render(path, [tools], { readInfo });
    expect(status).toBe(200);
    expect(textOf(tokens)).toContain('is not available here (ARCHIVE_LIMIT_EXCEEDED).');
  });

  test('is bounded, whatever is inside', async () => {
    const paths = Array.from({ length: 5000 }, (_, i) => ({ _path: `f${i}` }));
    const info: ShownInfo = new Map([
      ['paths.json', Buffer.from(JSON.stringify({ paths }))],
      ['recipe/recipe.yaml', Buffer.from('x\n'.repeat(100_000))],
    ]);
    const { html, tokens } = await render(path, [tools], { readInfo: () => Promise.resolve(info) });
    expect(textOf(tokens)).toContain('5\u00a0000 files');
    expect(textOf(tokens)).toContain('and 4\u00a0000 more');
    expect(html.length).toBeLessThan(400_000);
  });

  test('tells of one that was removed, and is 404 for one that never was', async () => {
    const gone = await render('/tools/-/zlib/linux-64/zlib-1.0-0.conda', [tools]);
    expect(gone.status).toBe(200);
    expect(textOf(gone.tokens)).toContain('No longer listed in linux-64');
    for (const other of [
      '/tools/-/zlib/noarch/zlib-1.0-0.conda',
      '/tools/-/zlib/noarch',
      '/tools/-/zlib/a/b/c',
    ])
      expect((await render(other, [tools])).status).toBe(404);
  });
});

describe('what goes over the wire', () => {
  test('is a strict policy with the digest of the style', async () => {
    const { headers, html, tokens } = await render('/', [tools]);
    const style = /<style>([^]*)<\/style>/.exec(html)?.[1] ?? '';
    expect(headers.get('content-security-policy')).toBe(
      `default-src 'none'; style-src 'sha256-${hash('sha256', style, 'base64')}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
    );
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    for (const name of ['script', 'link', 'img', 'iframe', 'object'])
      expect(tagsOf(tokens, name)).toEqual([]);
    expect(html).not.toMatch(/ style=|url\(|@import/);
  });

  test('is a validator, and nothing but it where the page is known', async () => {
    const first = await ask('/tools/', [tools]);
    const etag = first.headers.get('etag') ?? '';
    expect(first.headers.get('cache-control')).toBe('max-age=15');
    const headers = { accept: 'text/html', 'if-none-match': `"x", W/${etag}` };
    const again = await ask('/tools/', [tools], { headers });
    expect([again.status, await again.text()]).toEqual([304, '']);
    expect(again.headers.get('content-security-policy')).not.toBeNull();
  });

  test('is nothing for clients that ask for a channel, and for what is no page', async () => {
    const root = new Hono();
    const options = { channels: () => [tools], readInfo: () => Promise.resolve(undefined), toolVersion: '1' };
    root.route('/', createPages({ ...options, baseUrl: () => BASE_URL }));
    root.get('*', (context) => context.text('behind'));
    const accept = { accept: 'text/html' };
    for (const [path, headers] of [
      ['/tools/', { accept: '*/*' }],
      ['/tools', {}],
      ['/tools/noarch/repodata.json', accept],
      ['/tools/noarch/', accept],
      ['/other/-/a', accept],
      ['/tools/-%ff/a', accept],
      ['/metrics', accept],
    ] as const) {
      const response = await root.request(`${BASE_URL}${path}`, { headers });
      expect([path, await response.text()]).toEqual([path, 'behind']);
    }
    const redirect = await root.request(`${BASE_URL}/tools`, { headers: accept });
    expect([redirect.status, redirect.headers.get('location')]).toEqual([307, './tools/']);
    const head = await root.request(`${BASE_URL}/tools/-/zlib`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
  });

  test('is a page that says not found, where nothing is behind', async () => {
    const { status, tokens } = await render('/nothing/here', [tools]);
    expect(status).toBe(404);
    expect(hrefsOf(tokens)).toContain('../');
  });
});

test('pages are whole, whatever names hold', async () => {
  const info = fc.record({ summary: hostileText, home: hostileText, path: hostileText, recipe: hostileText });
  const fields = fc.record({
    name: hostileText,
    version: hostileText,
    build: hostileText,
    subdir: hostileText,
    location: hostileText,
    depends: fc.array(hostileText, { maxLength: 3 }),
    constrains: fc.array(hostileText, { maxLength: 3 }),
    license: hostileText,
    sha256: hostileText,
    md5: hostileText,
    timestamp: fc.oneof(fc.double(), hostileText),
    track_features: hostileText,
    flags: fc.array(hostileText, { maxLength: 3 }),
    extra_depends: fc.dictionary(hostileText, fc.array(hostileText, { maxLength: 2 }), { maxKeys: 2 }),
    filename: hostileText,
    removed: hostileText,
    search: hostileText,
    info,
  });
  const known = new Set<string>();
  for (const path of [
    '/',
    '/tools/',
    '/tools/?q=a',
    '/tools/-/zlib',
    '/tools/-/numpy/linux-64/numpy-2.1.0-py312_0.conda',
  ])
    for (const token of (await render(path, [tools], withInfo)).tokens)
      if (token.kind !== 'text') known.add(token.name);
  const isWritable = (text: string) => !/\p{Surrogate}/u.test(text) && !['', '.', '..'].includes(text);
  await fc.assert(
    fc.asyncProperty(fields, async ({ info: said, filename, removed, search, location, ...record }) => {
      const { name, subdir } = record;
      const named = namedRecord(filename, record, subdir);
      const channel = servedChannel({
        location,
        subdirs: { [subdir]: { records: [named], removed: [`${name}-${removed}-0`] } },
      });
      const { path, recipe, ...about } = said;
      const shown: ShownInfo = new Map([
        ['about.json', Buffer.from(JSON.stringify(about))],
        [
          'paths.json',
          Buffer.from(JSON.stringify({ paths: [{ _path: path, path_type: path, sha256: path }] })),
        ],
        ['run_exports.json', Buffer.from(JSON.stringify({ [path]: [recipe] }))],
        ['recipe/meta.yaml', Buffer.from(recipe)],
      ]);
      const parts = [name, subdir, filename];
      const deep = parts.every(isWritable) ? [parts.map(encodeURIComponent).join('/')] : [];
      const shallow = isWritable(name) ? [encodeURIComponent(name)] : [];
      const paths = [
        '/',
        '/tools/',
        `/tools/?${new URLSearchParams({ q: search }).toString()}`,
        ...[...deep, ...shallow].map((rest) => `/tools/-/${rest}`),
      ];
      for (const place of paths) {
        const { status, tokens } = await render(place, [channel], {
          readInfo: () => Promise.resolve(shown),
          describeArtifact: () => filename,
        });
        expect([place, status]).toEqual([place, 200]);
        for (const token of tokens) {
          if (token.kind === 'text') continue;
          expect(known).toContain(token.name);
          if (token.kind !== 'open') continue;
          for (const attribute of token.attributes.keys()) expect(attribute).not.toMatch(/^(?:on|style|src)/);
          const href = token.attributes.get('href');
          if (href !== undefined) expect(href).toMatch(/^(?:https?:\/\/|\.\/|(?:\.\.\/)+|#main$)/);
        }
      }
    }),
    { numRuns: 150 },
  );
});

test('the page of an archive comes without what is inside where that does not come', async () => {
  const path = '/tools/-/numpy/linux-64/numpy-2.1.0-py312_0.conda';
  const never = new Promise<never>(() => undefined);
  const { status, html } = await render(path, [tools], { readInfo: () => never, readLimitMs: 50 });
  expect(status).toBe(200);
  expect(html).toContain('is not available here (<code>TIMEOUT</code>)');
});
