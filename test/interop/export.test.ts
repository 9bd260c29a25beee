import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { serveChannel } from '../support/channel-server.js';
import { runFerry, testEnvironment } from '../support/ferry.js';
import { EVERY_RECORD, pythonWithRattler, RUN_MAIN } from '../support/rattler.js';

const run = promisify(execFile);
const SUBDIRS = ['linux-64', 'noarch', 'osx-arm64'];

// Prints file name to sha256 of all that a channel lists.
const READER = `${EVERY_RECORD}
from rattler import SourceConfig

async def main():
    sharded = sys.argv[2] == "sharded"
    gateway = Gateway(cache_dir=tempfile.mkdtemp(), default_config=SourceConfig(sharded_enabled=sharded))
    found = {}
    async for record in every_record(gateway, sys.argv[1], sys.argv[3:]):
        found[record.subdir + "/" + record.file_name] = [record.sha256.hex(), record.url]
    print(json.dumps(found))
${RUN_MAIN}`;

let temp: TempFolder;
let home: string;
let python: string;
let channel: string;
beforeAll(async () => {
  temp = await TempFolder.create();
  home = temp.path;
  python = await pythonWithRattler(home);
  channel = join(home, 'channel');
  const { code, stderr } = await runFerry(['mirror', FIXTURE_CHANNEL, channel, '--quiet']);
  expect([code, stderr]).toEqual([0, '']);
});

afterAll(async () => {
  await temp[Symbol.asyncDispose]();
});

/** What rattler finds in the exported channel. */
async function readBy(form: 'sharded' | 'plain', url: string): Promise<Record<string, [string, string]>> {
  const reader = join(home, 'reader.py');
  await writeFile(reader, READER);
  const { stdout } = await run(python, [reader, url, form, ...SUBDIRS], { env: testEnvironment(home) });
  return JSON.parse(stdout) as Record<string, [string, string]>;
}

/** What the source lists: file name to sha256 and URL. */
function listed(url: string): Record<string, [string, string]> {
  const records: Record<string, [string, string]> = {};
  for (const subdir of SUBDIRS) {
    const text = readFileSync(join(FIXTURE_CHANNEL, subdir, 'repodata.json'), 'utf8');
    const repodata = JSON.parse(text) as Record<string, Record<string, { sha256: string }>>;
    for (const section of ['packages', 'packages.conda'])
      for (const [filename, { sha256 }] of Object.entries(repodata[section]!))
        records[`${subdir}/${filename}`] = [sha256, `${url}/${subdir}/${filename}`];
  }
  return records;
}

test('rattler reads the shards of an exported channel, and nothing else', async () => {
  await using server = await serveChannel(channel);
  expect(await readBy('sharded', server.url)).toEqual(listed(server.url));
  const paths = server.requests.filter(({ status }) => status === 200).map(({ path }) => path);
  expect(paths.filter((path) => !path.includes('msgpack'))).toEqual([]);
  expect(paths.filter((path) => path.includes('/shards/')).length).toBeGreaterThan(5);
});

test('rattler reads the exported folder itself', async () => {
  const all = Object.keys(listed(''));
  // Out of repodata, it takes the .conda of twins alone.
  const isSecond = (filename: string): boolean =>
    filename.endsWith('.tar.bz2') && all.includes(filename.replace(/\.tar\.bz2$/, '.conda'));
  const found = await readBy('plain', `file://${channel}`);
  expect(Object.keys(found).sort()).toEqual(all.filter((filename) => !isSecond(filename)).sort());
});
