import { describe, expect, test } from 'vitest';
import type { HttpClientOptions } from '#ferry/http/client.js';
import { GithubPackages } from '#ferry/registry/github-packages.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { probeRegistry, type ProbeOptions, type ProbeReport } from '#ferry/registry/probe.js';
import { RepositoryClient } from '#ferry/registry/repository-client.js';
import { artifactOf, pushArtifact, rejection } from '../contracts/artifacts.js';
import { useGhcrDouble } from '../support/double/ghcr.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { openTestClient } from '../support/http.js';
import { startScriptedServer } from '../support/scripted-server.js';

const REPOSITORY = 'me/channel/noarch/conda-ferry-probe';

interface ProbeScene {
  readonly options: ProbeOptions;
  /** What was said to stay. */
  readonly said: string[];
}

function sceneAt(origin: string, client: Partial<HttpClientOptions> = {}): ProbeScene {
  const said: string[] = [];
  return {
    said,
    options: {
      baseUrl: new URL(origin),
      send: openTestClient(client).send,
      sendAnonymously: openTestClient().send,
      prefix: 'me/channel',
      nonce: 'nonce',
      mediaTypes: { config: 'application/x-config', layer: 'application/x-layer' },
      onLeftBehind: (reference) => said.push(reference),
    },
  };
}

async function probe(
  options: RegistryDoubleOptions = {},
): Promise<{ readonly double: RegistryDouble; readonly report: ProbeReport }> {
  const double = await useRegistryDouble(options);
  const { options: probing, said } = sceneAt(double.origin);
  const report = await probeRegistry(probing);
  expect(said).toEqual([]);
  expect(double.openUploads).toBe(0);
  return { double, report };
}

function missing({ findings }: ProbeReport): Record<string, string> {
  const found = findings.filter(({ result }) => result !== 'yes');
  return Object.fromEntries(found.map(({ subject, detail }) => [subject, detail]));
}

/** All that is stored, as `repository kind digest`. */
function contentOf(double: RegistryDouble): string[] {
  return [...double.repositories.values()].flatMap(({ name, blobs, manifests }) => [
    ...[...blobs.keys()].map((digest) => `${name} blob ${digest}`),
    ...[...manifests.keys()].map((digest) => `${name} manifest ${digest}`),
  ]);
}

describe('what is missing is told', () => {
  const manners: readonly (readonly [RegistryDoubleOptions, Record<string, string>])[] = [
    [{}, {}],
    [{ anonymousMount: false }, { 'anonymous-mount': '202' }],
    [{ referrers: false }, { referrers: 'they are listed under a tag instead' }],
    [{ singlePost: '202' }, { 'single-post': '' }],
    [{ singlePost: 'refuses' }, { 'single-post': '' }],
    [{ patch: false }, { chunked: '405 UNSUPPORTED' }],
    [{ mount: 404 }, { mount: '404 NAME_UNKNOWN', 'anonymous-mount': '404 NAME_UNKNOWN' }],
    [{ digestHeader: 'absent' }, { 'digest-header': 'it is left out' }],
    [{ ranges: false }, { ranges: '200' }],
    [{ maxPathDepth: 4 }, { depth: '401 UNAUTHORIZED' }],
    [{ delete: { tags: false } }, { 'delete-tag': '405 UNSUPPORTED' }],
    [{ delete: { blobs: false } }, { 'delete-blob': '405 UNSUPPORTED' }],
    [{ location: 'other-path' }, {}],
    [{ location: 'long' }, {}],
  ];
  test.each(manners)('%j', async (options, expected) => {
    const { report, double } = await probe({ anonymousMount: true, ...options });
    expect(missing(report)).toEqual(expected);
    expect(report.leftBehind).toEqual([]);
    if (options.delete?.blobs !== false) expect(contentOf(double)).toEqual([]);
  });

  test('a repository that was there before says nothing of making one', async () => {
    const { report } = await probe({ repositories: [REPOSITORY] });
    expect(missing(report)).toMatchObject({ 'creates-repositories': 'the repository was there before' });
  });

  test('findings come in the order of the report', async () => {
    const { report } = await probe();
    expect(report.findings.map(({ subject }) => subject)).toEqual([
      'registry',
      'push',
      'creates-repositories',
      'depth',
      'names',
      'media-types',
      'single-post',
      'chunked',
      'mount',
      'anonymous-mount',
      'ranges',
      'digest-header',
      'tags',
      'referrers',
      'delete-tag',
      'delete-manifest',
      'delete-blob',
      'public',
    ]);
  });
});

describe('what cannot be deleted', () => {
  test('is left behind by its tag, with its blobs', async () => {
    const { report, double } = await probe({ delete: { tags: false, manifests: false } });
    expect(report.leftBehind).toEqual([`${double.host}/${REPOSITORY}:probe-nonce`]);
    const kept = double.repositories.get(REPOSITORY);
    const [manifest] = kept?.manifests.values() ?? [];
    const { config, layers } = JSON.parse(String(manifest?.bytes)) as {
      config: { digest: string };
      layers: { digest: string }[];
    };
    for (const { digest } of [config, ...layers]) expect(kept?.blobs.has(digest)).toBe(true);
  });

  test('is left behind by its digest where only the tag went', async () => {
    const { report, double } = await probe({ delete: { manifests: false } });
    const [digest] = double.repositories.get(REPOSITORY)?.manifests.keys() ?? [];
    expect(report.leftBehind).toEqual([`${double.host}/${REPOSITORY}@${String(digest)}`]);
    expect(missing(report)).toMatchObject({ 'delete-manifest': '405 UNSUPPORTED' });
  });

  test('a registry whose tags take their manifest along does not delete tags', async () => {
    const double = await useRegistryDouble();
    double.schedule = ({ method, path }) => {
      const contents = double.repositories.get(REPOSITORY);
      if (method === 'DELETE' && path.endsWith('/probe-nonce')) contents?.manifests.clear();
      return undefined;
    };
    const report = await probeRegistry(sceneAt(double.origin).options);
    expect(missing(report)).toMatchObject({ 'delete-tag': expect.any(String) as string });
    expect(report.leftBehind).toEqual([]);
  });

  const ME = { username: 'me', password: 'a-token', owners: ['me'] } as const;

  // GitHub never deletes the last tagged version of a package.
  test.each([
    ['without a token of GitHub', false, true, true],
    ['with one, as the first of its package', true, false, true],
    ['with one, beside another version', true, true, false],
  ])('on GHCR %s', async (_, hasToken, hasOther, stays) => {
    const ghcr = await useGhcrDouble({ users: [ME] });
    const { options } = sceneAt(ghcr.origin, {
      findCredential: () => Promise.resolve({ kind: 'basic', username: 'me', password: 'a-token' }),
    });
    const before = new RepositoryClient(REPOSITORY, options.baseUrl, options.send);
    if (hasOther) await pushArtifact(before, artifactOf('another'), ['other']);
    const github = openTestClient({
      findChannelCredential: () => Promise.resolve({ kind: 'bearer', token: 'a-token' }),
    });
    const githubPackages = new GithubPackages({ send: github.send, owner: 'me', apiUrl: ghcr.apiUrl });
    const report = await probeRegistry({
      ...options,
      profile: profileOf('ghcr.io'),
      githubPackages: hasToken ? githubPackages : undefined,
    });
    expect(report.leftBehind).toEqual(stays ? [`${ghcr.host}/${REPOSITORY}:probe-nonce`] : []);
    expect(missing(report)).toMatchObject({ 'delete-manifest': expect.stringMatching(/^405/) as string });
  });
});

describe('a probe that fails in its middle', () => {
  test('deletes what it pushed, and says nothing', async () => {
    const double = await useRegistryDouble();
    const { options, said } = sceneAt(double.origin);
    double.faultNext(({ path }) => path.endsWith('/referrers/') || path.includes('/referrers/'), '500', 100);
    double.faultNext(({ method, path }) => method === 'GET' && path.endsWith('/tags/list'), 'html-404', 100);
    double.schedule = ({ method, path, headers }) =>
      method === 'GET' && path.includes('/blobs/') && headers.range !== undefined
        ? 'reset-before'
        : undefined;
    expect(await rejection(probeRegistry(options))).toMatchObject({ code: 'NETWORK' });
    expect(contentOf(double)).toEqual([]);
    expect(said).toEqual([]);
  });

  test('says what it could not delete', async () => {
    const double = await useRegistryDouble({ delete: { tags: false, manifests: false } });
    const { options, said } = sceneAt(double.origin);
    double.schedule = ({ headers }) => (headers.range === undefined ? undefined : 'reset-before');
    expect(await rejection(probeRegistry(options))).toMatchObject({ code: 'NETWORK' });
    expect(said).toEqual([`${double.host}/${REPOSITORY}:probe-nonce`]);
  });

  test('does the same when it is interrupted', async () => {
    const double = await useRegistryDouble();
    const { options, said } = sceneAt(double.origin);
    const controller = new AbortController();
    const reason = new Error('interrupted');
    double.schedule = ({ headers }) => {
      if (headers.range !== undefined) controller.abort(reason);
      return undefined;
    };
    expect(await rejection(probeRegistry({ ...options, signal: controller.signal }))).toBe(reason);
    expect(contentOf(double)).toEqual([]);
    expect(said).toEqual([]);
  });

  test('says so too where it cannot be known', async () => {
    const double = await useRegistryDouble();
    const { options, said } = sceneAt(double.origin);
    let isGone = false;
    double.schedule = ({ headers }) => {
      isGone ||= headers.range !== undefined;
      return isGone ? 'reset-before' : undefined;
    };
    expect(await rejection(probeRegistry(options))).toMatchObject({ code: 'NETWORK' });
    expect(said).toEqual([`${double.host}/${REPOSITORY}:probe-nonce`]);
  });

  test('had pushed nothing where nothing may be pushed', async () => {
    const double = await useRegistryDouble({ readOnly: true });
    const { options, said } = sceneAt(double.origin);
    expect(await rejection(probeRegistry(options))).toMatchObject({ code: 'UNSUPPORTED' });
    expect(said).toEqual([]);
  });
});

test('without a prefix asks once and writes nothing', async () => {
  const double = await useRegistryDouble({ auth: { kind: 'token' } });
  const { options } = sceneAt(double.origin);
  const report = await probeRegistry({ ...options, prefix: undefined });
  expect(report).toMatchObject({ authentication: 'bearer', repository: undefined, leftBehind: [] });
  expect(double.lines).toEqual(['GET /v2/']);
});

test('a registry that is down is not taken for none', async () => {
  const server = await startScriptedServer(
    ...Array.from({ length: 8 }, () => ['GET /v2/', { status: 503 }] as const),
  );
  const { options } = sceneAt(server.origin);
  expect(await rejection(probeRegistry(options))).toMatchObject({ code: 'REGISTRY_REFUSED', status: 503 });
});

test('an upload that another host takes over goes on there without credentials, also on the way back', async () => {
  const other = await useRegistryDouble();
  const double = await useRegistryDouble({
    location: { origin: other.origin },
    auth: { kind: 'basic', username: 'me', password: 'secret' },
  });
  const { options } = sceneAt(double.origin, {
    findCredential: () => Promise.resolve({ kind: 'basic', username: 'me', password: 'secret' }),
  });
  expect(missing(await probeRegistry(options))).toMatchObject({ chunked: '404 BLOB_UPLOAD_UNKNOWN' });
  expect(other.requests.length).toBeGreaterThan(0);
  for (const { headers } of other.requests) expect(headers.authorization).toBeUndefined();
});
