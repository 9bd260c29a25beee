import { rm } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { MirrorOptions } from '#ferry/mirror/mirror.js';
import type { SubdirReport } from '#ferry/mirror/report.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { Registry } from '#ferry/oci/storage.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords } from '../support/audit.js';
import { serveChannel } from '../support/channel-server.js';
import { failingRegistry } from '../support/failing-registry.js';
import { memoryReader } from '../support/memory-reader.js';
import { failuresOf, httpSource, layoutStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';

/** What a killed run, another tool or a changed mind of the source leaves behind, and what the next run makes of it. */

let registry: MemoryRegistry;
let source: string;
beforeEach(async () => {
  registry = new MemoryRegistry();
  source = await tempFolder();
});

type Archive = ReturnType<typeof condaPackage>;

const spec = (name: string, payload: string) =>
  ({
    name,
    version: '1.0',
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/text': payload },
  }) as const;
const conda = (name: string, payload = 'x'): Archive => condaPackage(spec(name, payload));
const bz2 = (name: string): Archive => tarBz2Package(spec(name, 'x'));
const isPackage = ({ repository }: { repository: string }): boolean => !repository.includes('/repodata');

async function offer(...archives: Archive[]): Promise<void> {
  await rm(source, { recursive: true, force: true });
  await writeChannel(source, { noarch: archives });
}

async function run(options: Partial<MirrorOptions> = {}, store: Registry = registry): Promise<SubdirReport> {
  const destination = new ChannelStore(store, 'c', schemaV0);
  const { subdirs } = await mirrorChannel({
    source: new DirectoryChannel(source),
    destination,
    concurrency: 1,
    ...options,
  });
  if (subdirs[0] === undefined) throw new Error('no subdir');
  return subdirs[0];
}

/** Listed file names, after checking that each is there. */
async function listed(): Promise<string[]> {
  const reader = memoryReader(registry);
  expect(await faultsOf(reader, 'c/noarch')).toEqual([]);
  return ((await listedRecords(reader, 'c/noarch')) ?? []).map(({ filename }) => filename).sort();
}

async function kept(): Promise<string[]> {
  const ledger = await readLedger(new ChannelStore(registry, 'c', schemaV0), 'noarch');
  return Object.keys(ledger?.kept ?? {});
}

/** As if another tool had written what is there: no ledger. */
async function forgetLedger(): Promise<void> {
  const repository = registry.repository('c/noarch/repodata_ledger.json');
  const latest = await repository.resolve('latest');
  if (latest !== undefined) await repository.delete(latest);
}

async function removeArtifact(name: string): Promise<void> {
  const repository = registry.repository(`c/noarch/${name}`);
  const found = await repository.resolve('1.0-0');
  if (found !== undefined) await repository.delete(found);
}

describe('a run that was killed', () => {
  test('while it adopted a mirror leaves its holes to be found', async () => {
    await offer(conda('aaa'), conda('hole'));
    await run();
    await forgetLedger();
    await removeArtifact('hole');
    await expect(run({}, failingRegistry(registry, isPackage))).rejects.toThrow('killed');
    expect(await run()).toMatchObject({ there: 1, added: 1, failed: [] });
    expect(await listed()).toEqual(['aaa-1.0-0.conda', 'hole-1.0-0.conda']);
  });

  test('with deep leaves the holes it found to be found again', async () => {
    await offer(conda('aaa'), conda('hole'));
    await run();
    await removeArtifact('hole');
    await expect(run({ deep: true }, failingRegistry(registry, isPackage))).rejects.toThrow('killed');
    expect(await run()).toMatchObject({ there: 1, added: 1 });
    expect(await listed()).toHaveLength(2);
  });

  test.each([
    ['before anything moved', isPackage],
    ['after latest moved', lastWrites()],
  ])('%s keeps the records of others', async (_when, fails) => {
    await offer(conda('aaa'), conda('theirs'));
    await run();
    await forgetLedger();
    await offer(conda('aaa'), conda('new'));
    await expect(run({ merge: true }, failingRegistry(registry, fails))).rejects.toThrow('killed');
    await run({ merge: true });
    expect(await listed()).toEqual(['aaa-1.0-0.conda', 'new-1.0-0.conda', 'theirs-1.0-0.conda']);
  });

  test('does not make the next one believe in bytes that it overwrote', async () => {
    await offer(conda('aaa'), conda('zzz'));
    await run();
    await offer(conda('zzz'));
    await run();
    expect(await kept()).toEqual(['aaa-1.0-0.conda']);
    await offer(conda('aaa', 'other'), conda('zzz'), conda('zzzz'));
    const killedLate = failingRegistry(registry, ({ repository }) => repository.endsWith('/zzzz'));
    await expect(run({}, killedLate)).rejects.toThrow('killed');
    await offer(conda('aaa'), conda('zzz'));
    expect(await run()).toMatchObject({ added: 1, failed: [] });
    expect(await listed()).toEqual(['aaa-1.0-0.conda', 'zzz-1.0-0.conda']);
  });
});

test('repodata that was deleted at the registry is published anew, and nothing is sent again', async () => {
  await offer(conda('aaa'));
  await run();
  const repository = registry.repository('c/noarch/repodata.json');
  const latest = await repository.resolve('latest');
  if (latest !== undefined) await repository.delete(latest);
  expect(await run()).toMatchObject({ added: 0, there: 1, publishedAs: 'unchanged' });
  expect(await listed()).toEqual(['aaa-1.0-0.conda']);
});

test("a twin that only the other tool's repodata lists is not lost when its other half comes", async () => {
  await offer(conda('aaa'), conda('twin'));
  await run();
  await forgetLedger();
  await offer(conda('aaa'), bz2('twin'));
  await run({ merge: true });
  expect(await listed()).toEqual(['aaa-1.0-0.conda', 'twin-1.0-0.conda', 'twin-1.0-0.tar.bz2']);
});

test('a listed twin that is gone is fetched again, or listed no more', async () => {
  await offer(conda('one'), conda('two'));
  await run();
  await removeArtifact('one');
  await removeArtifact('two');
  await offer(conda('one'), bz2('one'), conda('two'), bz2('two'));
  await rm(`${source}/noarch/two-1.0-0.conda`);
  const report = await run();
  expect(report.failed.map(({ filename }) => filename)).toEqual(['two-1.0-0.conda']);
  expect(await listed()).toEqual(['one-1.0-0.conda', 'one-1.0-0.tar.bz2', 'two-1.0-0.tar.bz2']);
});

test('deep finds holes, and forgets neither whose mirror it is nor what it keeps', async () => {
  await offer(conda('aaa'), conda('bbb'), conda('ccc'));
  await run();
  await removeArtifact('ccc');
  await offer(conda('aaa'), conda('ccc'));
  expect(await run({ deep: true })).toMatchObject({ there: 1, added: 1, kept: 1 });
  expect(await run({ deep: true })).toMatchObject({ there: 2, added: 0, kept: 1 });
  expect(await kept()).toEqual(['bbb-1.0-0.conda']);
});

test('what a failed replacement leaves under the tag stays, and joins a twin that comes later', async () => {
  await offer(conda('aaa'));
  await run();
  await offer(conda('aaa', 'other'));
  await rm(`${source}/noarch/aaa-1.0-0.conda`);
  expect((await run()).failed).toHaveLength(1);
  expect(await listed()).toEqual([]);
  expect(await kept()).toEqual(['aaa-1.0-0.conda']);
  await offer(bz2('aaa'));
  await run();
  const stored = await registry.repository('c/noarch/aaa').fetchManifest('1.0-0');
  expect(Buffer.from(stored?.bytes ?? []).toString()).toContain('aaa-1.0-0.conda');
});

test('one record that points to a host that is gone fails alone', async () => {
  const gone = { ...conda('gone'), record: { url: 'http://127.0.0.1:9/gone.conda' } };
  await writeChannel(source, { noarch: [conda('aaa'), gone] });
  await using server = await serveChannel(source);
  const destination = new ChannelStore(registry, 'c', schemaV0);
  const report = await mirrorChannel({ source: httpSource(server.url), destination, subdirs: ['noarch'] });
  expect(failuresOf(report)).toEqual({ 'noarch/gone-1.0-0.conda': 'NETWORK' });
  expect(await listed()).toEqual(['aaa-1.0-0.conda']);
});

test('a source that is gone ends the run at once', async () => {
  await offer(conda('aaa'), conda('bbb'));
  const server = await serveChannel(source, {
    intercept: (request) => {
      if (request.url?.endsWith('.conda') !== true) return false;
      void server[Symbol.asyncDispose]();
      return true;
    },
  });
  const destination = layoutStore(await tempFolder()).store;
  const run = mirrorChannel({ source: httpSource(server.url), destination, subdirs: ['noarch'] });
  await expect(run).rejects.toMatchObject({ code: 'NETWORK' });
});

test('cep15/mirror-without-base-url: archives are fetched from the base_url, which is not published', async () => {
  const elsewhere = await tempFolder();
  await writeChannel(elsewhere, { noarch: [conda('aaa')] });
  await using archives = await serveChannel(elsewhere);
  const { repodataOf } = await import('../../fixtures/build/channel.mjs');
  const repodata = repodataOf('noarch', [conda('aaa')]);
  const moved = {
    ...repodata,
    info: { ...repodata.info, base_url: `${archives.url}/noarch/` },
    repodata_version: 2,
  };
  await using server = await serveChannel(elsewhere, {
    intercept: (request, response) => {
      if (request.url?.endsWith('.zst') === true) response.writeHead(404).end();
      else if (request.url?.endsWith('.json') === true) response.end(JSON.stringify(moved));
      else response.writeHead(404).end();
      return true;
    },
  });
  const destination = new ChannelStore(registry, 'c', schemaV0);
  const report = await mirrorChannel({ source: httpSource(server.url), destination, subdirs: ['noarch'] });
  expect(failuresOf(report)).toEqual({});
  expect(report.subdirs[0]?.publishedAs).toBe('spliced');
  expect(await listed()).toEqual(['aaa-1.0-0.conda']);
});

test('cep142/mirror-infers: an archive is mirrored although the sidecar that its record names is not there, and stays unlisted', async () => {
  await offer({ ...conda('aaa'), record: { attestations_sha256: 'a'.repeat(64) } } as Archive);
  const { failed, kept } = await run();
  expect(failed).toMatchObject([{ filename: 'aaa-1.0-0.conda', code: 'ATTESTATION_ABSENT' }]);
  expect(kept).toBe(1);
  expect(await listed()).toEqual([]);
  const place = { repository: 'aaa' };
  const repository = new ChannelStore(registry, 'c', schemaV0).packageRepository('noarch', place);
  expect(await repository.resolve('1.0-0')).toBeDefined();
  // The next night tries again, and moves nothing.
  expect(await run()).toMatchObject({ added: 0, failed: [{ code: 'ATTESTATION_ABSENT' }] });
});

/** Fails from the first write after `latest` moved. */
function lastWrites(): (write: { readonly verb: string }) => boolean {
  let hasMoved = false;
  return ({ verb }) => {
    if (hasMoved) return true;
    hasMoved = verb === 'tag';
    return false;
  };
}
