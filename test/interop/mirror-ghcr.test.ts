import { beforeEach, describe, expect, test } from 'vitest';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { GithubPackages } from '#ferry/registry/github-packages.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { RegistryClient, type RegistryClientOptions } from '#ferry/registry/registry-client.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { incompressible } from '../../fixtures/build/bytes.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { artifactOf, contentOf, pushArtifact } from '../contracts/artifacts.js';
import { putArtifact, tokenFor } from '../doubles/requests.js';
import { faultsOf, listedRecords } from '../support/audit.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import type { RequestHead } from '../support/double/exchange.js';
import { useGhcrDouble, type GhcrDouble, type GhcrOptions } from '../support/double/ghcr.js';
import {
  doubleReader,
  mirrorInto,
  STORM_PATH,
  useStoreAt,
  writeStormChannel,
  type RunAtDouble,
} from '../support/storm.js';
import { openTestClient } from '../support/http.js';
import { failuresOf, layoutStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { jumpingClock } from '../support/jumping-clock.js';
import { mirrorChannel } from '../support/workers.js';

/** The mirror against GHCR as the facts ghcr/G1 to ghcr/G19 describe it. Nothing is known beforehand of the host. */

const owner = { username: 'owner', password: 'ghp_owner', owners: ['org'] } as const;
const workflow = {
  username: 'actions',
  password: 'ghs_token',
  owners: ['org'],
  linkedTo: 'org/repo',
} as const;
const SUBDIRS = ['linux-64', 'noarch', 'osx-arm64'];
const MIB = 1024 * 1024;

let clock: ReturnType<typeof jumpingClock>;
beforeEach(() => {
  clock = jumpingClock();
});

async function useGhcr(options: GhcrOptions = {}): Promise<GhcrDouble> {
  return useGhcrDouble({ users: [owner, workflow], now: () => clock.now(), ...options });
}

async function mirror(ghcr: GhcrDouble, folder: string, options: object = {}): Promise<RunAtDouble> {
  return mirrorInto(ghcr, folder, { user: owner, clock, ...options });
}

/** Expects a channel that is there as a whole. */
async function expectWhole(
  ghcr: GhcrDouble,
  { report }: RunAtDouble,
  subdirs: readonly string[],
): Promise<void> {
  expect(failuresOf(report)).toEqual({});
  for (const subdir of subdirs) {
    const channel = `${STORM_PATH}/${subdir}`;
    expect(await listedRecords(doubleReader(ghcr), channel)).not.toEqual([]);
    expect(await faultsOf(doubleReader(ghcr), channel)).toEqual([]);
  }
}

const isBlobEnd = ({ method, route }: RequestHead): boolean => method === 'PUT' && route.kind === 'upload';

describe('limits', () => {
  test('ghcr/G1: pauses that stand in the body, in milliseconds, are kept to, and the rate learned', async () => {
    const folder = await tempFolder();
    await writeStormChannel(folder, 60);
    const ghcr = await useGhcr({ limitPerMinute: 2000 });
    const pauses: number[] = [];
    const sleep: typeof clock.sleep = (ms, signal) => {
      pauses.push(ms);
      return clock.sleep(ms, signal);
    };
    const run = await mirror(ghcr, folder, { clock: { ...clock, sleep } });
    await expectWhole(ghcr, run, ['noarch']);
    const refused = ghcr.requests.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThanOrEqual(10);
    expect(Math.max(...pauses)).toBeLessThan(1000);
  });

  test('ghcr/G4: the secondary limit, a 403, is waited for, and the run goes on', async () => {
    const folder = await tempFolder();
    await writeStormChannel(folder, 60);
    const ghcr = await useGhcr({ secondaryLimit: { afterWrites: 200, forMs: 90_000 } });
    const startedAt = clock.now();
    const run = await mirror(ghcr, folder);
    await expectWhole(ghcr, run, ['noarch']);
    expect(clock.now() - startedAt).toBeGreaterThan(90_000);
    const refused = ghcr.requests.filter(({ status }) => status === 403).length;
    expect(refused).toBeGreaterThan(0);
    // All that is under way, once for each strike; then one a minute at a time.
    expect(refused).toBeLessThan(run.requests / 4);
  });
});

describe('rights', () => {
  test('ghcr/G5: what a stranger may read is mirrored, whatever else is refused', async () => {
    const ghcr = await useGhcr({ newPackages: 'public' });
    await mirror(ghcr, FIXTURE_CHANNEL);
    const source = new OciChannel(useStoreAt(ghcr, { user: null, clock }));
    expect(await source.subdirs()).toEqual(SUBDIRS);
    const copy = layoutStore(await tempFolder());
    const report = await mirrorChannel({ source, destination: copy.store });
    expect(failuresOf(report)).toEqual({});
    for (const subdir of SUBDIRS) expect(await faultsOf(copy.reader, subdir)).toEqual([]);
  });

  test('ghcr/G5: where a stranger may read nothing there is one clear error', async () => {
    const ghcr = await useGhcr();
    await mirror(ghcr, FIXTURE_CHANNEL);
    const source = new OciChannel(useStoreAt(ghcr, { user: null, clock }));
    const { store } = layoutStore(await tempFolder());
    await expect(mirrorChannel({ source, destination: store })).rejects.toMatchObject({
      code: 'DENIED',
      hint: expect.stringContaining(`conda-ferry login ${ghcr.host}`) as string,
    });
  });

  test('ghcr/G5: whoever may read is told of what is absent', async () => {
    const ghcr = await useGhcr();
    const source = new OciChannel(useStoreAt(ghcr, { user: owner, clock }));
    expect(await source.subdirs()).toEqual([]);
    const { store } = layoutStore(await tempFolder());
    const run = mirrorChannel({ source, destination: store, subdirs: ['noarch'] });
    await expect(run).rejects.toMatchObject({ code: 'CHANNEL_NOT_FOUND' });
  });

  test('ghcr/G8: a package that the token may not write ends the run with one error that says what to do', async () => {
    const folder = await tempFolder();
    await writeStormChannel(folder, 150);
    const ghcr = await useGhcr();
    const unlinked = `${STORM_PATH}/noarch/storm-1`;
    const headers = await tokenFor(ghcr.origin, `repository:${unlinked}:pull,push`, owner);
    await putArtifact(ghcr, unlinked, 'old', { headers });
    ghcr.reset();
    const error: unknown = await mirror(ghcr, folder, { user: workflow }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'DENIED',
      side: 'destination',
      hint: expect.stringMatching(/package settings.*org\.opencontainers\.image\.source/i) as string,
    });
    // What is under way comes to its end, and nothing more is begun.
    expect(ghcr.requests.length).toBeLessThan(400);
    // Linked, and the next run goes on.
    const known = ghcr.packages.get(unlinked);
    if (known !== undefined) known.repository = workflow.linkedTo;
    await expectWhole(ghcr, await mirror(ghcr, folder, { user: workflow }), ['noarch']);
  });
});

describe('large things', () => {
  async function largeChannel(mebibytes: number): Promise<string> {
    const folder = await tempFolder();
    const large = condaPackage({
      name: 'large',
      version: '1.0',
      build: '0',
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/noise': incompressible(mebibytes * MIB, 1) },
      zip: { level: 1 },
    });
    await writeChannel(folder, { noarch: [large] });
    return folder;
  }

  test('ghcr/G10: chunks, where there have to be any, are of 4 MiB at most', async () => {
    const ghcr = await useGhcr();
    const folder = await largeChannel(9);
    ghcr.faultNext(
      (head) => isBlobEnd(head) && Number(head.headers['content-length']) > 8 * MIB,
      'lost-commit',
      2,
    );
    await expectWhole(ghcr, await mirror(ghcr, folder), ['noarch']);
    const chunks = ghcr.requests.filter(({ method }) => method === 'PATCH');
    expect(chunks.map(({ status, bytesIn }) => [status, bytesIn <= 4 * MIB])).toEqual(
      Array.from({ length: 3 }, () => [202, true]),
    );
    expect(ghcr.pendingFaults).toBe(0);
  });

  test('ghcr/G11: a blob that is stored after its connection broke is not sent again', async () => {
    const ghcr = await useGhcr({ commitDelayMs: 50, commitDelayFromBytes: MIB });
    const folder = await largeChannel(2);
    const isLarge = (head: RequestHead): boolean =>
      isBlobEnd(head) && Number(head.headers['content-length']) > MIB;
    ghcr.faultNext(isLarge, 'reset-meanwhile');
    // In real time: the commit takes some.
    const run = await mirror(ghcr, folder, { clock: { random: () => 0.9 } });
    await expectWhole(ghcr, run, ['noarch']);
    const sent = ghcr.requests.filter(({ method, bytesIn }) => method === 'PUT' && bytesIn > MIB);
    expect(sent).toHaveLength(1);
    expect(ghcr.requests.filter(({ method, kind }) => method === 'HEAD' && kind === 'blob')).toMatchObject([
      { status: 200 },
    ]);
  });

  test('ghcr/G13: a manifest that GHCR would choke on is not even sent', async () => {
    const ghcr = await useGhcr();
    const { registry } = useStoreAt(ghcr, {
      user: owner,
      clock,
      registry: { profile: profileOf('ghcr.io') },
    });
    const descriptor = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: `sha256:${'0'.repeat(64)}` as const,
      size: 4 * MIB,
    };
    const push = registry.repository('org/a').push(descriptor, () => (async function* () {})());
    await expect(push).rejects.toMatchObject({ code: 'MANIFEST_TOO_LARGE' });
    expect(ghcr.requests).toEqual([]);
  });
});

describe('what GHCR does not have', () => {
  async function useOne(ghcr: GhcrDouble, more: Partial<RegistryClientOptions> = {}) {
    const store = useStoreAt(ghcr, {
      user: owner,
      clock,
      registry: { profile: profileOf('ghcr.io'), ...more },
    });
    if (!(store.registry instanceof RegistryClient)) throw new Error('no client of a registry');
    const repository = store.registry.repository('org/channel/one');
    const { blobs, manifest } = artifactOf('the subject');
    await pushArtifact(repository, { blobs, manifest }, ['1']);
    return { repository, subject: manifest.descriptor };
  }

  test('ghcr/G14: referrers are kept under a tag, and the API is asked once', async () => {
    const ghcr = await useGhcr();
    const { repository, subject } = await useOne(ghcr);
    const { blobs, manifest: bare } = artifactOf('a signature');
    const document = JSON.parse(Buffer.from(bare.bytes).toString()) as object;
    const manifest = contentOf(JSON.stringify({ ...document, subject }), IMAGE_MANIFEST);
    await pushArtifact(repository, { blobs, manifest });
    for (let time = 1; time <= 2; time += 1) {
      const found: string[] = [];
      for await (const { digest } of repository.referrers(subject)) found.push(digest);
      expect(found).toEqual([manifest.descriptor.digest]);
    }
    const tags = [...(ghcr.repositories.get('org/channel/one')?.tags.keys() ?? [])];
    expect(tags).toContain(subject.digest.replace(':', '-'));
    // Asked whether it has come about meanwhile.
    expect(ghcr.requests.filter(({ kind }) => kind === 'referrers')).toHaveLength(1);
  });

  test('ghcr/G16: nothing is deleted without the REST API, which is said and not tried', async () => {
    const ghcr = await useGhcr();
    const { repository, subject } = await useOne(ghcr);
    await expect(repository.delete(subject)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('delete:packages') as string,
    });
    expect(ghcr.requests.filter(({ method }) => method === 'DELETE')).toEqual([]);
  });

  test('ghcr/G16: a version is deleted by the REST API', async () => {
    const ghcr = await useGhcr();
    const { send } = openTestClient({
      findChannelCredential: () => Promise.resolve({ kind: 'bearer', token: owner.password }),
    });
    const githubPackages = new GithubPackages({ send, owner: 'org', apiUrl: ghcr.apiUrl });
    const { repository, subject } = await useOne(ghcr, { githubPackages });
    const other = artifactOf('another');
    await pushArtifact(repository, other, ['2']);
    await repository.delete(subject);
    expect([...(ghcr.repositories.get('org/channel/one')?.tags.keys() ?? [])]).toEqual(['2']);
  });
});

test('ghcr/G15: a deep run finds all tags of a repository, page by page', async () => {
  const folder = await tempFolder();
  const archives = Array.from({ length: 230 }, (_, i) =>
    condaPackage({
      name: 'many',
      version: '1.0',
      build: String(i),
      subdir: 'noarch',
      index: { noarch: 'generic' },
    }),
  );
  await writeChannel(folder, { noarch: archives });
  const ghcr = await useGhcr({ registry: { tagPageMax: 100 } });
  await expectWhole(ghcr, await mirror(ghcr, folder), ['noarch']);
  ghcr.repositories.delete(`${STORM_PATH}/noarch/repodata_ledger.json`);
  ghcr.reset();
  const { report } = await mirror(ghcr, folder, { mirror: { deep: true } });
  expect(report.subdirs[0]).toMatchObject({ there: 230, added: 0 });
  expect(ghcr.requests.filter(({ kind, status }) => kind === 'tags' && status === 200)).toHaveLength(3);
});

test('ghcr/G19: blobs are read from the other host without Authorization', async () => {
  const ghcr = await useGhcr();
  await mirror(ghcr, FIXTURE_CHANNEL);
  const source = new OciChannel(useStoreAt(ghcr, { user: owner, clock }));
  const { store, reader } = layoutStore(await tempFolder());
  expect(failuresOf(await mirrorChannel({ source, destination: store }))).toEqual({});
  for (const subdir of SUBDIRS) expect(await faultsOf(reader, subdir)).toEqual([]);
  const reads = ghcr.requests.filter(({ origin }) => origin === ghcr.blobOrigin);
  expect(reads.length).toBeGreaterThanOrEqual(32);
  expect(new Set(reads.map(({ status, headers }) => `${status} ${headers.authorization ?? 'none'}`))).toEqual(
    new Set(['200 none']),
  );
});

describe('few requests', () => {
  test('a run with nothing to do makes three requests a subdir', async () => {
    const ghcr = await useGhcr();
    await mirror(ghcr, FIXTURE_CHANNEL);
    ghcr.reset();
    const { report } = await mirror(ghcr, FIXTURE_CHANNEL);
    expect(report.subdirs.map(({ publishedAs }) => publishedAs)).toEqual(SUBDIRS.map(() => 'kept'));
    // Apart from tokens, with the challenge that says where they are, and from the host that blobs are redirected to.
    const asked = ghcr.requests.filter(
      ({ kind, status, origin }) => kind !== 'token' && status !== 401 && origin === ghcr.origin,
    );
    expect(asked.length).toBeLessThanOrEqual(3 * SUBDIRS.length);
    expect(ghcr.requests.filter(({ status }) => status === 401)).toHaveLength(1);
  });

  test.each([false, true])('tokens: one for each repository and set of scopes (deep: %s)', async (deep) => {
    const ghcr = await useGhcr();
    if (deep) await mirror(ghcr, FIXTURE_CHANNEL);
    ghcr.reset();
    await expectWhole(ghcr, await mirror(ghcr, FIXTURE_CHANNEL, { mirror: { deep } }), SUBDIRS);
    const scopes = ghcr.tokenRequests.map((request) => request.scopes.join(' '));
    expect(scopes.length).toBeGreaterThan(10);
    expect(scopes).toHaveLength(new Set(scopes).size);
  });
});
