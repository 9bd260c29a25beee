import { unlink } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { parseLockFile } from '#ferry/provenance/lock-files/parse-lock-file.js';
import type { LockedArchives } from '#ferry/provenance/lock-files/locked-archives.js';
import { hexDigest } from '../../../fixtures/build/bytes.mjs';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { rejection } from '../../contracts/artifacts.js';
import { tempFolder } from '../../support/temp.js';
import { channelOf, names, pkg, pull, sha256 } from './scene.js';

const FORGE = 'https://conda.anaconda.org/t/secret/forge';

const md5 = (bytes: Uint8Array): string => hexDigest('md5', bytes);

async function explicit(...lines: string[]): Promise<LockedArchives> {
  return parseLockFile('lock', ['@EXPLICIT', ...lines, ''].join('\n'));
}

const [a, b, c] = [pkg('a'), pkg('b'), pkg('c')];
const linux = pkg('l', { subdir: 'linux-64', index: {} });
const mac = pkg('m', { subdir: 'osx-64', index: {} });

test('a lock pulls what it names, by sha256, md5 or name, and nothing else', async () => {
  const channel = await channelOf({ noarch: [a, b, c], 'linux-64': [linux] });
  const folder = await tempFolder();
  const lock = await explicit(
    `${FORGE}/noarch/${a.filename}#sha256:${sha256(a.bytes)}`,
    `${FORGE}/noarch/${b.filename}#${md5(b.bytes)}`,
    `${FORGE}/linux-64/${linux.filename}`,
  );
  const { done, failed } = await pull(channel, { folder, lock });
  expect(failed).toEqual([]);
  expect(done.map(({ subdir, filename }) => `${subdir}/${filename}`)).toEqual([
    'linux-64/l-1-0.conda',
    'noarch/a-1-0.conda',
    'noarch/b-1-0.conda',
  ]);
});

test('pixi.lock is pulled for the subdirs that are asked for', async () => {
  const channel = await channelOf({ noarch: [a], 'linux-64': [linux], 'osx-64': [mac] });
  const entries = [
    ['noarch', a],
    ['linux-64', linux],
    ['osx-64', mac],
  ] as const;
  const text = [
    'version: 6',
    'packages:',
    ...entries.map(
      ([subdir, { filename, bytes }]) =>
        `- conda: ${FORGE}/${subdir}/${filename}\n  sha256: ${sha256(bytes)}\n  md5: ${md5(bytes)}`,
    ),
    '- pypi: https://files.example/x.whl',
    '',
  ].join('\n');
  const lock = await parseLockFile('pixi.lock', text);
  const folder = await tempFolder();
  const { done } = await pull(channel, { folder, lock, subdirs: ['linux-64', 'noarch'] });
  expect(done.map(({ filename }) => filename)).toEqual([linux.filename, a.filename]);
  const error = await rejection(pull(channel, { folder, lock, subdirs: ['win-64'] }));
  expect(error).toMatchObject({ code: 'USAGE', message: expect.stringContaining('osx-64') as unknown });
});

test('what is locked and not to be had is told by name, and the rest is pulled', async () => {
  const channel = await channelOf({ noarch: [a, b] });
  const lock = await explicit(
    `${FORGE}/noarch/${a.filename}#sha256:${sha256(a.bytes)}`,
    `${FORGE}/noarch/${b.filename}#sha256:${sha256(c.bytes)}`,
    `${FORGE}/noarch/${c.filename}#${md5(c.bytes)}`,
    `${FORGE}/linux-64/${linux.filename}#sha256:${sha256(linux.bytes)}`,
  );
  const folder = await tempFolder();
  const { done, failed } = await pull(channel, { folder, lock });
  expect(done.map(({ filename }) => filename)).toEqual([a.filename]);
  expect(failed.map(({ subdir, filename, error }) => [`${subdir}/${filename}`, error.code])).toEqual([
    ['linux-64/l-1-0.conda', 'NOT_FOUND'],
    ['noarch/b-1-0.conda', 'DIGEST_MISMATCH'],
    ['noarch/c-1-0.conda', 'NOT_FOUND'],
  ]);
  expect(failed[0]?.error.message).toContain('conda.anaconda.org/t/***/forge');
  expect(await names(folder)).toEqual([a.filename]);
});

test('an archive that the channel lists no more, and still has, is pulled by its sha256', async () => {
  const channel = await channelOf({ noarch: [a, { ...b, removed: true }] });
  const folder = await tempFolder();
  const line = (filename: string): string => `${FORGE}/noarch/${filename}#sha256:${sha256(b.bytes)}`;
  expect(await pull(channel, { folder, lock: await explicit(line(b.filename)) })).toMatchObject({
    done: [{ filename: b.filename, size: b.bytes.length }],
    failed: [],
  });
  // Not what merely has the name.
  const { failed } = await pull(channel, {
    folder: await tempFolder(),
    lock: await explicit(`${FORGE}/noarch/${b.filename}#sha256:${sha256(c.bytes)}`),
  });
  expect(failed).toMatchObject([{ error: { code: 'DIGEST_MISMATCH' } }]);
});

test('an md5 that only the repodata has is not enough', async () => {
  // The record lies: it has the md5 that is locked, and the sha256 of the bytes.
  const channel = await channelOf({ noarch: [{ ...a, record: { md5: md5(b.bytes) } }] });
  const folder = await tempFolder();
  const lock = await explicit(`${FORGE}/noarch/${a.filename}#${md5(b.bytes)}`);
  const { failed } = await pull(channel, { folder, lock });
  expect(failed).toMatchObject([{ error: { code: 'DIGEST_MISMATCH' } }]);
  expect(await names(folder)).toEqual([]);
});

test('a sha256 of the lock makes up for repodata that knows the md5 only', async () => {
  const channel = await channelOf({ noarch: [{ ...a, record: { sha256: undefined } }] });
  const lock: LockedArchives = {
    archives: [
      {
        ...{ filename: a.filename, subdir: 'noarch', url: `${FORGE}/noarch/${a.filename}` },
        ...{ sha256: sha256(a.bytes), md5: md5(a.bytes) },
      },
    ],
    ignored: { pypi: 0, elsewhere: 0 },
  };
  expect(await pull(channel, { folder: await tempFolder(), lock })).toMatchObject({
    done: [{ digest: `sha256:${sha256(a.bytes)}` }],
  });
});

test('specs beside a lock add to it', async () => {
  const channel = await channelOf({ noarch: [a, b, c] });
  const lock = await explicit(`${FORGE}/noarch/${a.filename}#sha256:${sha256(a.bytes)}`);
  const { done } = await pull(channel, { folder: await tempFolder(), lock, specs: ['a', 'c'] });
  expect(done.map(({ filename }) => filename)).toEqual([a.filename, c.filename]);
});

test('a channel that lacks an archive it lists is told so', async () => {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: [a] });
  await unlink(`${folder}/noarch/${a.filename}`);
  const lock = await explicit(`${FORGE}/noarch/${a.filename}#sha256:${sha256(a.bytes)}`);
  const { failed } = await pull(new DirectoryChannel(folder), { folder: await tempFolder(), lock });
  expect(failed).toMatchObject([{ error: { code: 'ARCHIVE_ABSENT' } }]);
});

test('a lock without archives pulls nothing', async () => {
  const channel = await channelOf({ noarch: [a] });
  const folder = await tempFolder();
  expect(await pull(channel, { folder, lock: await explicit() })).toEqual({ done: [], failed: [] });
});
