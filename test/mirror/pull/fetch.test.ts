import { link, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import { FerryError } from '#ferry/errors.js';
import { thisProcess } from '#ferry/io/process-identity.js';
import { pullArchives } from '#ferry/mirror/pull.js';
import { WorkFiles } from '#ferry/mirror/pull/work-files.js';
import { rejection } from '../../contracts/artifacts.js';
import { openTestClient } from '../../support/http.js';
import { startScriptedServer } from '../../support/scripted-server.js';
import { tempFolder } from '../../support/temp.js';
import { workers } from '../../support/workers.js';
import { channelOf, names, pkg, pull, sha256, withArchives } from './scene.js';

const many = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => pkg(name));

test('several archives come at once, and are told in their order', async () => {
  const channel = await channelOf({ noarch: many });
  let open = 0;
  let most = 0;
  const ended: string[] = [];
  const slowFirst = withArchives(channel, async function* (archive, options) {
    most = Math.max(most, ++open);
    // The earlier it was asked for, the later it comes.
    const turns = 400 - 60 * archive.filename.charCodeAt(0) + 60 * 97;
    for (let turn = 0; turn < turns; turn++) await setImmediate();
    yield* channel.openArchive(archive, options);
    open -= 1;
    ended.push(archive.filename);
  });
  const folder = await tempFolder();
  const told: string[] = [];
  const reporter = { archive: ({ filename }: { readonly filename: string }) => told.push(filename) };
  const { done } = await pull(slowFirst, { folder, specs: ['*'], concurrency: 3, reporter });
  expect(most).toBe(3);
  expect(ended).not.toEqual([...ended].sort());
  expect(told).not.toEqual([...told].sort());
  expect(done.map(({ filename }) => filename)).toEqual(many.map(({ filename }) => filename));
  expect(await names(folder)).toEqual(many.map(({ filename }) => filename));
});

test('one bad archive does not stop the rest, and leaves nothing', async () => {
  const channel = await channelOf({ noarch: many });
  const hostile = withArchives(channel, async function* (archive, options) {
    if (archive.filename === 'b-1-0.conda') yield Buffer.from('something else');
    else if (archive.filename === 'c-1-0.conda') throw new FerryError('ARCHIVE_ABSENT', 'not there');
    else yield* channel.openArchive(archive, options);
  });
  const folder = await tempFolder();
  const { done, failed } = await pull(hostile, { folder, specs: ['*'] });
  expect(failed.map(({ filename, error }) => [filename, error.code])).toEqual([
    ['b-1-0.conda', 'SIZE_MISMATCH'],
    ['c-1-0.conda', 'ARCHIVE_ABSENT'],
  ]);
  expect(await names(folder)).toEqual(done.map(({ filename }) => filename));
  expect(done).toHaveLength(4);
});

test('what is there is not fetched again; other bytes of that name are replaced', async () => {
  const [a, b, c] = [pkg('a'), pkg('b'), pkg('c')];
  const channel = await channelOf({ noarch: [a, b, c] });
  const folder = await tempFolder();
  await writeFile(join(folder, a.filename), a.bytes);
  await writeFile(
    join(folder, b.filename),
    b.bytes.map((byte) => byte ^ 1),
  );
  await writeFile(join(folder, 'elsewhere'), 'kept');
  await symlink('elsewhere', join(folder, c.filename));
  const asked: string[] = [];
  const counting = withArchives(channel, (archive, options) => {
    asked.push(archive.filename);
    return channel.openArchive(archive, options);
  });
  const { done } = await pull(counting, { folder, specs: ['*'] });
  expect(done.map(({ status }) => status)).toEqual(['there', 'fetched', 'fetched']);
  expect(asked.sort()).toEqual([b.filename, c.filename]);
  expect(await readFile(join(folder, b.filename))).toEqual(Buffer.from(b.bytes));
  expect(await readFile(join(folder, 'elsewhere'), 'utf8')).toBe('kept');
});

/** A pull that ends in the middle of its only archive. */
async function breakOff(folder: string, bytes: Uint8Array): Promise<string> {
  const channel = await channelOf({ noarch: [pkg('a')] });
  const broken = withArchives(channel, async function* () {
    yield bytes.subarray(0, 3000);
    throw new FerryError('NETWORK', 'gone');
  });
  const { failed } = await pull(broken, { folder, specs: ['a'] });
  expect(failed).toMatchObject([{ error: { code: 'NETWORK' } }]);
  const name = `.${sha256(pkg('a').bytes)}.partial`;
  expect(await names(folder)).toEqual([name]);
  return join(folder, name);
}

test('a broken-off download is gone on with by a range', async () => {
  const { bytes, filename } = pkg('a');
  const folder = await tempFolder();
  await breakOff(folder, bytes);
  const listing = await channelOf({ noarch: [pkg('a')] });
  const server = await startScriptedServer([
    'GET /c/noarch/a-1-0.conda',
    {
      status: 206,
      headers: { 'content-range': `bytes 3000-${String(bytes.length - 1)}/${String(bytes.length)}` },
      body: Buffer.from(bytes.subarray(3000)),
    },
  ]);
  const client = openTestClient();
  const remote = new HttpChannel(server.url('/c'), client.send, client.retry);
  const channel = withArchives(listing, (archive, options) => remote.openArchive(archive, options));
  const { done } = await pull(channel, { folder, specs: ['a'] });
  expect(done).toMatchObject([{ status: 'resumed', size: bytes.length }]);
  expect(server.requests[0]?.headers.range).toBe('bytes=3000-');
  expect(await names(folder)).toEqual([filename]);
  expect(await readFile(join(folder, filename))).toEqual(Buffer.from(bytes));
});

test('a part that is no part of the archive, or a source without offsets, costs a new start', async () => {
  const { bytes, filename } = pkg('a');
  const channel = await channelOf({ noarch: [pkg('a')] });
  const other = bytes.map((byte) => byte ^ 1);
  for (const [part, source] of [
    [other, channel],
    [bytes, withArchives(channel, (archive, { signal } = {}) => channel.openArchive(archive, { signal }))],
  ] as const) {
    const folder = await tempFolder();
    await breakOff(folder, part);
    expect(await pull(source, { folder, specs: ['a'] })).toMatchObject({ done: [{ status: 'fetched' }] });
    expect(await names(folder)).toEqual([filename]);
    expect(await readFile(join(folder, filename))).toEqual(Buffer.from(bytes));
  }
});

test('a part that is too long, or is the whole, needs no range', async () => {
  const { bytes } = pkg('a');
  const channel = await channelOf({ noarch: [pkg('a')] });
  for (const [part, status, requests] of [
    [Buffer.concat([bytes, bytes]), 'fetched', 1],
    [bytes, 'resumed', 0],
  ] as const) {
    const folder = await tempFolder();
    await writeFile(join(folder, `.${sha256(bytes)}.partial`), part);
    let asked = 0;
    const counting = withArchives(channel, (archive, options) => {
      asked += 1;
      return channel.openArchive(archive, options);
    });
    expect(await pull(counting, { folder, specs: ['a'] })).toMatchObject({ done: [{ status }] });
    expect(asked).toBe(requests);
    expect(await names(folder)).toEqual(['a-1-0.conda']);
  }
});

test('a part that is a link to something else is never written to', async () => {
  const { bytes, filename } = pkg('a');
  const channel = await channelOf({ noarch: [pkg('a')] });
  const name = `.${sha256(bytes)}.partial`;
  for (const make of [symlink, link]) {
    const folder = await tempFolder();
    await writeFile(join(folder, 'victim'), 'safe');
    await make(join(folder, 'victim'), join(folder, name));
    expect(await pull(channel, { folder, specs: ['a'] })).toMatchObject({ done: [{ status: 'fetched' }] });
    expect(await names(folder)).toEqual([filename, 'victim']);
    expect(await readFile(join(folder, 'victim'), 'utf8')).toBe('safe');
  }
});

test('what a dead process left is taken over, what a living one has is let be', async () => {
  const { bytes } = pkg('a');
  const channel = await channelOf({ noarch: [pkg('a')] });
  const folder = await tempFolder();
  const files = await WorkFiles.open(folder);
  const own = await files.claim(sha256(bytes));
  const unpacking = files.unpackingFolder(sha256(bytes));
  await mkdir(join(unpacking, 'package', 'info'), { recursive: true });
  await writeFile(own.path, bytes.subarray(0, 3000));
  const { pid } = await thisProcess();
  expect(await pull(channel, { folder, specs: ['a'] })).toMatchObject({ done: [{ status: 'fetched' }] });
  expect(await names(folder)).toHaveLength(3);
  // The same of a process that cannot be: no system gives out that number.
  const asDead = (path: string): string => path.replace(`-${String(pid)}-`, '-4194999-');
  const dead = await tempFolder();
  await writeFile(join(dead, asDead(own.path).slice(folder.length)), bytes.subarray(0, 3000));
  await mkdir(join(dead, asDead(unpacking).slice(folder.length), 'package'), { recursive: true });
  const offsets: (number | undefined)[] = [];
  const watching = withArchives(channel, (archive, options) => {
    offsets.push(options?.offset);
    return channel.openArchive(archive, options);
  });
  expect(await pull(watching, { folder: dead, specs: ['a'] })).toMatchObject({
    done: [{ status: 'resumed' }],
  });
  expect(offsets).toEqual([3000]);
  expect(await names(dead)).toEqual(['a-1-0.conda']);
});

test('two pulls into one folder at once do no harm', async () => {
  const channel = await channelOf({ noarch: many });
  const folder = await tempFolder();
  await writeFile(join(folder, `.${sha256(many[0]!.bytes)}.partial`), many[0]!.bytes.subarray(0, 100));
  const both = await Promise.all(
    [1, 2, 3].map(() => pull(channel, { folder, specs: ['*'], extract: true, concurrency: 4 })),
  );
  for (const { done, failed } of both) {
    expect(failed).toEqual([]);
    expect(done).toHaveLength(6);
  }
  expect(await names(folder)).toEqual(
    [...many.flatMap(({ filename }) => [filename.slice(0, -'.conda'.length), filename]), 'urls.txt'].sort(),
  );
  for (const { filename, bytes } of many)
    expect(await readFile(join(folder, filename))).toEqual(Buffer.from(bytes));
});

test('an abort ends with its reason, and keeps the parts', async () => {
  const { bytes } = pkg('a');
  const channel = await channelOf({ noarch: [pkg('a')] });
  const folder = await tempFolder();
  const controller = new AbortController();
  const reason = new Error('enough');
  const endless = withArchives(channel, async function* (_archive, { signal } = {}) {
    yield bytes.subarray(0, 100);
    controller.abort(reason);
    signal?.throwIfAborted();
  });
  const pulling = pull(endless, { folder, specs: ['a'], signal: controller.signal });
  expect(await rejection(pulling)).toBe(reason);
  expect(await names(folder)).toEqual([`.${sha256(bytes)}.partial`]);
});

test('whoever leaves early gets no more, and nothing goes on behind', async () => {
  const channel = await channelOf({ noarch: many });
  const folder = await tempFolder();
  for await (const archive of pullArchives({ channel, specs: ['*'], folder, workers, concurrency: 1 })) {
    expect(archive).toMatchObject({ filename: 'a-1-0.conda' });
    break;
  }
  const left = await names(folder);
  expect(left.length).toBeLessThan(6);
  await setImmediate();
  expect(await names(folder)).toEqual(left);
});

test('a folder that cannot be, and a name that is taken by a folder, are OUTPUT_UNWRITABLE', async () => {
  const channel = await channelOf({ noarch: [pkg('a'), pkg('b')] });
  const folder = await tempFolder();
  await writeFile(join(folder, 'file'), '');
  for (const path of [join(folder, 'file', 'x'), join(folder, 'file')]) {
    const error = await rejection(pull(channel, { folder: path, specs: ['*'] }));
    expect(error).toMatchObject({ code: 'OUTPUT_UNWRITABLE' });
  }
  const taken = await tempFolder();
  await mkdir(join(taken, 'a-1-0.conda', 'x'), { recursive: true });
  const { done, failed } = await pull(channel, { folder: taken, specs: ['*'] });
  expect(failed).toMatchObject([{ filename: 'a-1-0.conda', error: { code: 'OUTPUT_UNWRITABLE' } }]);
  expect(done).toHaveLength(1);
});
