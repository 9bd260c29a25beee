import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readLedger } from '#ferry/artifact/ledger.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { FerryError } from '#ferry/errors.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { pushArchives } from '#ferry/publish/push.js';
import expected from '../../fixtures/malformed/expected.json' with { type: 'json' };
import { FIXTURE_CHANNEL, MALFORMED_CHANNEL } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import {
  KINDS,
  sceneOf,
  statesOf,
  tickingClock,
  killAtEach,
  wrappedScene,
  type Kind,
  type SceneOptions,
} from '../support/publishing.js';
import { mirrorFolder, writesOf } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { LONG_NAME, offer, smallConda, smallTarBz2, type BuiltArchive } from '../support/v1-channel.js';
import { watchedRegistry, type Write } from '../support/watched-registry.js';
import { workers } from '../support/workers.js';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry({ onDisk: true });
});
afterAll(async () => registry[Symbol.asyncDispose]());

const scene = async (kind: Kind, options?: SceneOptions) => sceneOf(kind, () => registry, options);
const CONDA = smallConda();
const OTHER = smallConda({ payload: 'other\n' });
const TAR_BZ2 = smallTarBz2();
const sha256Of = ({ bytes }: BuiltArchive): string => digestHex(digestOf(bytes));

describe.each(KINDS)('a channel in %s', (kind) => {
  test('what is pushed is listed, with when, and a new channel has its noarch', async () => {
    const { push, listed, repodata, expectSound, view } = await scene(kind);
    const linux = smallConda({ name: 'native' }, 'linux-64');
    const clock = tickingClock();
    const report = await push([linux], clock);
    expect(statesOf(report)).toEqual({ [linux.filename]: 'added' });
    expect(report.subdirs).toMatchObject([{ subdir: 'linux-64', records: 1 }]);
    expect(await listed('linux-64')).toEqual([linux.filename]);
    expect(await listed('noarch')).toEqual([]);
    const record = (await repodata('linux-64'))['packages.conda'][linux.filename];
    expect(record?.indexed_timestamp).toBeGreaterThanOrEqual(Date.parse('2026-11-21T08:00:00Z'));
    expect(record?.indexed_timestamp).toBeLessThan(clock.now().getTime());
    expect((await readLedger(view().store, 'linux-64'))?.role).toEqual({ kind: 'published' });
    await expectSound('linux-64', 'noarch');
  });

  test('v0/K4: clients find the shims that they ask for', async () => {
    const { push, view } = await scene(kind);
    await push([CONDA]);
    const { store } = view();
    const shim = store.packageRepository('noarch', { repository: 'repodata_shards.msgpack.zst' });
    expect(await shim.resolve('shim')).toBeDefined();
  });

  test('what is listed with the same bytes is skipped, and nothing is written', async () => {
    const { push, view, files, text } = await scene(kind);
    await push([CONDA, TAR_BZ2]);
    const before = await text();
    const again = view();
    const archives = await files(CONDA, TAR_BZ2);
    const report = await pushArchives({ store: again.store, workers, archives });
    expect(statesOf(report)).toEqual({ [CONDA.filename]: 'there', [TAR_BZ2.filename]: 'there' });
    expect(report.published.map(({ manifest }) => manifest)).toEqual([undefined, undefined]);
    expect(writesOf(again)).toEqual([]);
    expect(await text()).toBe(before);
  });

  test('other bytes of a name are refused, and the rest goes on', async () => {
    const { push, repodata, expectSound } = await scene(kind);
    await push([CONDA]);
    const report = await push([OTHER, smallConda({ build: '1' })]);
    expect(statesOf(report)).toEqual({ [OTHER.filename]: 'ARCHIVE_EXISTS', 'hello-1.0-1.conda': 'added' });
    expect(report.failed[0]?.error.hint).toContain('--replace');
    expect((await repodata())['packages.conda'][CONDA.filename]?.sha256).toBe(sha256Of(CONDA));
    await expectSound();
  });

  test('with replace other bytes take the place, whatever stood beside them', async () => {
    const { push, repodata, expectSound, listed } = await scene(kind);
    await push([CONDA, TAR_BZ2]);
    const report = await push([OTHER], { replace: true });
    expect(statesOf(report)).toEqual({ [OTHER.filename]: 'replaced' });
    expect((await repodata())['packages.conda'][CONDA.filename]?.sha256).toBe(sha256Of(OTHER));
    expect(await listed()).toEqual([OTHER.filename, TAR_BZ2.filename].sort());
    await expectSound();
  });

  test.each([
    ['the .conda last', [TAR_BZ2, CONDA]],
    ['the .tar.bz2 last', [CONDA, TAR_BZ2]],
  ])('twins make the same artifact, %s', async (_, order) => {
    const { push, expectSound, view } = await scene(kind);
    for (const archive of order) await push([archive]);
    const together = await scene('memory');
    await together.push([TAR_BZ2, CONDA]);
    const digestIn = async ({ store }: ReturnType<typeof view>): Promise<string | undefined> =>
      (await store.packageRepository('noarch', { repository: 'hello' }).resolve('1.0-0'))?.digest;
    expect(await digestIn(view())).toBe(await digestIn(together.view()));
    await expectSound();
  });

  test('annotations go onto the artifacts, and a twin without any keeps them', async () => {
    const { push, view, expectSound } = await scene(kind);
    const annotations = { 'org.opencontainers.image.source': 'https://github.com/me/recipes' };
    await push([CONDA], { annotations });
    await push([TAR_BZ2]);
    const { reader, path } = view();
    expect(await reader.manifest(`${path}noarch/hello`, '1.0-0')).toMatchObject({ annotations });
    await expectSound();
  });

  test('a dry run says what would be done, and writes nothing', async () => {
    const { push, view, files, listed } = await scene(kind);
    await push([CONDA]);
    const dry = view();
    const archives = await files(OTHER, smallConda({ build: '1' }), TAR_BZ2);
    const report = await pushArchives({ store: dry.store, workers, archives, dryRun: true });
    expect(statesOf(report)).toEqual({
      [OTHER.filename]: 'ARCHIVE_EXISTS',
      'hello-1.0-1.conda': 'added',
      [TAR_BZ2.filename]: 'added',
    });
    expect(writesOf(dry).length).toBe(0);
    expect(await listed()).toEqual([CONDA.filename]);
    const replaced = await push([OTHER], { dryRun: true, replace: true });
    expect(statesOf(replaced)).toEqual({ [OTHER.filename]: 'replaced' });
  });

  test('stored only, it is listed by the next index', async () => {
    const { push, index, listed, view, expectSound } = await scene(kind);
    expect(statesOf(await push([CONDA], { storeOnly: true, dryRun: true }))).toEqual({
      [CONDA.filename]: 'stored',
    });
    const report = await push([CONDA], { storeOnly: true });
    expect(statesOf(report)).toEqual({ [CONDA.filename]: 'stored' });
    expect(report.subdirs).toEqual([]);
    expect(
      await view().store.metadataRepository('noarch', 'repodata.json').resolve('latest'),
    ).toBeUndefined();
    expect((await index()).subdirs).toMatchObject([{ added: [CONDA.filename] }]);
    expect(await listed()).toEqual([CONDA.filename]);
    expect(statesOf(await push([OTHER], { storeOnly: true, replace: true }))).toEqual({
      [OTHER.filename]: 'ARCHIVE_EXISTS',
    });
    await expectSound();
  });

  test('a label is a channel of its own', async () => {
    const { push, listed, expectSound, view } = await scene(kind, { label: 'dev' });
    await push([CONDA]);
    expect(await listed()).toEqual([CONDA.filename]);
    expect(view().store.path).toMatch(/dev$/);
    await expectSound();
  });

  test('a mirror is not published to, unless forced; what is pushed then stays out of its way', async () => {
    const { push, view, listed } = await scene(kind);
    const source = await tempFolder();
    await offer(source, CONDA);
    await mirrorFolder(source, view());
    const another = smallConda({ name: 'mine' });
    await expect(push([another])).rejects.toMatchObject({ code: 'ROLE_MISMATCH' });
    expect(statesOf(await push([another], { force: true }))).toEqual({ [another.filename]: 'added' });
    expect(await listed()).toEqual([CONDA.filename, another.filename].sort());
    expect((await readLedger(view().store, 'noarch'))?.role).toMatchObject({ kind: 'mirror' });
  });

  test('a channel that another tool made is not published to, unless forced', async () => {
    const { push, view, listed, expectSound } = await scene(kind);
    const source = await tempFolder();
    await offer(source, CONDA);
    await mirrorFolder(source, view());
    const { store } = view();
    const ledger = store.metadataRepository('noarch', 'ledger');
    const found = await ledger.resolve('latest');
    if (kind === 'docker-registry') return;
    if (found !== undefined) await ledger.delete?.(found);
    const another = smallConda({ name: 'mine' });
    await expect(push([another])).rejects.toMatchObject({ code: 'ROLE_MISMATCH' });
    await push([another], { force: true });
    expect(await listed()).toEqual([CONDA.filename, another.filename].sort());
    expect((await readLedger(view().store, 'noarch'))?.role).toEqual({ kind: 'published' });
    await expectSound();
  });
});

describe('time of the first indexing', () => {
  const timeOf = async ({ repodata }: Awaited<ReturnType<typeof scene>>): Promise<number | undefined> =>
    (await repodata())['packages.conda'][CONDA.filename]?.indexed_timestamp;

  test('cep47/kept: the same bytes keep it over yank, undo, another push and index', async () => {
    const published = await scene('memory');
    const { push, yank, index } = published;
    const clock = tickingClock();
    await push([CONDA], clock);
    const first = await timeOf(published);
    await push([CONDA], clock);
    await yank([CONDA.filename], clock);
    await yank([CONDA.filename], { undo: true, ...clock });
    expect(await timeOf(published)).toBe(first);
    await yank([CONDA.filename], clock);
    expect(statesOf(await push([CONDA], clock))).toEqual({ [CONDA.filename]: 'ARCHIVE_REMOVED' });
    expect(statesOf(await push([CONDA], { replace: true, ...clock }))).toEqual({ [CONDA.filename]: 'added' });
    expect(await timeOf(published)).toBe(first);
    await index(clock);
    await index({ fromArtifacts: true, ...clock });
    expect(await timeOf(published)).toBe(first);
  });

  test('cep47/kept: bytes that come back in the place of others have theirs again, others have their own', async () => {
    const published = await scene('memory');
    const { push } = published;
    const clock = tickingClock();
    await push([CONDA], clock);
    const first = await timeOf(published);
    await push([OTHER], { replace: true, ...clock });
    const second = await timeOf(published);
    expect(second).toBeGreaterThan(first ?? 0);
    await push([CONDA], { replace: true, ...clock });
    expect(await timeOf(published)).toBe(first);
  });
});

describe('schema v1', () => {
  const v1 = { schema: schemaV1 };

  test('names too long for a repository or tag are hashed, and all is well', async () => {
    const { push, listed, expectSound } = await scene('image layouts', v1);
    // Escaped, the tag is longer than tags may be.
    const long = smallConda({ name: LONG_NAME, version: `1${'.1'.repeat(31)}`, build: 'b_'.repeat(32) });
    const plain = smallConda({ version: '1!2.0+x', build: 'py_0' });
    const report = await push([long, plain], { annotations: { 'com.example.team': 'x' } });
    expect(report.failed).toEqual([]);
    expect(await listed()).toEqual([long.filename, plain.filename].sort());
    await expectSound();
  });

  test('v1/P6: a .tar.bz2 has no place beside its .conda, whichever way it comes', async () => {
    const { push, listed, expectSound } = await scene('memory', v1);
    const both = { [CONDA.filename]: 'added', [TAR_BZ2.filename]: 'TWIN_UNREPRESENTABLE' };
    expect(statesOf(await push([TAR_BZ2, CONDA], { dryRun: true }))).toEqual(both);
    expect(statesOf(await push([TAR_BZ2, CONDA]))).toEqual(both);
    expect(statesOf(await push([TAR_BZ2], { replace: true }))).toEqual({
      [TAR_BZ2.filename]: 'TWIN_UNREPRESENTABLE',
    });
    expect(await listed()).toEqual([CONDA.filename]);
    await expectSound();
  });

  test('v1/P6: a .conda takes the place of its .tar.bz2 only if it is told to', async () => {
    const { push, listed, expectSound } = await scene('memory', v1);
    await push([TAR_BZ2]);
    expect(statesOf(await push([CONDA]))).toEqual({ [CONDA.filename]: 'TWIN_UNREPRESENTABLE' });
    expect(await listed()).toEqual([TAR_BZ2.filename]);
    await expectSound();
    expect(statesOf(await push([CONDA], { replace: true }))).toEqual({ [CONDA.filename]: 'added' });
    expect(await listed()).toEqual([CONDA.filename]);
    await expectSound();
  });

  test('v1/B14: where a channel of the other schema stands, nothing is published', async () => {
    const { view, push, files } = await scene('image layouts');
    await push([CONDA]);
    const { store } = view();
    const { ChannelStore } = await import('#ferry/artifact/channel-store.js');
    const other = new ChannelStore(store.registry, store.path, schemaV1);
    await expect(pushArchives({ store: other, workers, archives: await files(CONDA) })).rejects.toMatchObject(
      { code: 'SCHEMA_CONFLICT' },
    );
  });
});

describe('archives', () => {
  test('bad ones are refused, each by its code, nothing of them is published, and the good ones are', async () => {
    const { view, listed, files, expectSound } = await scene('memory');
    const codes = Object.entries(expected).filter(
      ([path, { code }]) => path.startsWith('linux-64/') && code !== 'DIGEST_MISMATCH',
    );
    const quick = codes.filter(([path]) => !path.includes('bomb'));
    const bad = quick.map(([path]) => join(MALFORMED_CHANNEL, path));
    const good = smallConda({ name: 'good' }, 'linux-64');
    const { store } = view();
    const report = await pushArchives({ store, workers, archives: [...bad, ...(await files(good))] });
    expect(report.published.map(({ filename }) => filename)).toContain(good.filename);
    const isOtherSubdir = (path: string): boolean => /-(?:other-subdir|noarch-subdir)-/.test(path);
    const wanted = quick.filter(([path]) => !isOtherSubdir(path)).map(([path, { code }]) => [path, code]);
    const failed = new Map(report.failed.map(({ filename, error }) => [filename, error.code]));
    expect(wanted.map(([path = '']) => [path, failed.get(path.replace('linux-64/', ''))])).toEqual(wanted);
    const others = quick.map(([path]) => path.replace('linux-64/', '')).filter(isOtherSubdir);
    // Nobody said where they belong but they themselves.
    expect(await listed('linux-64')).toEqual([good.filename]);
    for (const filename of others) expect(failed.has(filename)).toBe(false);
    await expectSound('linux-64', 'noarch', 'osx-arm64');
  });

  test('one that breaks a rule is refused with what it breaks', async () => {
    const { push } = await scene('memory');
    const faulty = smallConda({ name: 'Upper' });
    const [failure] = (await push([faulty])).failed;
    expect(failure?.error.code).toMatch(/ARCHIVE_FAULTY|NAME_UNREPRESENTABLE|RECORD_INVALID/);
  });

  test('of one name given twice the same bytes count once, and other bytes are refused', async () => {
    const { files, view, listed } = await scene('memory');
    const [first = ''] = await files(CONDA);
    const [second = ''] = await files(CONDA);
    const [third = ''] = await files(OTHER);
    const done: number[] = [];
    const report = await pushArchives({
      store: view().store,
      workers,
      archives: [first, first, second, third],
      concurrency: 1,
      reporter: { planned: (archives) => done.push(archives), done: () => done.push(1) },
    });
    expect(statesOf({ ...report, failed: [] })).toEqual({ [CONDA.filename]: 'added' });
    expect(report.failed).toMatchObject([{ path: third, error: { code: 'ARCHIVE_EXISTS' } }]);
    expect(done).toEqual([3, 1, 1, 1]);
    expect(await listed()).toEqual([CONDA.filename]);
  });

  test('a file that is gone, a folder, and what is no archive fail alone', async () => {
    const { view, folder, files } = await scene('memory');
    const [good = ''] = await files(CONDA);
    const archives = [join(folder, 'gone-1-0.conda'), join(folder, 'notes.txt'), good];
    const report = await pushArchives({ store: view().store, workers, archives });
    expect(statesOf(report)).toEqual({
      'gone-1-0.conda': 'NOT_FOUND',
      'notes.txt': 'RECORD_INVALID',
      [CONDA.filename]: 'added',
    });
  });

  test('the fixture channel goes in whole, twins and all, and comes out sound', async () => {
    const { view, expectSound, listed } = await scene('image layouts');
    const subdirs = ['linux-64', 'noarch', 'osx-arm64'];
    const archives: string[] = [];
    for (const subdir of subdirs)
      for (const name of await readdir(join(FIXTURE_CHANNEL, subdir)))
        if (/\.(?:conda|tar\.bz2)$/.test(name)) archives.push(join(FIXTURE_CHANNEL, subdir, name));
    const report = await pushArchives({ store: view().store, workers, archives });
    const refused = report.failed.map(({ filename, error }) => `${filename} ${error.code}`);
    expect(refused).toEqual([]);
    expect((await listed('noarch')).length).toBe(4);
    await expectSound(...subdirs);
  });
});

test('what nobody may write to is told of once, and before anything is sent', async () => {
  const { view, files } = await sceneOf('docker-registry', () => registry);
  const { store, requests } = view();
  const refusal = new FerryError('DENIED', 'no', { hint: 'log in' });
  store.metadataRepository('noarch', 'ledger').checkPush = () => Promise.reject(refusal);
  const archives = await files(CONDA, smallConda({ name: 'more' }));
  await expect(pushArchives({ store, workers, archives })).rejects.toMatchObject({
    code: 'DENIED',
    hint: 'log in',
    cause: refusal,
  });
  expect(requests.filter((request) => !/^(?:GET|HEAD) /.test(request))).toEqual([]);
});

describe('somebody else at the same moment', () => {
  /** Does something once, right after the first write to a package. */
  const meanwhile = (work: () => Promise<unknown>) => {
    let isDone = false;
    return async ({ repository }: Write): Promise<void> => {
      if (isDone || !repository.endsWith('/hello')) return;
      isDone = true;
      await work();
    };
  };

  test.each([
    ['the .conda', TAR_BZ2, CONDA],
    ['the .tar.bz2', CONDA, TAR_BZ2],
  ])('a twin that was pushed between look and write keeps its layer: %s', async (_, slow, fast) => {
    let watcher: (write: Write) => Promise<void> = () => Promise.resolve();
    const { push, view, files, expectSound, listed } = await wrappedScene((inner) =>
      watchedRegistry(inner, { after: (write) => watcher(write) }),
    );
    const other = view();
    const archives = await files(fast);
    watcher = meanwhile(() => pushArchives({ store: other.store, workers, archives }));
    expect(statesOf(await push([slow]))).toEqual({ [slow.filename]: 'added' });
    expect((await listed()).length).toBe(2);
    await expectSound();
  });

  test('of two with other bytes one is listed, and stands under the tag', async () => {
    let watcher: (write: Write) => Promise<void> = () => Promise.resolve();
    const { push, view, files, expectSound, repodata } = await wrappedScene((inner) =>
      watchedRegistry(inner, { after: (write) => watcher(write) }),
    );
    const other = view();
    const archives = await files(OTHER);
    watcher = meanwhile(() => pushArchives({ store: other.store, workers, archives }));
    expect(statesOf(await push([CONDA]))).toEqual({ [CONDA.filename]: 'ARCHIVE_EXISTS' });
    expect((await repodata())['packages.conda'][CONDA.filename]?.sha256).toBe(sha256Of(OTHER));
    await expectSound();
  });
});

describe('a writer that is killed', () => {
  test('anywhere in a first push, the same push completes it', async () => {
    const archives = [CONDA, TAR_BZ2];
    const writes = await killAtEach(
      () => Promise.resolve(),
      ({ push }) => push(archives),
      async ({ push, listed }) => {
        expect((await push(archives)).failed).toEqual([]);
        expect(await listed()).toEqual(archives.map(({ filename }) => filename).sort());
      },
    );
    expect(writes).toBeGreaterThan(10);
  });

  test('anywhere in a replacement, tag, layer and record agree, and the same push completes it', async () => {
    const writes = await killAtEach(
      ({ push }) => push([CONDA, TAR_BZ2]),
      ({ push }) => push([OTHER], { replace: true }),
      async ({ push, repodata, listed }) => {
        expect((await push([OTHER], { replace: true })).failed).toEqual([]);
        expect((await repodata())['packages.conda'][OTHER.filename]?.sha256).toBe(sha256Of(OTHER));
        expect((await listed()).length).toBe(2);
      },
    );
    expect(writes).toBeGreaterThan(8);
  });

  test('anywhere in a replacement, the next index lists what is stored', async () => {
    const clock = tickingClock();
    await killAtEach(
      ({ push }) => push([CONDA], clock),
      ({ push }) => push([OTHER], { replace: true, ...clock }),
      async ({ index, listed }) => {
        clock.skip(2 * 60 * 60 * 1000);
        await index(clock);
        expect(await listed()).toEqual([CONDA.filename]);
      },
    );
  });

  test('anywhere in a yank or its undoing, the same again completes it', async () => {
    await killAtEach(
      ({ push }) => push([CONDA, TAR_BZ2]),
      ({ yank }) => yank([CONDA.filename]),
      async ({ yank, listed }) => {
        await yank([CONDA.filename]);
        expect(await listed()).toEqual([TAR_BZ2.filename]);
      },
    );
    await killAtEach(
      async ({ push, yank }) => {
        await push([CONDA]);
        await yank([CONDA.filename]);
      },
      ({ yank }) => yank([CONDA.filename], { undo: true }),
      async ({ yank, listed }) => {
        await yank([CONDA.filename], { undo: true });
        expect(await listed()).toEqual([CONDA.filename]);
      },
    );
  });
});

test('what was replaced is listed again where its successor could not be stored', async () => {
  let isRefused = false;
  const { push, repodata, expectSound } = await wrappedScene((inner) =>
    watchedRegistry(inner, {
      before: ({ repository }) => {
        if (isRefused && repository.endsWith('/hello')) throw new FerryError('REGISTRY_REFUSED', 'full');
      },
    }),
  );
  await push([CONDA]);
  const before = (await repodata())['packages.conda'];
  isRefused = true;
  expect(statesOf(await push([OTHER], { replace: true }))).toEqual({ [OTHER.filename]: 'REGISTRY_REFUSED' });
  expect((await repodata())['packages.conda']).toEqual(before);
  isRefused = false;
  expect(statesOf(await push([OTHER], { replace: true }))).toEqual({ [OTHER.filename]: 'replaced' });
  await expectSound();
});

test('what a killed writer logged is listed by a push that has nothing to do itself', async () => {
  const { push, listed, view } = await sceneOf('memory', () => registry);
  await push([smallConda({ name: 'first' })]);
  const { store } = view();
  const latest = store.metadataRepository('noarch', 'repodata.json');
  const before = await latest.resolve('latest');
  await push([CONDA]);
  // As if it had been killed before it wrote `latest`.
  if (before !== undefined) await latest.tag(before, 'latest');
  expect(statesOf(await push([CONDA]))).toEqual({ [CONDA.filename]: 'there' });
  expect(await listed()).toContain(CONDA.filename);
});
