import { serve } from '@hono/node-server';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import type { ServedChannel } from '#ferry/serve/channels/served-channel.js';
import { createPages } from '#ferry/serve/pages/pages.js';
import { openBrowser, type BrowserLook } from '../support/browser.js';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { auditPage } from '../support/page-audit.js';
import { namedRecord, servedChannel, servedFolder } from '../support/served-channel.js';

/** Where what was seen can be looked at. */
const SCREENSHOTS = join(tmpdir(), 'ferry-screenshots');

const LOOKS: readonly (BrowserLook & { readonly name: string })[] = [
  { name: 'light-wide', colorScheme: 'light', width: 1280 },
  { name: 'dark-medium', colorScheme: 'dark', width: 968 },
  { name: 'light-narrow', colorScheme: 'light', width: 320 },
  { name: 'dark-zoomed', colorScheme: 'dark', width: 1280, zoom: 2 },
];

/** All kinds of pages, by what their screenshots are called. */
const PAGES: Readonly<Record<string, { readonly path: string; readonly status?: number }>> = {
  home: { path: '/' },
  channel: { path: '/fixtures/' },
  search: { path: '/fixtures/?q=lib' },
  package: { path: '/fixtures/-/ferry-lib' },
  archive: { path: '/fixtures/-/ferry-tool/noarch/ferry-tool-2.1.0-py_0.conda' },
  large: { path: '/large/?page=2' },
  builds: { path: '/large/-/python?page=2' },
  hostile: { path: `/large/-/${encodeURIComponent('<b>bold</b>\u202ename')}` },
  waiting: { path: '/waiting/' },
  broken: { path: '/broken/', status: 503 },
  absent: { path: '/fixtures/-/nothing', status: 404 },
  ...(HAS_REAL_CHANNELS ? { real: { path: '/real/' } } : {}),
};

let origin = '';
let close: () => Promise<unknown>;

beforeAll(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  console.log(`screenshots: ${SCREENSHOTS}`);
  const fixtures = await servedFolder('fixtures', FIXTURE_CHANNEL);
  const real = HAS_REAL_CHANNELS ? [(await servedFolder('real', realChannel('conda-format'))).channel] : [];
  const channels = [fixtures.channel, ...real, largeChannel(), waitingChannel(), brokenChannel()];
  const pages = createPages({
    channels: () => channels,
    readInfo: fixtures.readInfo,
    describeArtifact: (_channel, subdir, filename) =>
      `oci://registry.example.org/org/channel/${subdir}/${filename.split('-').slice(0, -2).join('-')}:2.1.0-py_0`,
    baseUrl: (request) => new URL(request.url).origin,
    toolVersion: '1.2.3',
  });
  const server = serve({ fetch: pages.fetch, hostname: '127.0.0.1', port: 0 });
  if (!server.listening) await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  close = async () => {
    server.close();
    await once(server, 'close');
  };
});
afterAll(async () => close());

describe.each(LOOKS)('pages in Chromium, $name', ({ name: look, ...options }) => {
  test('can be read and used by everybody, and load nothing but themselves', async () => {
    await using browser = await openBrowser(options);
    for (const [name, { path, status = 200 }] of Object.entries(PAGES)) {
      const page = await browser.context.newPage();
      const seen = watch(page);
      const response = await page.goto(`${origin}${path}`);
      expect([name, response?.status()]).toEqual([name, status]);
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-${look}.png`), fullPage: true });
      expect([name, await page.evaluate(auditPage)]).toEqual([name, []]);
      // What is closed is read, too.
      await page.locator('details').evaluateAll((all) => {
        for (const details of all) (details as unknown as { open: boolean }).open = true;
      });
      expect([name, await page.evaluate(auditPage)]).toEqual([name, []]);
      if (name === 'archive' || name === 'package')
        await page.screenshot({ path: join(SCREENSHOTS, `${name}-open-${look}.png`), fullPage: true });
      expect(seen.requests).toEqual([`${origin}${path}`]);
      // A status of 404 or 503 is told on the console by the browser itself.
      expect([name, seen.errors]).toEqual([
        name,
        status === 200 ? [] : [expect.stringContaining(String(status))],
      ]);
      await page.close();
    }
  });
});

describe('pages with the keyboard', () => {
  const options = { colorScheme: 'light', width: 1280 } as const;

  test('begin with a link to the content, and show where the focus is', async () => {
    await using browser = await openBrowser(options);
    const page = await browser.context.newPage();
    await page.goto(`${origin}/fixtures/`);
    await page.keyboard.press('Tab');
    expect(await focused(page)).toMatchObject({ text: 'Skip to the content', isShown: true });
    const order: string[] = [];
    for (let step = 0; step < 5; step += 1) {
      await page.keyboard.press('Tab');
      const { text, isShown, outline } = await focused(page);
      expect([text, isShown]).toEqual([text, true]);
      expect(outline).toBeGreaterThanOrEqual(2);
      order.push(text);
    }
    expect(order).toEqual(['Channels', 'Search by package name', 'Search', '_ferry_mutex', 'ferry-data']);
    await page.goto(`${origin}/fixtures/`);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    expect(await focused(page)).toMatchObject({ text: 'Search by package name' });
  });

  test('lead from a search to the files of an archive', async () => {
    await using browser = await openBrowser(options);
    const page = await browser.context.newPage();
    const seen = watch(page);
    await page.goto(`${origin}/fixtures/`);
    await page.getByLabel('Search by package name').focus();
    await page.keyboard.type('tool');
    await page.keyboard.press('Enter');
    await page.waitForURL(`${origin}/fixtures/?q=tool`);
    await page.getByRole('link', { name: 'ferry-tool' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(`${origin}/fixtures/-/ferry-tool`);
    await page.locator('summary').first().focus();
    await page.keyboard.press('Enter');
    await page
      .getByRole('link', { name: /^Files and metadata/ })
      .first()
      .focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(/-\/ferry-tool\/noarch\/ferry-tool-2\.1\.0-py_0\.(?:conda|tar\.bz2)$/);
    expect(await page.getByRole('table').getByRole('row').count()).toBeGreaterThan(1);
    expect(seen.errors).toEqual([]);
  });
});

test('a page that waits comes again by itself', async () => {
  await using browser = await openBrowser({ colorScheme: 'light', width: 1280 });
  const page = await browser.context.newPage();
  const seen = watch(page);
  await page.goto(`${origin}/waiting/`);
  await page.waitForRequest(`${origin}/waiting/`, { timeout: 20_000 });
  expect(seen.requests).toHaveLength(2);
});

/** Takes down what a page asks for, and what goes wrong. */
function watch(page: Page): { readonly requests: string[]; readonly errors: string[] } {
  const [requests, errors]: string[][] = [[], []];
  page.on('request', (request) => requests?.push(request.url()));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) errors?.push(message.text());
  });
  page.on('pageerror', (error) => errors?.push(error.message));
  return { requests: requests ?? [], errors: errors ?? [] };
}

/** What has the focus: its text or label, and how it shows that. */
async function focused(page: Page) {
  const element = page.locator(':focus');
  const text = await element.evaluate((node) => {
    const { labels, textContent } = node as unknown as {
      labels?: { [index: number]: { textContent: string } };
      textContent: string;
    };
    return labels?.[0]?.textContent ?? textContent;
  });
  const outline = await element.evaluate((node) =>
    Number.parseFloat(
      (
        globalThis as unknown as { getComputedStyle: (of: unknown) => { outlineWidth: string } }
      ).getComputedStyle(node).outlineWidth,
    ),
  );
  const box = await element.boundingBox();
  return { text, outline, isShown: box !== null && box.x >= 0 && box.y >= 0 };
}

function largeChannel(): ServedChannel {
  const names = Array.from({ length: 900 }, (_, i) =>
    namedRecord(`${'abcdefgxyz'[i % 10]}-package-${i}-1.0-0.conda`),
  );
  const builds = Array.from({ length: 200 }, (_, i) =>
    namedRecord(
      `python-3.${i % 14}.${Math.floor(i / 28)}-h${i}_${i % 7}_cpython.conda`,
      {
        build_number: i % 7,
        depends: [
          'a-package-0 >=1',
          `a-very-long-dependency-${'name'.repeat(12)} >=1.0,<2.0a0`,
          '__glibc >=2.17',
        ],
        license: 'Python-2.0',
        sha256: 'ab'.repeat(32),
        md5: 'cd'.repeat(16),
        size: 30_000_000 + i,
        timestamp: 1_700_000_000_000 + i * 86_400_000,
      },
      i % 2 === 0 ? 'linux-64' : 'osx-arm64',
    ),
  );
  const name = '<b>bold</b>\u202ename';
  const hostile = namedRecord(`${name}-1-0.conda`, {
    depends: ['</code><script>alert(1)</script>', '" onmouseover="alert(1)'],
    license: '\u202eTIM',
    track_features: '<img src=x onerror=alert(1)>',
  });
  const since = new Date('2026-11-20T00:00:00Z');
  return servedChannel({
    name: 'large',
    location: `oci://registry.example.org/a-long-organization-name/${'deep/'.repeat(8)}channel`,
    subdirs: {
      noarch: { records: [...names, hostile], staleness: { since, code: 'NETWORK' } },
      'linux-64': { records: builds.filter(({ document }) => document['subdir'] === 'linux-64') },
      'osx-arm64': { records: builds.filter(({ document }) => document['subdir'] === 'osx-arm64') },
      'win-64': { error: new FerryError('REPODATA_INVALID', 'no JSON') },
      'linux-aarch64': { shards: 'never-ready' },
    },
  });
}

function waitingChannel(): ServedChannel {
  return servedChannel({ name: 'waiting', subdirs: { noarch: { shards: 'never-ready' } } });
}

function brokenChannel(): ServedChannel {
  const error = new FerryError('UNAUTHORIZED', '`registry.example.org` asks for credentials', {
    hint: 'log in with `conda-ferry login registry.example.org`',
  });
  return servedChannel({ name: 'broken', subdirs: {}, error });
}
