import { beforeEach, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { REPODATA as REPODATA_TYPE } from '#ferry/artifact/media-types.js';
import { LATEST, pushMetadata, resolveLatest } from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import type { MirrorReport } from '#ferry/mirror/report.js';
import { readPublished } from '#ferry/mirror/state.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { Registry } from '#ferry/oci/storage.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { rejection } from '../contracts/artifacts.js';
import { faultsOf, registryReader } from '../support/audit.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import type { RequestHead } from '../support/double/exchange.js';
import { runFerry } from '../support/ferry.js';
import { openTestClient } from '../support/http.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel, workers } from '../support/workers.js';

/** Somebody else writes into the channel while a mirror runs, and registries that take nothing. */

let source: string;
beforeEach(async () => {
  source = await tempFolder();
});

const conda = (name: string) =>
  condaPackage({
    name,
    version: '1.0',
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/text': name },
  });

async function offer(...names: string[]): Promise<void> {
  await writeChannel(source, { noarch: names.map(conda) });
}

/** A fresh view of the channel `c`, as a process of its own has it. */
function storeIn(registry: RegistryDouble): ChannelStore {
  const client = openTestClient();
  return new ChannelStore(
    new RegistryClient({ host: registry.host, send: client.send, ...client.retry }),
    'c',
    schemaV0,
  );
}

const PLANNED_AGAIN = 'noarch: somebody else has published meanwhile; planned again';

async function run(destination: ChannelStore, warnings: string[] = []): Promise<MirrorReport> {
  const reporter = { warning: (text: string) => warnings.push(text) };
  return mirrorChannel({ source: new DirectoryChannel(source), destination, concurrency: 1, reporter });
}

const REPODATA = 'c/noarch/repodata.json';
const LEDGER = 'c/noarch/repodata_ledger.json';
const putsLatest =
  (repository: string) =>
  ({ method, path }: RequestHead): boolean =>
    method === 'PUT' && path === `/v2/${repository}/manifests/latest`;

/** Makes `latest` of a repository something else, as another process would; a copy of what was there. */
function meddle(registry: RegistryDouble, repository: string): string {
  const contents = registry.repositories.get(repository);
  const other = [...(contents?.manifests.keys() ?? [])].find(
    (digest) => digest !== contents?.tags.get('latest'),
  );
  if (contents === undefined || other === undefined) throw new Error('nothing to meddle with');
  contents.tags.set('latest', other);
  return other;
}

describe('another process writes while an answer of ours is lost', () => {
  test.each([
    ['repodata', REPODATA],
    ['the ledger', LEDGER],
  ])('%s: the run plans again, and takes nothing away that the other listed', async (_, repository) => {
    const registry = await useRegistryDouble();
    await offer('aaa');
    await run(storeIn(registry));
    await offer('aaa', 'bbb');
    await run(storeIn(registry));
    await offer('aaa', 'bbb', 'ccc');
    registry.faultNext((head) => {
      if (!putsLatest(repository)(head)) return false;
      meddle(registry, repository);
      return true;
    }, 'reset-before');
    const warnings: string[] = [];
    await run(storeIn(registry), warnings);
    expect(warnings).toEqual([PLANNED_AGAIN]);
    expect(await faultsOf(registryReader(registry.host), 'c/noarch')).toEqual([]);
    const ledger = await readLedger(storeIn(registry), 'noarch');
    expect(ledger).toMatchObject({ complete: true, counts: { listed: 3, there: 3 } });
  });

  test.each(['reset-after', 'reset-before', '502-after'] as const)(
    'without another, %s is got over',
    async (fault) => {
      const registry = await useRegistryDouble();
      await offer('aaa');
      registry.faultNext(putsLatest(REPODATA), fault);
      registry.faultNext(putsLatest(LEDGER), fault);
      await run(storeIn(registry));
      expect(registry.pendingFaults).toBe(0);
      expect(await faultsOf(registryReader(registry.host), 'c/noarch')).toEqual([]);
    },
  );
});

test('what another published since the run began is not taken away, although no answer is lost', async () => {
  const registry = await useRegistryDouble();
  await offer('aaa');
  await run(storeIn(registry));
  await offer('aaa', 'bbb');
  await run(storeIn(registry));
  await offer('aaa', 'bbb', 'ccc');
  let isFirst = true;
  registry.schedule = ({ method, path }) => {
    // In the middle of the run: a package is just being uploaded.
    if (isFirst && method === 'PUT' && path.startsWith('/v2/c/noarch/ccc/manifests/')) {
      isFirst = false;
      meddle(registry, REPODATA);
    }
    return undefined;
  };
  const warnings: string[] = [];
  await run(storeIn(registry), warnings);
  expect(warnings).toEqual([PLANNED_AGAIN]);
  expect(await faultsOf(registryReader(registry.host), 'c/noarch')).toEqual([]);
});

test('what another published between our look at latest and our reading of it is not taken for what was judged', async () => {
  const store = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
  const publish = (name: string) => {
    const bytes = Buffer.from(JSON.stringify({ packages: {}, 'packages.conda': {}, name }));
    const layer = { mediaType: REPODATA_TYPE, title: 'repodata.json', bytes };
    return pushMetadata(store, 'noarch', 'repodata.json', [layer], { tags: [LATEST] });
  };
  const judged = await publish('judged');
  await publish('later');
  await using temp = await TempFolder.create();
  await using published = await readPublished(store, 'noarch', judged, { workers, temp });
  expect(published?.found.descriptor.digest).toBe(judged.digest);
});

test('the command gives up where others publish again and again, with exit 3 and one error', async () => {
  const registry = await useRegistryDouble();
  await offer('aaa');
  await run(storeIn(registry));
  await offer('aaa', 'bbb');
  await run(storeIn(registry));
  await offer('aaa', 'bbb', 'ccc');
  registry.schedule = (head) => {
    if (!putsLatest(REPODATA)(head)) return undefined;
    meddle(registry, REPODATA);
    return 'reset-before';
  };
  const args = ['mirror', source, `oci://${registry.host}/c`];
  const first = await runFerry(args, { env: { HOME: await tempFolder() } });
  expect(first.code).toBe(3);
  expect(first.stderr).toMatch(/error: `c\/noarch\/repodata\.json:latest` was written by somebody else/);
  expect(first.stderr).toContain('[TAG_MOVED]');
  expect(first.stderr).toContain('hint: run the command again');
  registry.schedule = undefined;
  expect(await runFerry(args, { env: { HOME: await tempFolder() } })).toMatchObject({ code: 0 });
});

describe('latest of a metadata file', () => {
  const layers = (text: string) => [
    { mediaType: 'application/json', title: 'repodata.json', bytes: Buffer.from(text) },
  ];
  const push = (store: ChannelStore, text: string, tags = [LATEST]) =>
    pushMetadata(store, 'noarch', 'repodata.json', layers(text), { tags });

  test.each<[string, () => Promise<Registry>]>([
    ['a registry', async () => storeIn(await useRegistryDouble()).registry],
    ['a memory store', () => Promise.resolve(new MemoryRegistry())],
  ])('in %s is not moved once another has', async (_, open) => {
    const registry = await open();
    const [ours, theirs] = [0, 1].map(() => new ChannelStore(registry, 'c', schemaV0)) as [
      ChannelStore,
      ChannelStore,
    ];
    await resolveLatest(ours, 'noarch', 'repodata.json');
    await push(ours, 'first', ['2026', LATEST]);
    const other = await push(theirs, 'theirs');
    expect(await rejection(push(ours, 'second', ['2027', LATEST]))).toMatchObject({ code: 'TAG_MOVED' });
    expect((await resolveLatest(ours, 'noarch', 'repodata.json'))?.digest).toBe(other.digest);
    await push(ours, 'third', ['2028', LATEST]);
  });

  test('says nothing of the other tags that come with it', async () => {
    const registry = await useRegistryDouble();
    const store = storeIn(registry);
    await push(store, 'first');
    registry.faultNext(({ method, path }) => method === 'PUT' && path.endsWith('/2026'), 'reset-before');
    await push(store, 'second', ['2026', LATEST]);
    const tags = registry.repositories.get(REPODATA)?.tags;
    expect(tags?.get('2026')).toBe(tags?.get('latest'));
  });
});

describe('a registry that takes no pushes', () => {
  test.each<[string, RegistryDoubleOptions, string]>([
    ['reads only', { readOnly: true }, 'UNSUPPORTED'],
    ['makes no repositories', { createRepositories: false }, 'NOT_FOUND'],
    ['takes two components', { maxPathDepth: 2 }, 'UNAUTHORIZED'],
  ])('and %s ends the run before anything is uploaded', async (_, options, code) => {
    const registry = await useRegistryDouble(options);
    await offer('aaa', 'bbb');
    // Docker Hub says 401 of what is too deep when reading as well.
    const error = await rejection(run(storeIn(registry)));
    expect(error).toMatchObject({ code });
    expect(registry.lines.filter((line) => /^(?:PUT|PATCH) /.test(line))).toEqual([]);
    expect(registry.lines.filter((line) => line.startsWith('POST '))).toHaveLength(
      code === 'UNAUTHORIZED' ? 0 : 1,
    );
  });

  test('ends the command with exit 3, one error and its side', async () => {
    const registry = await useRegistryDouble({ createRepositories: false });
    await offer('aaa');
    const { code, stderr } = await runFerry(['mirror', source, `oci://${registry.host}/c`], {
      env: { HOME: await tempFolder() },
    });
    expect(code).toBe(3);
    expect(stderr).toContain(`error: \`${registry.host}/c\` takes no uploads`);
    expect(stderr).toContain('does not make repositories by itself');
    expect(stderr.match(/error:/g)).toHaveLength(1);
  });

  test('is asked with two requests, and left without a session', async () => {
    const registry = await useRegistryDouble();
    await offer('aaa');
    await run(storeIn(registry));
    const started = registry.lines.filter((line) => line === `POST /v2/${LEDGER}/blobs/uploads/`);
    const ended = registry.lines.filter((line) => line.startsWith(`DELETE /v2/${LEDGER}/blobs/uploads/`));
    expect(ended).toHaveLength(1);
    expect(started.length).toBeGreaterThan(0);
    expect(registry.openUploads).toBe(0);
    const [first, second] = registry.lines.filter((line) => !/^(?:GET|HEAD) /.test(line));
    expect([first, second]).toEqual([started[0], ended[0]]);
  });

  test('is not asked where there is nothing to upload', async () => {
    const registry = await useRegistryDouble();
    await offer('aaa');
    await run(storeIn(registry));
    registry.reset();
    await run(storeIn(registry));
    expect(registry.lines.filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);
  });
});
