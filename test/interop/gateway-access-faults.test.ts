import { describe, expect, test } from 'vitest';
import { ghcrStore, mirrorFolder } from '../support/stores.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { FAULT_RULES, type FaultKind } from '../support/double/fault-rules.js';
import { useGhcrDouble } from '../support/double/ghcr.js';
import { gatewayHere, registryChannel } from '../support/gateway-here.js';
import { archivesOf, faultsOf, probe, probeAll, truthOfFolder } from '../support/gateway-probe.js';
import { expectRecovery, REPODATA, sceneOf, type Scene } from '../support/gateway-scene.js';

const KINDS: readonly FaultKind[] = [
  '429',
  '429-seconds',
  '429-absurd',
  '429-body',
  '403-secondary',
  '502',
  'reset-in-body',
  'truncated',
  'short-length',
  '401-expired',
  'gzip',
  'duplicate-length',
  'redirect-elsewhere',
];

/** The fixture channel at a GHCR that gives it to everybody who has a token. */
async function ghcrScene(): Promise<
  Omit<Scene, 'line'> & { readonly ghcr: Awaited<ReturnType<typeof useGhcrDouble>> }
> {
  const users = [{ username: 'writer', password: 'a-token', owners: ['org'] }];
  const ghcr = await useGhcrDouble({ users, newPackages: 'public' });
  await mirrorFolder(FIXTURE_CHANNEL, ghcrStore(ghcr, 'ch'));
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const served = await gatewayHere({ ch: registryChannel(ghcr.host, 'org/ch') });
  return { ghcr, truth, served, archives: archivesOf(truth) };
}

describe('a gateway before a GHCR', () => {
  test('gives everything while its tokens are taken back, and 404 for what is optional', async () => {
    const { ghcr, served, truth, archives } = await ghcrScene();
    for (const path of [...REPODATA, ...archives.slice(0, 12)]) {
      ghcr.revokeTokens();
      expect(faultsOf([await probe(served.url, path)], truth, [])).toEqual([]);
    }
    for (const path of ['/ch/noarch/patch_instructions.json', '/ch/notices.json', '/ch/win-64/repodata.json'])
      expect((await probe(served.url, path)).status).toBe(404);
  });

  test.each(KINDS)('that answers %s to all it is asked tells clients to come again', async (kind) => {
    const scene = await ghcrScene();
    const { ghcr, served, truth, archives } = scene;
    ghcr.schedule = (head) => (FAULT_RULES[kind].fits(head) ? kind : undefined);
    expect(faultsOf(await probeAll(served.url, [...REPODATA, ...archives.slice(0, 3)]), truth)).toEqual([]);
    ghcr.schedule = undefined;
    // It asks for a pause of a minute, which it is given.
    if (kind === '403-secondary') return;
    await expectRecovery(scene);
    ghcr.schedule = (head) => (FAULT_RULES[kind].fits(head) ? kind : undefined);
    served.later(120_000);
    expect(faultsOf(await probeAll(served.url, REPODATA), truth, [])).toEqual([]);
  });
});

describe('a registry that refuses everybody from one moment on', () => {
  test('has not lost the subdirs that nobody asked for before', async () => {
    const { line, served, truth } = await sceneOf('registry');
    expect(faultsOf([await probe(served.url, '/ch/noarch/repodata.json')], truth, [])).toEqual([]);
    line.mode = 'status-403';
    for (const path of ['/ch/linux-64/repodata.json', '/ch/osx-arm64/ferry-frames-1.0-0.conda'])
      expect([path, (await probe(served.url, path)).status]).toEqual([path, 502]);
  });

  test('has not lost what oci:// clients ask for', async () => {
    const { line, served } = await sceneOf('registry');
    await probeAll(served.url, REPODATA);
    line.mode = 'status-403';
    for (const path of ['noarch/repodata.json/manifests/latest', 'linux-64/ferry-lib/tags/list'])
      expect([path, (await probe(served.url, `/v2/ch/${path}`)).status]).toEqual([path, 502]);
    expect((await probe(served.url, '/v2/ch/noarch/run_exports.json/manifests/latest')).status).toBe(404);
  });

  test('has not lost the files beside the repodata that were there', async () => {
    const { line, served } = await sceneOf('registry');
    await probeAll(served.url, REPODATA);
    const before = await probe(served.url, '/ch/noarch/run_exports.json');
    expect(before.status).toBe(200);
    line.mode = 'status-403';
    served.later(120_000);
    const after = await probe(served.url, '/ch/noarch/run_exports.json');
    expect([after.status, after.body.equals(before.body)]).toEqual([200, true]);
    expect(after.headers['cache-status']).toMatch(/detail=DENIED/);
  });
});
