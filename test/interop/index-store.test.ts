import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { packArchiveFile } from '#ferry/artifact/pack.js';
import { listOperations } from '#ferry/artifact/operation-log.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { FerryError } from '#ferry/errors.js';
import { GithubPackages } from '#ferry/registry/github-packages.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { indexChannel } from '#ferry/publish/index-store/index-channel.js';
import { OPERATION_GRACE_MS } from '#ferry/publish/index-store/compact.js';
import type { PatchInstructions } from '#ferry/publish/patch-instructions.js';
import { pushArchives } from '#ferry/publish/push.js';
import { artifactOf, pushArtifact } from '../contracts/artifacts.js';
import { HAS_REAL_CHANNELS, realChannel, FIXTURE_CHANNEL } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { useGhcrDouble } from '../support/double/ghcr.js';
import { openTestClient } from '../support/http.js';
import {
  KINDS,
  killAtEach,
  sceneOf,
  statesOf,
  tickingClock,
  wrappedScene,
  type Kind,
  type Scene,
  type SceneOptions,
} from '../support/publishing.js';
import { mirrorFolder } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { offer, smallConda, smallTarBz2 } from '../support/v1-channel.js';
import { watchedRegistry } from '../support/watched-registry.js';
import { mirrorChannel, workers } from '../support/workers.js';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry({ onDisk: true });
});
afterAll(async () => registry[Symbol.asyncDispose]());

const scene = async (kind: Kind, options?: SceneOptions) => sceneOf(kind, () => registry, options);
const A = smallConda({ name: 'a' });
const A2 = smallConda({ name: 'a', version: '2.0' });
const B = smallTarBz2({ name: 'b' });

/** Every tag of the channel with what it names. */
async function tagsOf({ view }: Scene): Promise<Record<string, string>> {
  const { store } = view();
  const state: Record<string, string> = {};
  for (const name of (await store.registry.repositories()) ?? []) {
    if (!name.startsWith(store.repositoryName('', ''))) continue;
    const repository = store.registry.repository(name);
    for await (const tag of repository.tags())
      state[`${name}:${tag}`] = (await repository.resolve(tag))?.digest ?? '';
  }
  return Object.fromEntries(Object.entries(state).sort());
}

/** Takes an artifact away behind everybody's back. */
async function lose({ view }: Scene, leaf: string, tag: string): Promise<void> {
  const repository = view().store.packageRepository('noarch', { repository: leaf });
  const found = await repository.resolve(tag);
  if (found !== undefined) await repository.delete?.(found);
}

async function forms({ view }: Scene, file: string): Promise<string | undefined> {
  const { reader, path } = view();
  const found = await reader.manifest(`${path}${file}`, 'latest');
  const digest = found?.layers[0]?.digest;
  return digest === undefined ? undefined : String(await reader.blob(`${path}${file}`, digest));
}

describe.each(KINDS)('a channel in %s', (kind) => {
  test('what is stored and not listed comes, and a second run changes nothing', async () => {
    const published = await scene(kind);
    const { push, index, listed, expectSound } = published;
    const clock = tickingClock();
    await push([A], clock);
    await push([A2, B], { storeOnly: true, ...clock });
    const report = await index(clock);
    expect(report.subdirs).toMatchObject([
      {
        subdir: 'noarch',
        role: 'published',
        records: 3,
        added: [A2.filename, B.filename],
        failed: [],
        isChanged: true,
      },
    ]);
    expect(await listed()).toEqual([A.filename, A2.filename, B.filename]);
    await expectSound();
    const before = await tagsOf(published);
    expect(Object.keys(before).length).toBeGreaterThan(3);
    const again = await index(clock);
    expect(again).toMatchObject({
      subdirs: [{ isChanged: false, added: [], rewritten: [] }],
      companions: [],
    });
    expect(await tagsOf(published)).toEqual(before);
  });

  test('records made out of artifacts are those of the push', async () => {
    const published = await scene(kind);
    const { push, index, repodata, expectSound } = published;
    await push([A, A2, B]);
    const before = await repodata();
    await index({ fromArtifacts: true });
    expect(await repodata()).toEqual(before);
    const tags = await tagsOf(published);
    await index({ fromArtifacts: true });
    expect(await tagsOf(published)).toEqual(tags);
    await expectSound();
  });

  test('what was yanked stays so, and a damaged artifact stops nothing', async () => {
    const { push, yank, index, listed, repodata, view } = await scene(kind);
    await push([A, A2]);
    await yank([A.filename]);
    const other = view().store.packageRepository('noarch', { repository: 'odd' });
    await pushArtifact(other, artifactOf('no package'), ['1.0-0']);
    const report = await index();
    expect(report.subdirs).toMatchObject([{ records: 1, failed: [] }]);
    expect(await listed()).toEqual([A2.filename]);
    expect((await repodata()).removed).toEqual([A.filename]);
  });
});

describe('what is gone', () => {
  test('is no longer listed, in no file, and comes back with the time it had', async () => {
    const published = await scene('memory');
    const { push, index, listed, repodata, expectSound } = published;
    const clock = tickingClock();
    await push([A, A2, B], clock);
    await index(clock);
    const before = (await repodata())['packages.conda'][A2.filename];
    await lose(published, 'a', '2.0-0');
    const report = await index(clock);
    expect(report.subdirs).toMatchObject([{ dropped: [A2.filename], records: 2 }]);
    for (const file of ['current_repodata.json', 'run_exports.json'])
      expect(await forms(published, `noarch/${file}`)).not.toContain(A2.filename);
    await expectSound();
    expect(statesOf(await push([A2], clock))).toEqual({ [A2.filename]: 'added' });
    expect((await repodata())['packages.conda'][A2.filename]).toEqual(before);
    expect(await listed()).toHaveLength(3);
    await expectSound();
  });

  test('other bytes under the tag than those that are listed are listed', async () => {
    const { push, index, repodata, view, files, expectSound } = await scene('memory');
    const other = smallConda({ name: 'a', payload: 'other\n' });
    await push([A]);
    const [path = ''] = await files(other);
    await packArchiveFile(path, { store: view().store, workers, replace: true });
    const report = await index();
    expect(report.subdirs).toMatchObject([{ added: [A.filename], dropped: [A.filename], records: 1 }]);
    expect((await repodata())['packages.conda'][A.filename]?.size).toBe(other.bytes.byteLength);
    await expectSound();
  });

  test('an archive whose index cannot be used is reported, and the others are listed', async () => {
    const published = await scene('memory');
    const { push, index, listed, view } = published;
    await push([A, B], { storeOnly: true });
    const { store } = view();
    // Under the tag of another version.
    const repository = store.packageRepository('noarch', { repository: 'a' });
    const found = await repository.resolve('1.0-0');
    if (found !== undefined) await repository.tag(found, '3.0-0');
    const report = await index();
    expect(report.subdirs[0]?.failed).toMatchObject([
      { filename: 'a-3.0-0.conda', error: { code: 'ARCHIVE_INDEX_MISMATCH' } },
    ]);
    expect(await listed()).toEqual([A.filename, B.filename]);
  });
});

describe('patches', () => {
  const patched = (instructions: PatchInstructions) => ({ patches: () => instructions });

  test('are applied, remembered, changed and taken back; what is pushed later gets them with the next index', async () => {
    const published = await scene('image layouts');
    const { push, index, repodata, expectSound } = published;
    await push([A, B]);
    const unpatched = await repodata();
    const first = await index(
      patched({ packages: { [B.filename]: { depends: ['x >=1'], indexed_timestamp: 1 } } }),
    );
    expect(first.subdirs[0]?.rewritten).toEqual([B.filename]);
    expect((await repodata()).packages[B.filename]).toEqual({
      ...unpatched.packages[B.filename],
      depends: ['x >=1'],
    });
    await push([A2]);
    expect((await index()).subdirs[0]?.rewritten).toEqual([]);
    expect((await repodata()).packages[B.filename]?.['depends']).toEqual(['x >=1']);
    const tags = await tagsOf(published);
    await index();
    expect(await tagsOf(published)).toEqual(tags);
    await index(patched({ 'packages.conda': { [A2.filename]: { license: 'MIT' } } }));
    expect((await repodata()).packages[B.filename]).toEqual(unpatched.packages[B.filename]);
    expect((await repodata())['packages.conda'][A2.filename]?.['license']).toBe('MIT');
    expect(JSON.parse((await forms(published, 'noarch/repodata_from_packages.json')) ?? '')).toMatchObject({
      packages: unpatched.packages,
    });
    await expectSound();
    await index(patched({}));
    expect((await repodata()).packages).toEqual(unpatched.packages);
    await expectSound();
  });

  test('what they remove is yanked, and listed again once they no longer do', async () => {
    const { push, index, repodata, listed, expectSound } = await scene('memory');
    await push([A, A2]);
    const before = await repodata();
    await index(patched({ remove: [A.filename] }));
    expect([await listed(), (await repodata()).removed]).toEqual([[A2.filename], [A.filename]]);
    await expectSound();
    await index();
    expect(await listed()).toEqual([A2.filename]);
    await index(patched({}));
    expect(await repodata()).toEqual(before);
    await expectSound();
  });

  test('what somebody yanked besides stays so', async () => {
    const { push, yank, index, listed } = await scene('memory');
    await push([A, A2]);
    await index(patched({ remove: [A.filename] }));
    expect((await yank([A.filename])).unchanged).toHaveLength(1);
    await index(patched({}));
    expect(await listed()).toEqual([A2.filename]);
    await yank([A.filename], { undo: true });
    await index();
    expect(await listed()).toEqual([A.filename, A2.filename]);
  });

  test('records made anew are patched again', async () => {
    const { push, index, repodata } = await scene('memory');
    await push([A]);
    await index(patched({ 'packages.conda': { [A.filename]: { license: 'MIT' } } }));
    const before = await repodata();
    await index({ fromArtifacts: true });
    expect(await repodata()).toEqual(before);
  });
});

describe('the log', () => {
  const operationsOf = async ({ view }: Scene): Promise<number> =>
    (await listOperations(view().store, 'noarch')).length;

  test('is compacted once its operations are old enough, but for what undoes a yank', async () => {
    const published = await scene('memory');
    const { push, yank, index, repodata, expectSound } = published;
    const clock = tickingClock();
    await push([A], clock);
    await push([A2], clock);
    const before = await repodata();
    await yank([A.filename], clock);
    expect((await index(clock)).subdirs).toMatchObject([{ compacted: 0 }]);
    expect(await operationsOf(published)).toBe(3);
    clock.skip(OPERATION_GRACE_MS);
    expect((await index(clock)).subdirs).toMatchObject([{ compacted: 2 }]);
    expect(await operationsOf(published)).toBe(1);
    expect((await readLedger(published.view().store, 'noarch'))?.epoch?.number).toBeGreaterThan(0);
    await yank([A.filename], { undo: true, ...clock });
    expect(await repodata()).toEqual(before);
    clock.skip(2 * OPERATION_GRACE_MS);
    await index(clock);
    expect(await operationsOf(published)).toBe(0);
    expect(await repodata()).toEqual(before);
    await expectSound();
  });

  test('an older state that is written over a compacted one loses nothing', async () => {
    const published = await scene('memory');
    const { push, index, listed, view, expectSound } = published;
    const clock = tickingClock();
    await push([A], clock);
    const latest = view().store.metadataRepository('noarch', 'repodata.json');
    const old = await latest.resolve('latest');
    await push([A2], clock);
    await index(clock);
    clock.skip(2 * OPERATION_GRACE_MS);
    await index(clock);
    expect(await operationsOf(published)).toBe(0);
    if (old !== undefined) await latest.tag(old, 'latest');
    expect(await listed()).toEqual([A.filename]);
    await push([B], clock);
    expect(await listed()).toEqual([A.filename, A2.filename, B.filename]);
    if (old !== undefined) await latest.tag(old, 'latest');
    await index(clock);
    expect(await listed()).toEqual([A.filename, A2.filename, B.filename]);
    await expectSound();
  });

  test('a registry that deletes nothing is compacted into one generation, not into one with each index', async () => {
    const published = await wrappedScene((inner) =>
      watchedRegistry(inner, {
        before: ({ verb }) => {
          if (verb === 'delete' || verb === 'untag') throw new FerryError('UNSUPPORTED', 'no deletion');
        },
      }),
    );
    const { push, index, listed } = published;
    const clock = tickingClock();
    await push([A], clock);
    clock.skip(2 * OPERATION_GRACE_MS);
    await index(clock);
    const before = await tagsOf(published);
    expect((await index(clock)).subdirs).toMatchObject([{ isChanged: false, compacted: 0 }]);
    expect(await tagsOf(published)).toEqual(before);
    expect(await listed()).toEqual([A.filename]);
  });
});

describe('which subdirs and files', () => {
  const LINUX = smallConda({ name: 'c' }, 'linux-64');

  test('all that the channel has, or those asked for, then without what speaks of the whole channel', async () => {
    const { push, index } = await scene('memory');
    await push([A, LINUX]);
    const some = await index({ subdirs: ['linux-64'] });
    expect(some.subdirs.map(({ subdir }) => subdir)).toEqual(['linux-64']);
    expect(some.companions).toEqual(['linux-64/run_exports.json', 'linux-64/current_repodata.json']);
    const all = await index();
    expect(all.subdirs.map(({ subdir }) => subdir)).toEqual(['linux-64', 'noarch']);
    expect(all.companions).toContain('channeldata.json');
    await expect(index({ subdirs: ['nowhere!'] })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('without companions none is written', async () => {
    const published = await scene('memory');
    await published.push([A]);
    expect((await published.index({ companions: false })).companions).toEqual([]);
    expect(await forms(published, 'noarch/current_repodata.json')).toBeUndefined();
  });

  test('nothing there is an error', async () => {
    const { index } = await scene('memory');
    await expect(index()).rejects.toMatchObject({ code: 'CHANNEL_NOT_FOUND' });
  });

  test('a store that does not tell its repositories is asked for what is listed, and for names', async () => {
    const published = await wrappedScene((inner) =>
      Object.assign(Object.create(inner) as typeof inner, {
        repositories: () => Promise.resolve(undefined),
        repository: (name: string) => inner.repository(name),
      }),
    );
    const { push, index, listed } = published;
    await push([A]);
    await push([A2, B], { storeOnly: true });
    const warnings: string[] = [];
    await index({ reporter: { warning: (message) => warnings.push(message) } });
    expect(await listed()).toEqual([A.filename, A2.filename]);
    expect(warnings).toEqual([expect.stringContaining('--names') as string]);
    await index({ names: ['b', 'nothing-like-it'] });
    expect(await listed()).toEqual([A.filename, A2.filename, B.filename]);
  });

  test('v1/N4: names whose repositories are hashed are found by name too', async () => {
    const published = await wrappedScene(
      (inner) =>
        Object.assign(Object.create(inner) as typeof inner, {
          repositories: () => Promise.resolve(undefined),
          repository: (name: string) => inner.repository(name),
        }),
      schemaV1,
    );
    const long = smallConda({ name: 'l', version: `1${'.1'.repeat(31)}`, build: 'b_'.repeat(32) });
    await published.push([A]);
    await published.push([long], { storeOnly: true });
    await published.index({ names: ['l'] });
    expect(await published.listed()).toEqual([A.filename, long.filename].sort());
    await published.expectSound();
  });

  test('on GHCR the API tells what is stored', async () => {
    const owner = { username: 'owner', password: 'ghp_owner', owners: ['org'] } as const;
    const ghcr = await useGhcrDouble({ users: [owner] });
    const open = (withToken: boolean): ChannelStore => {
      const { send } = openTestClient({ findCredential: () => Promise.resolve({ kind: 'basic', ...owner }) });
      const api = openTestClient({
        findChannelCredential: () =>
          Promise.resolve(withToken ? { kind: 'bearer', token: owner.password } : undefined),
      });
      const githubPackages = new GithubPackages({ send: api.send, owner: 'org', apiUrl: ghcr.apiUrl });
      const profile = { ...profileOf('ghcr.io'), requestsPerMinute: undefined };
      return new ChannelStore(
        new RegistryClient({ host: ghcr.host, send, profile, githubPackages }),
        'org/ch',
        schemaV0,
      );
    };
    const { files } = await scene('memory');
    await pushArchives({ store: open(true), workers, archives: await files(A) });
    await pushArchives({ store: open(true), workers, archives: await files(B), storeOnly: true });
    const warnings: string[] = [];
    const reporter = { warning: (message: string) => warnings.push(message) };
    const blind = await indexChannel({ store: open(false), workers, reporter });
    expect(blind.subdirs).toMatchObject([{ records: 1, added: [] }]);
    expect(warnings).toHaveLength(1);
    const seeing = await indexChannel({ store: open(true), workers, reporter });
    expect(seeing.subdirs).toMatchObject([{ records: 2, added: [B.filename] }]);
    expect(warnings).toHaveLength(1);
  });
});

describe('what others made', () => {
  async function mirrored(kind: Kind, folder: string): Promise<Scene> {
    const published = await scene(kind);
    await mirrorFolder(folder, published.view());
    return published;
  }

  test.each(['image layouts', 'docker-registry'] as const)('a mirror in %s stays as it is', async (kind) => {
    const published = await mirrored(kind, FIXTURE_CHANNEL);
    const before = await tagsOf(published);
    const report = await published.index();
    expect(report.subdirs.map(({ role, isChanged }) => [role, isChanged])).toEqual(
      report.subdirs.map(() => ['mirror', false]),
    );
    expect(report.companions).toEqual([]);
    expect(await tagsOf(published)).toEqual(before);
    await expect(published.index({ fromArtifacts: true })).rejects.toMatchObject({ code: 'ROLE_MISMATCH' });
    expect(await tagsOf(published)).toEqual(before);
  });

  test('what is missing in a mirror goes off its list, and the next run brings it back', async () => {
    const source = await tempFolder();
    await offer(source, A, A2);
    const published = await mirrored('memory', source);
    await lose(published, 'a', '2.0-0');
    expect((await published.index()).subdirs).toMatchObject([{ dropped: [A2.filename], role: 'mirror' }]);
    expect(await published.listed()).toEqual([A.filename]);
    await mirrorChannel({ source: new DirectoryChannel(source), destination: published.view().store });
    expect(await published.listed()).toEqual([A.filename, A2.filename]);
    await published.expectSound();
  });

  test('the channel of another tool is told of, and taken over only by force', async () => {
    const source = await tempFolder();
    await offer(source, A);
    const published = await mirrored('memory', source);
    const ledger = published.view().store.metadataRepository('noarch', 'ledger');
    const found = await ledger.resolve('latest');
    if (found !== undefined) await ledger.delete?.(found);
    const { push, index, listed, view, files } = published;
    await expect(push([A2])).rejects.toMatchObject({ code: 'ROLE_MISMATCH' });
    const [path = ''] = await files(A2);
    await packArchiveFile(path, { store: view().store, workers });
    const warnings: string[] = [];
    const report = await index({ reporter: { warning: (message) => warnings.push(message) } });
    expect(report.subdirs).toMatchObject([{ role: undefined, isChanged: false }]);
    expect(warnings).toEqual([expect.stringContaining('another tool') as string]);
    await index({ force: true });
    expect(await listed()).toEqual([A.filename, A2.filename]);
    expect((await readLedger(view().store, 'noarch'))?.role).toEqual({ kind: 'published' });
    await published.expectSound();
  });

  test.runIf(HAS_REAL_CHANNELS)(
    'a mirror of a real channel stays as it is, and made anew says the same',
    async () => {
      const published = await mirrored('image layouts', realChannel('test-recipes'));
      const before = await tagsOf(published);
      await published.index();
      expect(await tagsOf(published)).toEqual(before);
      const subdirs = (await published.index()).subdirs.map(({ subdir }) => subdir);
      const records = async () => Promise.all(subdirs.map((subdir) => published.repodata(subdir)));
      const listed = await records();
      const report = await published.index({ fromArtifacts: true, force: true });
      expect(report.subdirs.flatMap(({ failed }) => failed)).toEqual([]);
      expect(await records()).toEqual(listed);
      const texts = await Promise.all(subdirs.map((subdir) => published.text(subdir)));
      await published.index({ fromArtifacts: true, force: true });
      expect(await Promise.all(subdirs.map((subdir) => published.text(subdir)))).toEqual(texts);
    },
  );
});

test('killed anywhere, what is listed is there, and the next index does the rest', async () => {
  const clock = tickingClock();
  const patches = () => ({ remove: [B.filename], 'packages.conda': { [A2.filename]: { license: 'MIT' } } });
  const C = smallConda({ name: 'c' });
  const writes = await killAtEach(
    async (published) => {
      await published.push([A, A2, B], clock);
      await published.push([C], { storeOnly: true, ...clock });
      await lose(published, 'a', '1.0-0');
      clock.skip(2 * OPERATION_GRACE_MS);
    },
    ({ index }) => index({ patches, ...clock }),
    async ({ index, listed, repodata }) => {
      await index({ patches, ...clock });
      expect(await listed()).toEqual([A2.filename, C.filename]);
      expect((await repodata())['packages.conda'][A2.filename]?.['license']).toBe('MIT');
      expect((await repodata()).removed).toEqual([B.filename]);
    },
    false,
  );
  expect(writes).toBeGreaterThan(20);
});

test('a tag that is there and not in the list of tags yet does not cost its record', async () => {
  let isStale = false;
  const published = await wrappedScene((inner) =>
    Object.assign(Object.create(inner) as typeof inner, {
      repositories: () => inner.repositories(),
      repository: (name: string) => {
        const repository = inner.repository(name);
        const stale = new Proxy(repository, {
          get: (target, key) => {
            const value: unknown = Reflect.get(target, key, target);
            if (key === 'tags' && isStale && name.endsWith('/a')) return async function* () {};
            return typeof value === 'function' ? (value.bind(target) as unknown) : value;
          },
        });
        return stale;
      },
    }),
  );
  await published.push([A, B]);
  isStale = true;
  expect((await published.index()).subdirs).toMatchObject([{ dropped: [], records: 2 }]);
});
