import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { faultsOf, listedRecords } from '../support/audit.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { failingRegistry } from '../support/failing-registry.js';
import { layoutStore, mirrorFolder, writesOf, type StoreUnderTest } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { offer, smallConda, smallTarBz2, v1Kinds } from '../support/v1-channel.js';
import { watchedRegistry } from '../support/watched-registry.js';
import { mirrorChannel, planMirror } from '../support/workers.js';

/** Schema v1 holds one archive of a build: what becomes of the other, and what the `.conda` does to the `.tar.bz2`. */

const V1 = { schema: 'v1' } as const;

let registry: TestRegistry;
let source: string;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(async () => registry[Symbol.asyncDispose]());
beforeEach(async () => {
  source = await tempFolder();
});

test('v1/P6: a withheld twin is in plan, report and ledger with its clause', async () => {
  const folder = await tempFolder();
  const view = (): StoreUnderTest => layoutStore(folder, { schema: schemaV1 });
  await offer(source, smallConda(), smallTarBz2(), smallTarBz2({ name: 'alone' }));
  const withheld = [
    {
      filename: 'hello-1.0-0.tar.bz2',
      code: 'TWIN_UNREPRESENTABLE',
      message: 'the schema holds one archive of a build, and that is `hello-1.0-0.conda`',
      clause: 'v1/P6',
    },
  ];
  const plan = await planMirror({ source: new DirectoryChannel(source), destination: view().store });
  expect(plan.subdirs).toMatchObject([{ status: 'planned', plan: { listed: 3, withheld } }]);
  for (const status of ['new', 'current']) {
    const report = await mirrorFolder(source, view());
    expect(report.subdirs[0]?.withheld, status).toEqual(withheld);
    expect(report.subdirs[0], status).toMatchObject({ failed: [], listed: 3 });
  }
  expect((await readLedger(view().store, 'noarch'))?.withheld).toEqual(withheld);
  const { reader, path } = view();
  expect((await listedRecords(reader, `${path}noarch`, 'v1'))?.map(({ filename }) => filename)).toEqual([
    'alone-1.0-0.tar.bz2',
    'hello-1.0-0.conda',
  ]);
});

describe.each(v1Kinds(() => registry))('into %s', (_kind, open) => {
  test.each([
    ['a .conda after the .tar.bz2, both listed', [smallTarBz2()], [smallConda(), smallTarBz2()], '.conda'],
    ['a .conda after the .tar.bz2, which is gone', [smallTarBz2()], [smallConda()], '.conda'],
    ['the .tar.bz2 alone, after both', [smallConda(), smallTarBz2()], [smallTarBz2()], '.tar.bz2'],
  ])('v1/P6: %s takes its place in three steps', async (_what, before, after, extension) => {
    const view = await open(`steps-${String(before.length)}${String(after.length)}`);
    const other = smallConda({ name: 'other' });
    await offer(source, ...before, other);
    await mirrorFolder(source, view());
    await offer(source, ...after, other);
    const { store, reader, path } = view();
    const lists: string[] = [];
    const audit = async (): Promise<void> => {
      expect(await faultsOf(reader, `${path}noarch`, V1)).toEqual([]);
      const records = (await listedRecords(reader, `${path}noarch`, 'v1')) ?? [];
      const said = records
        .map(({ filename }) => filename)
        .filter((filename) => filename.startsWith('hello'))
        .join();
      if (lists.at(-1) !== said) lists.push(said);
    };
    const watched = watchedRegistry(store.registry, { after: audit });
    const destination = new ChannelStore(watched, store.path, schemaV1);
    const report = await mirrorChannel({ source: new DirectoryChannel(source), destination });
    expect(report.subdirs[0]).toMatchObject({ added: 1, failed: [], kept: 0 });
    const old = extension === '.conda' ? '.tar.bz2' : '.conda';
    expect(lists).toEqual([`hello-1.0-0${old}`, '', `hello-1.0-0${extension}`]);
    const again = view();
    expect(await mirrorFolder(source, again)).toMatchObject({ subdirs: [{ publishedAs: 'kept' }] });
    expect(writesOf(again)).toEqual([]);
    expect(await mirrorFolder(source, view(), { deep: true })).toMatchObject({
      subdirs: [{ added: 0, failed: [], kept: 0 }],
    });
  });
});

describe('v1/P6: a record of others', () => {
  test.each([
    ['.tar.bz2', smallTarBz2(), smallConda()],
    ['.conda', smallConda(), smallTarBz2()],
  ])('that is a %s stays, and its twin has no place', async (_what, theirs, ours) => {
    const folder = await tempFolder();
    const view = (): StoreUnderTest => layoutStore(folder, { schema: schemaV1 });
    await offer(source, theirs);
    await mirrorFolder(source, view());
    const own = await tempFolder();
    await offer(own, ours, smallConda({ name: 'other' }));
    for (let run = 0; run < 2; run += 1) {
      const { subdirs } = await mirrorFolder(own, view(), { merge: true });
      expect(subdirs[0]).toMatchObject({
        failed: [],
        withheld: [{ filename: ours.filename, code: 'TWIN_UNREPRESENTABLE', clause: 'v1/P6' }],
      });
      const { reader } = view();
      expect(await faultsOf(reader, 'noarch', V1)).toEqual([]);
      const listed = (await listedRecords(reader, 'noarch', 'v1')) ?? [];
      expect(listed.map(({ filename }) => filename).sort()).toEqual(
        [theirs.filename, 'other-1.0-0.conda'].sort(),
      );
    }
  });
});

describe('v1/P6: a run that is killed while a twin makes room', () => {
  /** Of the whole run; the last case is not killed. */
  const WRITES = 20;
  let before: string;
  let source: string;
  beforeAll(async () => {
    [before, source] = await Promise.all([makeTempFolder(), makeTempFolder()]);
    await offer(source, smallTarBz2(), smallConda({ name: 'other' }));
    await mirrorFolder(source, layoutStore(before, { schema: schemaV1 }));
    await offer(source, smallTarBz2(), smallConda(), smallConda({ name: 'other' }));
  });
  afterAll(async () => {
    await Promise.all([before, source].map(async (folder) => rm(folder, { recursive: true })));
  });

  test.each(Array.from({ length: WRITES + 1 }, (_, n) => n))(
    'at write %i is finished by the next one',
    async (at) => {
      const folder = await tempFolder();
      await cp(before, folder, { recursive: true });
      const view = (): StoreUnderTest => layoutStore(folder, { schema: schemaV1 });
      let writes = 0;
      const killed = failingRegistry(view().store.registry, () => writes++ === at);
      const destination = new ChannelStore(killed, '', schemaV1);
      const first = await mirrorChannel({ source: new DirectoryChannel(source), destination }).catch(
        () => undefined,
      );
      const { reader } = view();
      expect(await faultsOf(reader, 'noarch', V1)).toEqual([]);
      const report = (await mirrorFolder(source, view())).subdirs[0];
      expect(report).toMatchObject({ failed: [] });
      expect(first === undefined).toBe(at < WRITES);
      expect(await faultsOf(reader, 'noarch', V1)).toEqual([]);
      expect((await listedRecords(reader, 'noarch', 'v1'))?.map(({ filename }) => filename)).toEqual([
        'hello-1.0-0.conda',
        'other-1.0-0.conda',
      ]);
      expect(await readLedger(view().store, 'noarch')).toMatchObject({ kept: {}, complete: true });
    },
  );
});

async function makeTempFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'ferry-test-'));
}
