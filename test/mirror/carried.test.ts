import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { collect } from '#ferry/io/bytes.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';
import { attestedChannel } from './sidecars/attested-channel.js';

/** What a mirror carries besides archives and their records. */

let store: ChannelStore;
beforeEach(() => {
  store = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
});

async function read(channel: ChannelSource, path: string): Promise<Buffer | undefined> {
  const answer = await channel.openMetadata(path);
  return answer.status === 'found' ? Buffer.from(await collect(answer.body, 1_000_000, path)) : undefined;
}

async function repodataOf(channel: ChannelSource): Promise<Record<string, Record<string, object>>> {
  const bytes = await read(channel, 'noarch/repodata.json');
  return JSON.parse(bytes?.toString() ?? '{}') as Record<string, Record<string, object>>;
}

test('cep142/mirror-sidecars, cep142/mirror-unchanged: each sidecar is there, byte for byte, before the repodata names it', async () => {
  const { folder, records, sidecars } = await attestedChannel('a', 'b');
  const source = new DirectoryChannel(folder);
  const mirror = new OciChannel(store);
  const listedBefore: string[] = [];
  const { subdirs } = await mirrorChannel({
    source: {
      url: source.url,
      subdirs: () => source.subdirs(),
      openArchive: source.openArchive.bind(source),
      openMetadata: async (path, options) => {
        if (path.includes('.sigs.'))
          listedBefore.push(...Object.keys((await repodataOf(mirror))['packages.conda'] ?? {}));
        return source.openMetadata(path, options);
      },
    },
    destination: store,
  });
  expect(subdirs).toMatchObject([{ added: 2, failed: [], publishedAs: 'unchanged' }]);
  expect(listedBefore).toEqual([]);
  for (const { filename, attestationsSha256 } of records)
    expect(await read(mirror, `noarch/${filename}.sigs.${attestationsSha256}`)).toEqual(
      Buffer.from(sidecars.get(filename) ?? []),
    );
});

test('cep48/mirror-artifacts: what is listed under v3 alone is carried, and counted anew where something fails', async () => {
  const folder = await tempFolder();
  const conda = (name: string) =>
    condaPackage({ name, version: '1.0', build: '0', subdir: 'noarch', index: { noarch: 'generic' } });
  await writeChannel(folder, { noarch: [conda('a'), conda('b'), conda('c')] });
  const noarch = join(folder, 'noarch');
  const path = join(noarch, 'repodata.json');
  const repodata = JSON.parse(await readFile(path, 'utf8')) as Record<string, Record<string, object>>;
  const { 'a-1.0-0.conda': a, 'b-1.0-0.conda': b, 'c-1.0-0.conda': c } = repodata['packages.conda'] ?? {};
  await writeFile(
    path,
    JSON.stringify({
      ...repodata,
      info: { subdir: 'noarch', repodata_revisions: { v3: { n_packages: 2 } } },
      'packages.conda': { 'a-1.0-0.conda': a },
      v3: { conda: { 'b-1.0-0': b, 'c-1.0-0': c }, whl: { 'd-1.0-0': { name: 'd' } } },
    }),
  );
  await rm(join(noarch, 'repodata.json.zst'), { force: true });
  await rm(join(noarch, 'c-1.0-0.conda'));

  const { subdirs } = await mirrorChannel({ source: new DirectoryChannel(folder), destination: store });
  expect(subdirs).toMatchObject([
    { added: 2, failed: [{ filename: 'c-1.0-0.conda' }], publishedAs: 'spliced' },
  ]);
  expect(subdirs[0]?.withheld).toMatchObject([{ filename: 'd-1.0-0.whl', code: 'UNSUPPORTED' }]);
  expect(await repodataOf(new OciChannel(store))).toMatchObject({
    info: { repodata_revisions: { v3: { n_packages: 1 } } },
    'packages.conda': { 'a-1.0-0.conda': a },
  });
  expect((await repodataOf(new OciChannel(store)))['v3']).toEqual({ conda: { 'b-1.0-0': b } });
});
