import { describe, expect, test } from 'vitest';
import type { FaultyLine, LineMode } from '../support/faulty-line.js';
import { faultsOf, probeAll, untilNothing } from '../support/gateway-probe.js';
import { expectRecovery, REPODATA, sceneOf, STORES } from '../support/gateway-scene.js';

const MODES = [
  'down',
  'silent',
  'drip',
  'reset',
  'corrupt',
  'short',
  'long',
  'cut',
  'status-401',
  'status-403',
  'status-429',
  'status-500',
  'status-503',
] as const satisfies readonly (LineMode | 'down')[];
/** At a registry and at a web server; what is much the same at both is done to one of them. */
const CASES = STORES.flatMap((kind) =>
  MODES.filter(
    (mode) => kind === 'registry' || !/^(?:silent|reset|long|status-401|status-500)$/.test(mode),
  ).map((mode) => ({ kind, mode })),
);

async function strike(line: FaultyLine, mode: LineMode | 'down', kind: string): Promise<void> {
  // Nothing tells what a web server's repodata should be, nor what manifest a tag stands for.
  if (mode === 'corrupt' || (kind === 'web' && mode === 'short'))
    line.only = ({ url = '' }) => (kind === 'web' ? !url.includes('repodata') : url.includes('/blobs/'));
  if (mode === 'down') await line.goDown();
  else line.mode = mode;
}

async function heal(line: FaultyLine, mode: LineMode | 'down'): Promise<void> {
  if (mode === 'down') await line.comeBack();
  line.mode = 'good';
}

describe('a gateway before', () => {
  test.each(CASES)('a $kind: $mode gives nothing, and everything afterwards', async ({ kind, mode }) => {
    const scene = await sceneOf(kind);
    const { served, truth, archives, line } = scene;
    await strike(line, mode, kind);
    const all = await probeAll(served.url, [...REPODATA, ...archives.slice(0, 6)]);
    expect(faultsOf(all, truth)).toEqual([]);
    if (mode === 'status-403' || mode === 'status-401')
      for (const { status } of all) expect(status).toBe(502);
    await heal(line, mode);
    await expectRecovery(scene);
  });

  test.each(CASES)(
    'a $kind: $mode after the repodata gives the repodata it had, marked',
    async ({ kind, mode }) => {
      const scene = await sceneOf(kind);
      const { served, truth, archives, line } = scene;
      const first = archives.slice(0, 2);
      expect(faultsOf(await probeAll(served.url, [...REPODATA, ...first]), truth, [])).toEqual([]);
      await strike(line, mode, kind);
      served.later(120_000);
      const repodata = await probeAll(served.url, REPODATA);
      expect(faultsOf(repodata, truth, [])).toEqual([]);
      // An answer without a body, as that there is nothing new, comes through.
      const isCut = line.only({ url: 'repodata' }) && !(kind === 'web' && /^(?:drip|cut)$/.test(mode));
      for (const { headers } of isCut ? repodata : []) {
        expect(headers['cache-status']).toMatch(/^conda-ferry; hit; ttl=-\d+; detail=[A-Z_]+$/);
        expect(headers['warning']).toMatch(/^111 /);
        expect(Number(headers['age'])).toBeGreaterThanOrEqual(120);
        expect(headers['cache-control']).toBe('no-cache');
      }
      // What is in the cache is given as ever, the rest is not told to be absent.
      expect(faultsOf(await probeAll(served.url, first), truth, [])).toEqual([]);
      expect(faultsOf(await probeAll(served.url, archives), truth)).toEqual([]);
      await heal(line, mode);
      served.later(120_000);
      await expectRecovery(scene);
      await untilNothing(async () => {
        const answers = await probeAll(served.url, REPODATA);
        return answers.flatMap(({ headers }) => headers['cache-status'] ?? []);
      });
    },
  );
});

test('what is listed and 404 at the store is 502, whatever else is there', async () => {
  const { line, served, truth, archives } = await sceneOf('registry');
  expect(faultsOf(await probeAll(served.url, REPODATA), truth, [])).toEqual([]);
  line.mode = 'status-404';
  for (const { status } of await probeAll(served.url, archives)) expect(status).toBe(502);
});

test('optional files that a registry does not have stay absent while it is down for the rest', async () => {
  const { line, served } = await sceneOf('registry');
  await probeAll(served.url, REPODATA);
  line.mode = 'status-403';
  line.only = ({ url = '' }) => url.includes('current_repodata') || url.includes('patch_instructions');
  const all = await probeAll(served.url, [
    '/ch/noarch/current_repodata.json',
    '/ch/noarch/patch_instructions.json',
  ]);
  for (const { status } of all) expect(status).toBe(404);
});

test('a portal that answers everything with a page is no channel', async () => {
  const { line, served, truth, archives } = await sceneOf('web');
  line.mode = 'portal';
  expect(faultsOf(await probeAll(served.url, [...REPODATA, ...archives.slice(0, 3)]), truth)).toEqual([]);
  line.mode = 'good';
  await untilNothing(async () => faultsOf(await probeAll(served.url, REPODATA), truth, []));
});
