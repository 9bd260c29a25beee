import { mkdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { readAll, rejection } from '../contracts/artifacts.js';
import { tempFolder } from '../support/temp.js';

async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
  const root = await tempFolder();
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return root;
}

const archive = { subdir: 'noarch', filename: 'x-1-0.conda' };

test('its URL is that of the folder', async () => {
  const root = await tempFolder();
  expect(new DirectoryChannel(`${root}/./`).url).toBe(pathToFileURL(root).href);
});

describe('subdirs', () => {
  test('are the folders with repodata, sorted', async () => {
    const root = await folderWith({
      'noarch/repodata.json': '{}',
      'linux-64/repodata.json.zst': '',
      'osx-64/other.json': '{}',
      'not a subdir/repodata.json': '{}',
      'win-64': 'a file',
      'repodata.json': '{}',
    });
    await symlink(join(root, 'nowhere'), join(root, 'linux-aarch64'));
    expect(await new DirectoryChannel(root).subdirs()).toEqual(['linux-64', 'noarch']);
  });

  test('are none where there is no folder', async () => {
    const root = await folderWith({ file: '' });
    for (const name of ['absent', 'file']) {
      const channel = new DirectoryChannel(join(root, name));
      expect(await rejection(channel.subdirs())).toMatchObject({ code: 'CHANNEL_NOT_FOUND' });
    }
  });

  test('are not fewer because one cannot be read', async () => {
    const root = await folderWith({ 'noarch/repodata.json': '{}' });
    await symlink('linux-64', join(root, 'linux-64'));
    expect(await rejection(new DirectoryChannel(root).subdirs())).toMatchObject({ code: 'ELOOP' });
  });
});

describe('openMetadata', () => {
  test('reads a file, and says when it did not change', async () => {
    const root = await folderWith({ 'noarch/repodata.json': '{}' });
    const channel = new DirectoryChannel(root);
    const answer = await channel.openMetadata('noarch/repodata.json');
    if (answer.status !== 'found') throw new Error(answer.status);
    expect((await readAll(answer.body)).toString()).toBe('{}');
    const unless = answer.validators;
    expect(await channel.openMetadata('noarch/repodata.json', { unless })).toEqual({ status: 'unchanged' });
    await utimes(join(root, 'noarch/repodata.json'), 1_700_000_000, 1_700_000_000.5);
    const again = await channel.openMetadata('noarch/repodata.json', { unless });
    expect(again).toMatchObject({
      status: 'found',
    });
    // A date would make a folder that is copied anew look older.
    expect(again).not.toHaveProperty('validators.lastModified');
  });

  test('neither nothing nor a folder is a file', async () => {
    const channel = new DirectoryChannel(await folderWith({ 'noarch/repodata.json/x': '' }));
    for (const path of [
      'noarch/repodata.json',
      'noarch/absent',
      'absent/repodata.json',
      'noarch/repodata.json/x/y',
    ]) {
      expect(await channel.openMetadata(path)).toEqual({ status: 'absent' });
    }
  });

  test('a file that goes away before it is read fails its reader, and nobody else', async () => {
    const root = await folderWith({ x: 'text' });
    const channel = new DirectoryChannel(root);
    const [unread, read] = [await channel.openMetadata('x'), await channel.openMetadata('x')];
    await rm(join(root, 'x'));
    expect(unread.status).toBe('found');
    if (read.status !== 'found') throw new Error(read.status);
    expect(await rejection(readAll(read.body))).toMatchObject({ code: 'SOURCE_UNREADABLE' });
  });

  test('a path that leads out of the channel is refused', async () => {
    const channel = new DirectoryChannel(await folderWith({ 'noarch/repodata.json': '{}' }));
    for (const path of ['../x', 'noarch/../../x', '..']) {
      expect(await rejection(channel.openMetadata(path))).toMatchObject({ code: 'CHANNEL_INVALID' });
    }
  });

  test('an abort rejects its reader with the reason given', async () => {
    const channel = new DirectoryChannel(await folderWith({ x: 'x'.repeat(1_000_000) }));
    const controller = new AbortController();
    const reason = new Error('enough');
    const answer = await channel.openMetadata('x', { signal: controller.signal });
    const reading = (async () => {
      if (answer.status === 'found') for await (const _ of answer.body) controller.abort(reason);
    })();
    expect(await rejection(reading)).toBe(reason);
  });
});

describe('openArchive', () => {
  test('reads the file of its subdir', async () => {
    const channel = new DirectoryChannel(await folderWith({ 'noarch/x-1-0.conda': 'archive' }));
    expect((await readAll(channel.openArchive(archive))).toString()).toBe('archive');
  });

  test('reads what is left of it', async () => {
    const channel = new DirectoryChannel(await folderWith({ 'noarch/x-1-0.conda': 'archive' }));
    for (const [offset, rest] of [
      [3, 'hive'],
      [7, ''],
      [9, ''],
    ] as const)
      expect((await readAll(channel.openArchive(archive, { offset }))).toString()).toBe(rest);
  });

  test('says that the source does not have it', async () => {
    const channel = new DirectoryChannel(await folderWith({ 'noarch/x-1-0.conda/y': '' }));
    for (const filename of ['x-1-0.conda', 'y-1-0.conda']) {
      const reading = readAll(channel.openArchive({ ...archive, filename }));
      expect(await rejection(reading)).toMatchObject({ code: 'ARCHIVE_ABSENT' });
    }
  });

  test('does not leave the folder for what repodata says', async () => {
    const channel = new DirectoryChannel(join(await folderWith({ 'x-1-0.conda': 'secret' }), 'channel'));
    for (const filename of ['../../x-1-0.conda', '..', '/etc/passwd', 'a/../../../x-1-0.conda']) {
      const error = await rejection(readAll(channel.openArchive({ ...archive, filename })));
      expect(error).toMatchObject({ name: 'ParseError' });
    }
    const reading = readAll(channel.openArchive({ ...archive, url: 'file:///etc/passwd' }));
    expect(await rejection(reading)).toMatchObject({ code: 'UNSUPPORTED' });
  });

  test('an abort rejects with the reason given', async () => {
    const channel = new DirectoryChannel(await folderWith({ 'noarch/x-1-0.conda': 'archive' }));
    const reason = new Error('enough');
    const reading = readAll(channel.openArchive(archive, { signal: AbortSignal.abort(reason) }));
    expect(await rejection(reading)).toBe(reason);
  });
});
