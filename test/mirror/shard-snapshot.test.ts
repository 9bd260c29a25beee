import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { openerOf } from '#ferry/io/bytes.js';
import { shardFilename } from '#ferry/conda/shards/shard-files.js';
import { splitRepodata } from '#ferry/conda/shards/split-repodata.js';
import { writeShard, writeShardIndex } from '#ferry/conda/shards/write-shards.js';
import { digestOf, type Digest } from '#ferry/io/digest.js';
import { takeShardSnapshot, type ShardSnapshotAnswer } from '#ferry/mirror/shard-snapshot.js';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { serveChannel } from '../support/channel-server.js';
import { httpSource } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

let channel: string;
beforeEach(async () => {
  channel = await tempFolder();
});

/** Writes shards of a subdir's repodata, and nothing else. */
async function shard(
  from: string,
  subdir: string,
  { info = {}, folder = join(channel, subdir, 'shards') }: { info?: object; folder?: string } = {},
): Promise<Map<string, string>> {
  const digests = new Map<string, Digest>();
  const paths = new Map<string, string>();
  await mkdir(folder, { recursive: true });
  await mkdir(join(channel, subdir), { recursive: true });
  for (const { name, content } of splitRepodata(await readFile(join(from, subdir, 'repodata.json')))) {
    const bytes = await writeShard(content);
    digests.set(name, digestOf(bytes));
    paths.set(name, join(folder, shardFilename(digestOf(bytes))));
    await writeFile(paths.get(name)!, bytes);
  }
  const index = await writeShardIndex({
    info: { subdir, base_url: '', shards_base_url: './shards/', ...info },
    shards: digests,
  });
  await writeFile(join(channel, subdir, 'repodata_shards.msgpack.zst'), index);
  return paths;
}

function found(answer: ShardSnapshotAnswer): Extract<ShardSnapshotAnswer, { status: 'found' }> {
  if (answer.status !== 'found') throw new Error(`it is ${answer.status}`);
  return answer;
}

function parse(bytes: Uint8Array): Record<string, Record<string, unknown>> {
  return JSON.parse(Buffer.from(bytes).toString()) as Record<string, Record<string, unknown>>;
}

const nameOf = (filename: string): string => filename.split('-').slice(0, -2).join('-');

/** The repodata with all other names filtered out of it. */
async function filtered(from: string, subdir: string, names: ReadonlySet<string>) {
  const repodata = parse(await readFile(join(from, subdir, 'repodata.json')));
  const pick = (section: Record<string, unknown> | undefined) =>
    Object.fromEntries(Object.entries(section ?? {}).filter(([filename]) => names.has(nameOf(filename))));
  return {
    packages: pick(repodata['packages']),
    'packages.conda': pick(repodata['packages.conda']),
    removed: ((repodata['removed'] ?? []) as unknown as string[]).filter((name) => names.has(nameOf(name))),
  };
}

const channels: (readonly [string, string, string])[] = [
  ['fixtures', FIXTURE_CHANNEL, 'linux-64'],
  ['fixtures', FIXTURE_CHANNEL, 'noarch'],
  ...(HAS_REAL_CHANNELS ? [['real', realChannel('conda-format'), 'linux-64'] as const] : []),
];

describe.each(channels)('a snapshot from the shards of %s (%s, %s)', (_kind, from, subdir) => {
  test('says what the repodata says of the same names', async () => {
    await shard(from, subdir);
    const all = [...splitRepodata(await readFile(join(from, subdir, 'repodata.json')))].map(
      ({ name }) => name,
    );
    for (const wanted of [all, all.slice(0, 2), [all.at(-1)!, 'absent'], []]) {
      const names = new Set(wanted);
      const answer = found(await takeShardSnapshot(new DirectoryChannel(channel), subdir, names));
      const { packages, 'packages.conda': conda, removed, info } = parse(answer.bytes);
      expect({ packages, 'packages.conda': conda, removed }).toEqual(await filtered(from, subdir, names));
      expect(info).toEqual({ subdir });
      expect([...answer.missing]).toEqual(wanted.filter((name) => name === 'absent'));
      // And it is repodata to everything else here.
      expect(
        [...(await Repodata.read(openerOf(answer.bytes), subdir)).records()].filter(
          (read) => 'error' in read,
        ),
      ).toEqual([]);
    }
  });
});

describe('a snapshot from shards', () => {
  const names = new Set(['ferry-lib', 'ferry-links']);

  test('fetches the index and the shards wanted, and nothing when the index did not change', async () => {
    await shard(FIXTURE_CHANNEL, 'linux-64');
    await using server = await serveChannel(channel);
    const source = httpSource(server.url);
    const first = found(await takeShardSnapshot(source, 'linux-64', names));
    await expect.poll(() => server.requests.length).toBe(3);
    expect(found(await takeShardSnapshot(source, 'linux-64', names)).digest).toBe(first.digest);
    const { validators: unless } = first;
    expect(await takeShardSnapshot(source, 'linux-64', names, { unless })).toEqual({ status: 'unchanged' });
  });

  test('is absent where there is no index', async () => {
    expect(await takeShardSnapshot(new DirectoryChannel(channel), 'noarch', names)).toEqual({
      status: 'absent',
    });
  });

  test.each([
    ['is missing', async (path: string) => rm(path), 'REPODATA_INVALID'],
    ['has other bytes', async (path: string) => writeFile(path, 'other'), 'DIGEST_MISMATCH'],
  ])('fails when a shard %s, instead of leaving the package out', async (_what, spoil, code) => {
    const paths = await shard(FIXTURE_CHANNEL, 'linux-64');
    await spoil(paths.get('ferry-lib')!);
    await expect(takeShardSnapshot(new DirectoryChannel(channel), 'linux-64', names)).rejects.toMatchObject({
      code,
      message: expect.stringContaining('`ferry-lib`') as unknown,
    });
  });

  test('CEP 15: keeps base_url, so that archives are looked for where they are', async () => {
    const base = 'https://files.example.org/linux-64/';
    await shard(FIXTURE_CHANNEL, 'linux-64', { info: { base_url: base } });
    const { bytes } = found(await takeShardSnapshot(new DirectoryChannel(channel), 'linux-64', names));
    const repodata = await Repodata.read(openerOf(bytes), 'linux-64');
    expect(repodata.baseUrl).toBe(base);
    expect(parse(bytes)['repodata_version']).toBe(2);
  });

  test('goes to another host for shards, without what is meant for the channel', async () => {
    const elsewhere = await tempFolder();
    await using cdn = await serveChannel(elsewhere);
    await shard(FIXTURE_CHANNEL, 'linux-64', {
      folder: elsewhere,
      info: { shards_base_url: cdn.url },
    });
    await using server = await serveChannel(channel);
    const answer = found(await takeShardSnapshot(httpSource(server.url), 'linux-64', names));
    await expect.poll(() => cdn.requests.length).toBe(2);
    expect(Object.keys(parse(answer.bytes)['packages.conda']!)).toHaveLength(3);
    await expect(takeShardSnapshot(new DirectoryChannel(channel), 'linux-64', names)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
  });
});
