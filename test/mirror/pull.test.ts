import { afterAll, expect, test } from 'vitest';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { pullArchives } from '#ferry/mirror/pull.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { tempFolder } from '../support/temp.js';

const workers = new WorkerPool();
afterAll(async () => workers[Symbol.asyncDispose]());

const build = (name: string, number: number, index: object = {}) =>
  condaPackage({
    name,
    version: '1',
    build: `b_${number}`,
    subdir: 'noarch',
    index: { noarch: 'generic', build_number: number, ...index },
  });

test('match specs ask for all that a record says, and other wishes beside them are met', async () => {
  const channel = await tempFolder();
  const archives = [build('a', 1), build('a', 3, { license: 'MIT' }), build('a', 4), build('b', 7)];
  await writeChannel(channel, { noarch: archives });
  const pull = async (...specs: string[]): Promise<string[]> => {
    const names: string[] = [];
    const folder = await tempFolder();
    for await (const pulled of pullArchives({
      channel: new DirectoryChannel(channel),
      specs,
      folder,
      workers,
    })) {
      if ('error' in pulled) throw pulled.error;
      names.push(pulled.filename);
    }
    return names.sort();
  };
  expect(await pull('a[build_number=">=3"]')).toEqual(['a-1-b_3.conda', 'a-1-b_4.conda']);
  expect(await pull('*[license=MIT]', 'a-1-b_3.conda', 'b')).toEqual(['a-1-b_3.conda', 'b-1-b_7.conda']);
  expect(await pull('a=1')).toHaveLength(3);
  await expect(pull('a', 'b[license=MIT]')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining('`b[license=MIT]`') as unknown,
  });
});
