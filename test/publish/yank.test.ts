import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readLedger } from '#ferry/artifact/ledger.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { KINDS, sceneOf, statesOf, tickingClock, type Kind } from '../support/publishing.js';
import { mirrorFolder } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { offer, smallConda, smallTarBz2 } from '../support/v1-channel.js';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry({ onDisk: true });
});
afterAll(async () => registry[Symbol.asyncDispose]());

const scene = async (kind: Kind) => sceneOf(kind, () => registry);
const OLD = smallConda({ version: '1.0' });
const NEW = smallConda({ version: '2.0' });
const LINUX = smallConda({ version: '1.0', build: '1' }, 'linux-64');

describe.each(KINDS)('a channel in %s', (kind) => {
  test('what is yanked is no longer listed, and can be fetched still; undone it is as it was', async () => {
    const { push, yank, listed, repodata, text, expectSound, view } = await scene(kind);
    const clock = tickingClock();
    await push([OLD, NEW], clock);
    const before = await text();
    const report = await yank([OLD.filename], clock);
    expect(report).toMatchObject({
      changed: [{ subdir: 'noarch', filename: OLD.filename }],
      unchanged: [],
      undo: false,
      dryRun: false,
    });
    expect(await listed()).toEqual([NEW.filename]);
    expect((await repodata()).removed).toEqual([OLD.filename]);
    const repository = view().store.packageRepository('noarch', { repository: 'hello' });
    expect(await repository.resolve('1.0-0')).toBeDefined();
    await expectSound();
    await yank([OLD.filename], { undo: true, ...clock });
    expect(await text()).toBe(before);
    await expectSound();
  });

  test('match specs and digests name all that they match, in all subdirs or in some', async () => {
    const { push, yank, listed } = await scene(kind);
    const pushed = await push([OLD, NEW, LINUX]);
    const { changed } = await yank(['hello ==1.0'], { dryRun: true });
    expect(changed.map(({ subdir }) => subdir)).toEqual(['linux-64', 'noarch']);
    expect(await listed()).toEqual([OLD.filename, NEW.filename]);
    await yank(['hello ==1.0'], { subdirs: ['linux-64'] });
    expect([await listed(), await listed('linux-64')]).toEqual([[OLD.filename, NEW.filename], []]);
    const digest = pushed.published.find(({ filename }) => filename === NEW.filename)?.digest;
    await yank([digest ?? '']);
    expect(await listed()).toEqual([OLD.filename]);
  });

  test('a yanked archive does not come back by a push', async () => {
    const { push, yank, listed } = await scene(kind);
    await push([OLD]);
    await yank([OLD.filename]);
    expect(statesOf(await push([OLD, NEW]))).toEqual({
      [OLD.filename]: 'ARCHIVE_REMOVED',
      [NEW.filename]: 'added',
    });
    expect(await listed()).toEqual([NEW.filename]);
  });
});

test('what names nothing changes nothing', async () => {
  const { push, yank, listed } = await scene('memory');
  await push([OLD]);
  await expect(yank([OLD.filename, 'nothing'])).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining('`nothing`') as string,
  });
  await expect(yank(['===='])).rejects.toMatchObject({ code: 'MATCH_SPEC_INVALID' });
  await expect(yank(['hello'], { undo: true })).rejects.toMatchObject({ code: 'USAGE' });
  await expect(yank([NEW.filename], { undo: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await listed()).toEqual([OLD.filename]);
});

test('once is enough: what was so before is said to be, and named twice counts once', async () => {
  const { push, yank, text } = await scene('memory');
  await push([OLD]);
  await yank([OLD.filename, OLD.filename]);
  const before = await text();
  const again = await yank([OLD.filename]);
  expect(again).toMatchObject({ changed: [], unchanged: [{ filename: OLD.filename }] });
  expect(await text()).toBe(before);
  const undone = await yank([OLD.filename, OLD.filename], { undo: true });
  expect(undone.changed).toEqual([{ subdir: 'noarch', filename: OLD.filename }]);
});

test('what is not stored any more is not listed again, and then nothing is', async () => {
  const { push, yank, view, listed } = await scene('memory');
  await push([OLD, NEW]);
  await yank([OLD.filename, NEW.filename]);
  const repository = view().store.packageRepository('noarch', { repository: 'hello' });
  const found = await repository.resolve('2.0-0');
  if (found !== undefined) await repository.delete?.(found);
  await expect(yank([OLD.filename, NEW.filename], { undo: true })).rejects.toMatchObject({
    code: 'ARCHIVE_ABSENT',
  });
  expect(await listed()).toEqual([]);
});

test('a yank holds for the other files of the subdir too', async () => {
  const { push, yank, index, view } = await scene('memory');
  await push([OLD, smallTarBz2({ version: '3.0' })]);
  await index();
  await yank([OLD.filename]);
  const { reader, path } = view();
  const found = await reader.manifest(`${path}noarch/current_repodata.json`, 'latest');
  const bytes = await reader.blob(`${path}noarch/current_repodata.json`, found?.layers[0]?.digest ?? '');
  expect(String(bytes)).not.toContain(`"${OLD.filename}"`);
});

test('a mirror is left alone unless forced', async () => {
  const { yank, view, listed } = await scene('memory');
  const source = await tempFolder();
  await offer(source, OLD, NEW);
  await mirrorFolder(source, view());
  await expect(yank([OLD.filename])).rejects.toMatchObject({ code: 'ROLE_MISMATCH' });
  await yank([OLD.filename], { force: true });
  expect(await listed()).toEqual([NEW.filename]);
  expect((await readLedger(view().store, 'noarch'))?.role.kind).toBe('mirror');
});
