import { createHash } from 'node:crypto';
import { appendFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { zstd } from '../../fixtures/build/zstd.mjs';
import { copyFolder, encode, findingsInFolder, writeSoundChannel } from './tampered-channel.js';

/** What is done to a copy of the sound channel, and all that a check finds then. */
type Mutation = readonly [
  title: string,
  tamper: (copy: string) => Promise<unknown>,
  found: string | readonly string[],
];
type Json = Record<string, unknown>;

let sound: string;
beforeAll(async () => {
  sound = await mkdtemp(join(tmpdir(), 'ferry-test-'));
  await writeSoundChannel(sound);
});
afterAll(async () => rm(sound, { recursive: true }));

const LIB = 'lib-1!2.0-h0_1.conda';
const LIB_RECORD = `linux-64/repodata.json#/packages.conda/${LIB}`;

/** Changes repodata in both forms. */
async function editRepodata(copy: string, change: (document: Json) => Json): Promise<void> {
  const path = join(copy, 'linux-64', 'repodata.json');
  const bytes = encode(change(JSON.parse(await readFile(path, 'utf8')) as Json));
  await writeFile(path, bytes);
  await writeFile(`${path}.zst`, zstd(bytes));
}

async function editRecord(copy: string, change: Json): Promise<void> {
  await editRepodata(copy, (document) => {
    const records = document['packages.conda'] as Json;
    records[LIB] = { ...(records[LIB] as Json), ...change };
    return document;
  });
}

/** Replaces an archive by one that is sound but for what the test says, with a record that fits. */
async function replaceLib(copy: string, change: Partial<Parameters<typeof condaPackage>[0]>): Promise<void> {
  const spec = { name: 'lib', version: '1!2.0', build: 'h0_1', subdir: 'linux-64', ...change };
  const { bytes } = condaPackage({ ...spec, infoFiles: {}, payloadFiles: {} });
  const hex = (algorithm: string): string => createHash(algorithm).update(bytes).digest('hex');
  await writeFile(join(copy, 'linux-64', LIB), bytes);
  await editRecord(copy, { sha256: hex('sha256'), md5: hex('md5'), size: bytes.byteLength });
}

test('nothing is found in the sound channel', async () => {
  expect(await findingsInFolder(sound)).toEqual([]);
});

test.each<Mutation>([
  [
    'cep36/listed-there: a listed archive that is not there',
    async (copy) => rm(join(copy, 'linux-64', LIB)),
    `error cep36/listed-there at linux-64/${LIB}`,
  ],
  [
    'cep36/record-sha256: a wrong sha256',
    async (copy) => editRecord(copy, { sha256: 'a'.repeat(64) }),
    `error cep36/record-sha256 at linux-64/${LIB}`,
  ],
  [
    'cep36/record-md5: a wrong md5',
    async (copy) => editRecord(copy, { md5: 'a'.repeat(32) }),
    `error cep36/record-md5 at linux-64/${LIB}`,
  ],
  [
    'cep36/record-size: a wrong size',
    async (copy) => editRecord(copy, { size: 7 }),
    `error cep36/record-size at linux-64/${LIB}`,
  ],
  [
    'cep35/zip: an archive with bytes behind its end',
    async (copy) => appendFile(join(copy, 'linux-64', LIB), 'more'),
    [`error cep35/zip at linux-64/${LIB}`, `error cep36/record-sha256 at linux-64/${LIB}`],
  ],
  [
    'cep35/filename: an archive of another version',
    async (copy) => replaceLib(copy, { version: '3.0' }),
    `error cep35/filename at linux-64/${LIB}`,
  ],
  [
    'cep34/index-subdir-place: an archive of another subdir',
    async (copy) => replaceLib(copy, { subdir: 'osx-arm64' }),
    `error cep34/index-subdir-place at linux-64/${LIB}/info/index.json#/subdir`,
  ],
  [
    'cep36/compressed: no compressed form',
    async (copy) => rm(join(copy, 'linux-64', 'repodata.json.zst')),
    'warning cep36/compressed at linux-64/repodata.json',
  ],
  [
    'cep36/zst-same-bytes: the compressed form of something else',
    async (copy) => cp(join(copy, 'noarch/repodata.json.zst'), join(copy, 'linux-64/repodata.json.zst')),
    'error cep36/zst-same-bytes at linux-64/repodata.json.zst',
  ],
  [
    'cep36/noarch-repodata: no noarch',
    async (copy) => rm(join(copy, 'noarch'), { recursive: true }),
    'error cep36/noarch-repodata at noarch/repodata.json',
  ],
  [
    'cep26/filename: a record of another build',
    async (copy) => editRecord(copy, { build: 'h0_2' }),
    `error cep26/filename at ${LIB_RECORD}`,
  ],
  [
    'cep36/record-size: a size that is no number',
    async (copy) => editRecord(copy, { size: '7' }),
    `error cep36/record-size at ${LIB_RECORD}/size`,
  ],
  [
    'cep47/indexed-not-in-future: a time to come',
    async (copy) => editRecord(copy, { indexed_timestamp: 2_000_000_000_000 }),
    `warning cep47/indexed-not-in-future at ${LIB_RECORD}/indexed_timestamp`,
  ],
])('%s', async (_, tamper, found) => {
  const copy = await copyFolder(sound);
  await tamper(copy);
  expect(await findingsInFolder(copy)).toEqual([found].flat());
});
