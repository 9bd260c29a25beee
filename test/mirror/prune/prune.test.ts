import { describe, expect, test } from 'vitest';
import { writeLedger } from '#ferry/artifact/ledger.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { openerOf } from '#ferry/io/bytes.js';
import { describe as describeContent } from '#ferry/oci/descriptor.js';
import { formatPrunePlan, parsePrunePlan } from '#ferry/mirror/prune/plan-document.js';
import { pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { newRunning } from '#ferry/mirror/publish.js';
import { bz2, conda, day, goingOf, Scene, stayingOf } from './scene.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { attested } from '../../support/sidecars.js';

const DAY = 24 * 60 * 60 * 1000;
/** Deletes as early as possible. */
const AT_ONCE = { graceMs: 0, keepGenerations: 1 } as const;

describe('what goes', () => {
  test('an archive that was unlisted for the grace period goes, and its ledger entry; a younger one waits', async () => {
    const scene = await Scene.after([1, [conda('a'), conda('b'), conda('c')]], [2, [conda('b'), conda('c')]]);
    await scene.night(day(20), [conda('c')]);
    await scene.night(day(30), [conda('c'), conda('d')]);
    const plan = await scene.plan(day(33), { keepGenerations: 1 });
    expect(goingOf(plan)).toEqual(['a-1-0.conda']);
    expect(plan.subdirs[0]?.stays).toEqual([
      { filename: 'b-1-0.conda', reason: 'grace', until: day(50).toISOString() },
    ]);
    expect(await scene.holds('a-1-0.conda')).toBe(true);
    const report = await scene.apply(plan);
    expect(report).toMatchObject({ deleted: ['a-1-0.conda'], left: [], emptied: ['c/noarch/a'], stays: 1 });
    expect(await scene.holds('a-1-0.conda')).toBe(false);
    expect(Object.keys((await scene.ledger())?.kept ?? {})).toEqual(['b-1-0.conda']);
    expect((await scene.ledger())?.unlisted).toEqual({ 'b-1-0.conda': day(20).toISOString() });
    expect(goingOf(await scene.plan(day(50), { keepGenerations: 1 }))).toEqual(['b-1-0.conda']);
  });

  test('what a generation lists that can be gone back to stays, however old', async () => {
    const scene = await Scene.after([1, [conda('a'), conda('c')]], [2, [conda('c')]]);
    expect(stayingOf(await scene.plan(day(300)))).toEqual({ 'a-1-0.conda': 'generation' });
    const plan = await scene.plan(day(300), { keepGenerations: 1, deleteGenerations: true });
    expect(goingOf(plan)).toEqual(['a-1-0.conda']);
    expect(await scene.apply(plan)).toMatchObject({ generations: 1 });
    expect(await scene.tags('repodata.json')).toEqual(['2026.01.02.12.00.00', 'latest']);
  });

  test('pins, what the source removed, and what it lists and could not be mirrored stay', async () => {
    const scene = await Scene.open();
    const removed = { ...conda('gone'), removed: true } as ReturnType<typeof conda>;
    await scene.night(day(1), [conda('a'), conda('a', '2'), conda('gone'), conda('c')]);
    await scene.night(day(2), [conda('c'), removed]);
    const options = { ...AT_ONCE, pin: ['a=1'] };
    expect(goingOf(await scene.plan(day(3), options))).toEqual(['a-2-0.conda']);
    expect(stayingOf(await scene.plan(day(3), options))).toEqual({
      'a-1-0.conda': 'pinned',
      'gone-1-0.conda': 'removed',
    });
    const ledger = await scene.ledger();
    if (ledger === undefined) throw new Error('no ledger');
    const failure = { filename: 'a-2-0.conda', code: 'NETWORK', message: 'no answer' };
    await writeLedger(scene.store(), { ...ledger, quarantine: [failure] });
    const plan = await scene.plan(day(3), { ...options, removed: true });
    expect(goingOf(plan)).toEqual(['gone-1-0.conda']);
    expect(stayingOf(plan)).toMatchObject({ 'a-2-0.conda': 'failed' });
  });

  test('a pin names file and subdir too; one that cannot be asked of an unlisted archive is refused', async () => {
    const scene = await Scene.after([1, [conda('a'), conda('a', '2'), conda('c')]], [2, [conda('c')]]);
    const pinned = async (...pin: string[]) => stayingOf(await scene.plan(day(3), { ...AT_ONCE, pin }));
    expect(await pinned('*[fn="a-1-0.conda"]')).toEqual({ 'a-1-0.conda': 'pinned' });
    expect(await pinned('ch/noarch::a=2')).toEqual({ 'a-2-0.conda': 'pinned' });
    expect(await pinned('a[subdir=linux-64]')).toEqual({});
    for (const pin of ['a[license=MIT]', 'a[build_number=0]', `a[sha256=${'a'.repeat(64)}]`]) {
      const message = expect.stringContaining(`\`${pin}\``) as unknown;
      await expect(pinned('c', pin)).rejects.toMatchObject({ code: 'USAGE', message });
    }
  });

  test('where nobody knows since when, the time counts from the first prune that is carried out', async () => {
    const scene = await Scene.after([1, [conda('a'), conda('c')]], [2, [conda('c')]]);
    const ledger = await scene.ledger();
    if (ledger === undefined) throw new Error('no ledger');
    const { unlisted: _, ...older } = ledger;
    await writeLedger(scene.store(), older);
    for (const tag of ['2026.01.01.12.00.00', '2026.01.02.12.00.00']) {
      await scene.registry.repository('c/noarch/repodata.json').untag?.(tag);
    }
    const plan = await scene.plan(day(100));
    expect(goingOf(plan)).toEqual([]);
    expect(plan.subdirs[0]?.firstSeen).toEqual(['a-1-0.conda']);
    await scene.apply(plan);
    expect((await scene.ledger())?.unlisted).toEqual({ 'a-1-0.conda': day(100).toISOString() });
    // Runs of the mirror in between do not forget it.
    await scene.night(day(101), [conda('c'), conda('d')]);
    expect(goingOf(await scene.plan(day(129)))).toEqual([]);
    expect(goingOf(await scene.plan(day(131)))).toEqual(['a-1-0.conda']);
    // What is listed again loses it.
    await scene.night(day(132), [conda('a'), conda('c'), conda('d')]);
    expect((await scene.ledger())?.unlisted).toBeUndefined();
  });

  test('a scan finds what neither repodata nor ledger know, also without a ledger', async () => {
    const scene = await Scene.after([1, [conda('a'), bz2('b'), conda('c')]], [2, [conda('c')]]);
    const ledgers = scene.registry.repository('c/noarch/repodata_ledger.json');
    const latest = await ledgers.resolve('latest');
    if (latest !== undefined) await ledgers.delete?.(latest);
    expect(goingOf(await scene.plan(day(60), { keepGenerations: 1 }))).toEqual([]);
    const plan = await scene.plan(day(60), { keepGenerations: 1, scan: true });
    expect(goingOf(plan)).toEqual(['a-1-0.conda', 'b-1-0.tar.bz2']);
    expect(await scene.apply(plan)).toMatchObject({ deleted: ['a-1-0.conda', 'b-1-0.tar.bz2'] });
    expect(await scene.ledger()).toBeUndefined();
  });

  test('attestation sidecars go with their archives', async () => {
    const scene = await Scene.open();
    const sidecar = Buffer.from('[]');
    const [kept, gone] = [digestHex(digestOf(sidecar)), 'b'.repeat(64)];
    const withSidecar = attested(conda('c'), sidecar);
    await scene.night(day(1), [conda('a'), withSidecar]);
    await scene.night(day(2), [withSidecar]);
    for (const [tag, filename] of [
      [gone, 'a-1-0.conda'],
      ['c'.repeat(64), 'other-1-0.conda'],
    ] as const) {
      const layer = {
        mediaType: 'application/vnd.conda.attestations.v1+json',
        title: `${filename}.sigs`,
        bytes: Buffer.from(`[${tag.length}, "${tag}"]`),
      };
      await pushMetadata(scene.store(), 'noarch', 'attestations', [layer], { tags: [tag] });
    }
    expect(await scene.prune(day(3), AT_ONCE)).toMatchObject({ sidecars: 1 });
    expect(await scene.tags('attestations.sigs')).toEqual([kept, 'c'.repeat(64)].sort());
  });
});

describe('twins', () => {
  test.each([
    ['the .tar.bz2 goes', [conda('b'), conda('c')], 'b-1-0.tar.bz2', 'b-1-0.conda'],
    [
      'the .conda goes, and info and index are those of the .tar.bz2',
      [bz2('b'), conda('c')],
      'b-1-0.conda',
      'b-1-0.tar.bz2',
    ],
  ])('%s: the artifact is what would have been written for the other', async (_, left, gone, stays) => {
    const scene = await Scene.after([1, [conda('b'), bz2('b'), conda('c')]], [2, left]);
    const before = await scene.reader.manifest('c/noarch/b', '1-0');
    expect(await scene.prune(day(3), AT_ONCE)).toMatchObject({ deleted: [gone], rewritten: 1, emptied: [] });
    expect(await scene.holds(stays)).toBe(true);
    const alone = await Scene.open();
    await alone.night(day(1), left);
    const after = await scene.reader.manifest('c/noarch/b', '1-0');
    expect(after).toEqual(await alone.reader.manifest('c/noarch/b', '1-0'));
    expect(await scene.registry.repository('c/noarch/b').resolve(before?.digest ?? '')).toBeUndefined();
    // The mirror finds all as it should be.
    await scene.night(day(4), [conda('b'), bz2('b'), conda('c')]);
    await scene.expectWhole();
    expect(await scene.reader.manifest('c/noarch/b', '1-0')).toEqual(before);
  });

  test('both go together', async () => {
    const scene = await Scene.after([1, [conda('b'), bz2('b'), conda('c')]], [2, [conda('c')]]);
    const { deleted, rewritten } = await scene.prune(day(3), AT_ONCE);
    expect([deleted.length, rewritten]).toEqual([2, 0]);
    expect(await scene.tags('b')).toEqual([]);
  });
});

describe('what is shared', () => {
  test('a manifest that a tag of a listed archive names too stays, and so does its ledger entry', async () => {
    const scene = await Scene.after([1, [conda('a'), conda('a', '2')]], [2, [conda('a', '2')]]);
    const repository = scene.registry.repository('c/noarch/a');
    const old = await repository.resolve('1-0');
    if (old === undefined) throw new Error('nothing there');
    await repository.tag(old, 'pinned-by-hand');
    // As registries are that remove no single tags.
    Object.assign(repository, { untag: undefined });
    const report = await scene.prune(day(3), AT_ONCE);
    expect(report).toMatchObject({ deleted: [], left: [{ filename: 'a-1-0.conda' }] });
    expect(await repository.resolve('pinned-by-hand')).toEqual(old);
    expect(Object.keys((await scene.ledger())?.kept ?? {})).toEqual(['a-1-0.conda']);
  });

  test('an artifact that was written anew since the plan stays', async () => {
    const scene = await Scene.after([1, [conda('a'), conda('c')]], [2, [conda('c')]]);
    const plan = await scene.plan(day(3), AT_ONCE);
    const repository = scene.registry.repository('c/noarch/a');
    const stored = await repository.fetchManifest('1-0');
    if (stored === undefined) throw new Error('nothing there');
    const bytes = Buffer.from(`${Buffer.from(stored.bytes).toString()} `);
    const other = describeContent(stored.descriptor.mediaType, bytes);
    await repository.push(other, openerOf(bytes), { tags: ['1-0'] });
    expect(await scene.apply(plan)).toMatchObject({ deleted: [], left: [{ filename: 'a-1-0.conda' }] });
    expect(await repository.resolve('1-0')).toEqual(other);
    expect((await scene.ledger())?.kept).toEqual({});
  });
});

describe('a plan', () => {
  async function planned() {
    const scene = await Scene.after([1, [conda('a'), conda('c')]], [2, [conda('c')]]);
    return { scene, plan: await scene.plan(day(3), AT_ONCE) };
  }

  test('is read from its file as it was written, and applied twice does no harm', async () => {
    const { scene, plan } = await planned();
    expect(parsePrunePlan(formatPrunePlan(plan), 'x')).toEqual(plan);
    expect(() => parsePrunePlan('{}', '`x`')).toThrow(expect.objectContaining({ code: 'PLAN_INVALID' }));
    await scene.apply(plan);
    const again = await scene.apply(plan);
    expect(again.left).toEqual([]);
    expect(await scene.ledger()).toMatchObject({ kept: {} });
  });

  test('is stale once the channel was published anew', async () => {
    const { scene, plan } = await planned();
    await scene.night(day(3), [conda('a'), conda('c')]);
    await expect(scene.apply(plan)).rejects.toMatchObject({ code: 'PLAN_STALE' });
    await scene.expectWhole();
  });

  test('of another channel, or that names what is listed, is refused', async () => {
    const { scene, plan } = await planned();
    await expect(scene.apply({ ...plan, channel: 'elsewhere' })).rejects.toMatchObject({
      code: 'PLAN_INVALID',
    });
    const text = formatPrunePlan(plan);
    const listed = parsePrunePlan(text.replaceAll('a-1-0.conda', 'c-1-0.conda').replace('"a"', '"c"'), 'x');
    await expect(scene.apply(listed)).rejects.toMatchObject({ code: 'PLAN_INVALID' });
    const misplaced = parsePrunePlan(text.replace('"a"', '"c"'), 'x');
    await expect(scene.apply(misplaced)).rejects.toMatchObject({ code: 'PLAN_INVALID' });
    await scene.expectWhole();
  });

  test('is not made, nor carried out, while a mirror run has not ended', async () => {
    const { scene, plan } = await planned();
    const ledger = await scene.ledger();
    if (ledger === undefined) throw new Error('no ledger');
    await writeLedger(scene.store(), { ...ledger, running: newRunning(day(3)) });
    await expect(scene.plan(day(3))).rejects.toMatchObject({ code: 'RUN_UNFINISHED' });
    await expect(scene.apply(plan)).rejects.toMatchObject({ code: 'RUN_UNFINISHED' });
    expect(await scene.holds('a-1-0.conda')).toBe(true);
  });

  test('in schema v1 works as in v0', async () => {
    const scene = await Scene.open(undefined, schemaV1);
    await scene.night(day(1), [conda('a'), conda('c')]);
    await scene.night(day(2), [conda('c')]);
    expect(await scene.prune(day(2 + 31), { keepGenerations: 1, graceMs: 30 * DAY })).toMatchObject({
      deleted: ['a-1-0.conda'],
    });
    expect(await scene.holds('a-1-0.conda')).toBe(false);
  });
});
