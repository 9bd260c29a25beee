import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { artifactOf, contentOf, pushArtifact, pushContent } from '../contracts/artifacts.js';

let temp: TempFolder;
let root: string;

beforeEach(async () => {
  temp = await TempFolder.create();
  root = join(temp.path, 'channel');
});

afterEach(async () => {
  await temp[Symbol.asyncDispose]();
});

describe('a folder of image layouts', () => {
  test('lists its repositories in order, and looks neither into layouts nor behind links', async () => {
    const registry = openLayoutRegistry(root);
    for (const name of ['noarch/foo', 'linux-64/zlib', 'linux-64/a.b', 'repodata.json']) {
      await pushArtifact(registry.repository(name), artifactOf(name), ['latest']);
    }
    await pushContent(registry.repository('noarch/only-blobs'), contentOf('no manifest yet'));
    for (const folder of ['noarch/foo/blobs/hidden', 'Upper', '.git']) {
      await mkdir(join(root, folder), { recursive: true });
      await writeFile(join(root, folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    }
    await symlink(join(root, 'noarch'), join(root, 'link'));
    await symlink(root, join(root, 'noarch', 'circle'));
    expect(await registry.repositories()).toEqual([
      'linux-64/a.b',
      'linux-64/zlib',
      'noarch/foo',
      'repodata.json',
    ]);
  });

  test('is not one layout', async () => {
    await pushArtifact(openLayoutRegistry(root).repository('foo'), artifactOf('a layer'));
    const registry = openLayoutRegistry(join(root, 'foo'));
    await expect(registry.repositories()).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    const pushing = pushContent(registry.repository('bar'), contentOf('a blob'));
    await expect(pushing).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });

  test('is not a file', async () => {
    await writeFile(root, '');
    const registry = openLayoutRegistry(root);
    await expect(registry.repositories()).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    const { descriptor } = contentOf('a blob');
    await expect(registry.repository('foo').exists(descriptor)).rejects.toMatchObject({
      code: 'LAYOUT_INVALID',
    });
  });

  test('takes no repository inside another, whichever comes first', async () => {
    const registry = openLayoutRegistry(root);
    await pushArtifact(registry.repository('noarch/foo'), artifactOf('a layer'));
    const inside = pushContent(registry.repository('noarch/foo/blobs'), contentOf('a blob'));
    await expect(inside).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    const around = pushArtifact(registry.repository('noarch'), artifactOf('a layer'));
    await expect(around).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    expect(await registry.repositories()).toEqual(['noarch/foo']);
  });

  test('stops listing with the reason of the abort', async () => {
    await pushArtifact(openLayoutRegistry(root).repository('foo'), artifactOf('a layer'));
    const reason = new Error('enough');
    const listing = openLayoutRegistry(root).repositories({ signal: AbortSignal.abort(reason) });
    await expect(listing).rejects.toBe(reason);
  });
});
