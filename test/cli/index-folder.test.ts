import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { condaArchive } from '../../fixtures/build/archive.mjs';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

let home: string;
beforeEach(async () => {
  home = await tempFolder();
  await put('noarch', 'hello', '1.0');
});

async function put(subdir: string, name: string, version: string): Promise<void> {
  await mkdir(join(home, 'channel', subdir), { recursive: true });
  const bytes = condaArchive({ name, version, build: '0', subdir });
  await writeFile(join(home, 'channel', subdir, `${name}-${version}-0.conda`), bytes);
}

/** Runs the command; places are made the same everywhere. */
async function ferry(...args: string[]) {
  const { code, stdout, stderr } = await runFerry(args, { cwd: home });
  const same = (text: string): string => text.replaceAll(home, 'HOME').trimEnd();
  return { code, stdout: same(stdout), stderr: same(stderr) };
}

test('index makes what clients read of a folder, and names what it leaves out with exit status 1', async () => {
  expect(await ferry('index', './channel')).toMatchInlineSnapshot(`
    {
      "code": 0,
      "stderr": "",
      "stdout": "subdir  records  new  gone  removed  failed
    noarch        1    1     0        0       0  written

    indexed: HOME/channel, 1 record",
    }
  `);
  await put('linux-64', 'tool', '2.0');
  await writeFile(join(home, 'channel', 'linux-64', 'bad-1.0-0.conda'), 'nothing');
  expect(await ferry('index', './channel')).toMatchInlineSnapshot(`
    {
      "code": 1,
      "stderr": "left out: linux-64/bad-1.0-0.conda: the archive is no zip file: it does not begin with \`PK\` [ARCHIVE_NOT_CONDA]",
      "stdout": "subdir    records  new  gone  removed  failed
    linux-64        1    1     0        0       1  written
    noarch          1    0     0        0       0  as it was

    indexed: HOME/channel, 2 records",
    }
  `);
});

test('index of a folder prints its report as JSON', async () => {
  const { code, stdout } = await ferry('index', './channel', '--json', '--subdir', 'noarch');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    channel: 'HOME/channel',
    subdirs: [{ subdir: 'noarch', records: 1, failed: [] }],
  });
});

test('index applies the patch instructions of a file, and says what is wrong with one', async () => {
  await writeFile(join(home, 'patches.json'), JSON.stringify({ remove: ['hello-1.0-0.conda'] }));
  expect((await ferry('index', './channel', '--patch', 'patches.json')).code).toBe(0);
  expect(JSON.parse(await readFile(join(home, 'channel', 'noarch', 'repodata.json'), 'utf8'))).toMatchObject({
    'packages.conda': {},
    removed: ['hello-1.0-0.conda'],
  });
  await writeFile(join(home, 'patches.json'), '{"remove":1}');
  expect(await ferry('index', './channel', '--patch', 'patches.json')).toMatchInlineSnapshot(`
    {
      "code": 3,
      "stderr": "error: \`patches.json\` has no patch instructions: \`remove\` Invalid input: expected array, received number [REPODATA_INVALID]",
      "stdout": "",
    }
  `);
});

test('index says what to do with a folder that is no channel, or a mirror', async () => {
  expect(await ferry('index', './channel/noarch')).toMatchInlineSnapshot(`
    {
      "code": 2,
      "stderr": "error: \`HOME/channel/noarch\` is a subdir, and no channel [CHANNEL_INVALID]

    hint: give the folder above it",
      "stdout": "",
    }
  `);
  await writeFile(join(home, 'channel', '.conda-ferry-export.json'), '{}');
  expect(await ferry('index', './channel')).toMatchInlineSnapshot(`
    {
      "code": 3,
      "stderr": "error: \`HOME/channel\` is a mirror, whose repodata is that of its source [UNSUPPORTED]

    hint: pass --force to index it all the same; patches of its source are lost then",
      "stdout": "",
    }
  `);
  expect((await ferry('index', './channel', '--force')).code).toBe(0);
});
