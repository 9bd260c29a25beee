import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { check } from '#ferry/conformance/check.js';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { repodataOf } from '../../fixtures/build/channel.mjs';
import { writeTar } from '../../fixtures/build/tar.mjs';
import { zstd } from '../../fixtures/build/zstd.mjs';
import { tempFolder } from '../support/temp.js';
import { encode, StoredLayout } from './tampered-channel.js';

const TITLE = 'org.opencontainers.image.title';
const CREATED = { creationTime: '2022.09.11.09.32' };
const SPEC = { subdir: 'noarch', infoFiles: {}, payloadFiles: { 'a.txt': 'a\n' } } as const;

interface Deployed {
  /** Of older versions of oras-py the config is empty. */
  readonly config?: 'empty' | 'json';
  /** On Windows the info layer is missing. */
  readonly hasInfo?: boolean;
  readonly hasExtraLayer?: boolean;
}

/** Stores an archive as conda-oci-mirror does: names from the file name, info without the folder's name, no annotations. */
async function deploy(
  layout: StoredLayout,
  { filename, bytes, index }: ReturnType<typeof condaPackage>,
  { config = 'json', hasInfo = true, hasExtraLayer = false }: Deployed,
): Promise<void> {
  const stem = filename.replace(/\.conda$|\.tar\.bz2$/, '');
  const [, name = '', version = '', build = ''] = /^(.+)-([^-]+)-([^-]+)$/.exec(stem) ?? [];
  const repository = `noarch/${name.startsWith('_') ? 'zzz' : ''}${name}`;
  const tag = `${version}-${build}`
    .replaceAll('+', '__p__')
    .replaceAll('!', '__e__')
    .replaceAll('=', '__eq__');
  const put = async (mediaType: string, content: Uint8Array, annotations: Record<string, string>) => ({
    ...(await layout.putBlob(repository, mediaType, content)),
    annotations: { ...annotations, ...CREATED },
  });
  const indexJson = encode(index);
  const packageType = `application/vnd.conda.package.${filename.endsWith('.conda') ? 'v2' : 'v1'}`;
  const layers = [await put(packageType, bytes, { [TITLE]: filename, 'org.conda.md5': '0'.repeat(32) })];
  if (hasInfo) {
    const info = gzipSync(writeTar([{ path: 'index.json', content: indexJson }]));
    layers.push(
      await put('application/vnd.conda.info.v1.tar+gzip', info, { [TITLE]: `${stem}/info.tar.gz` }),
      await put('application/vnd.conda.info.index.v1+json', indexJson, {
        [TITLE]: `${stem}/info/index.json`,
      }),
    );
  }
  if (hasExtraLayer)
    layers.push(
      await put('application/vnd.oci.image.layer.v1.tar', Buffer.from('more'), { [TITLE]: 'more' }),
    );
  await layout.putManifest(repository, tag, await manifestOf(layout, repository, layers, config));
}

async function manifestOf(
  layout: StoredLayout,
  repository: string,
  layers: readonly unknown[],
  config: 'empty' | 'json',
): Promise<Record<string, unknown>> {
  const bytes = Buffer.from(config === 'empty' ? '' : '{}');
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: await layout.putBlob(repository, 'application/vnd.unknown.config.v1+json', bytes),
    layers,
    annotations: {},
  };
}

/** Stores repodata as conda-oci-mirror does: both layers under one title, tags in local time and without seconds. */
async function deployRepodata(
  layout: StoredLayout,
  archives: Parameters<typeof repodataOf>[1],
): Promise<void> {
  const repository = 'noarch/repodata.json';
  const bytes = encode(repodataOf('noarch', archives));
  const layers = [];
  for (const [suffix, content] of [
    ['', bytes],
    ['+zst', zstd(bytes)],
  ] as const) {
    const layer = await layout.putBlob(
      repository,
      `application/vnd.conda.repodata.v1+json${suffix}`,
      content,
    );
    layers.push({ ...layer, annotations: { [TITLE]: 'repodata.json', ...CREATED } });
  }
  const manifest = await manifestOf(layout, repository, layers, 'empty');
  for (const tag of ['2022.09.11.09.32', 'latest']) await layout.putManifest(repository, tag, manifest);
}

const archives = [
  condaPackage({ ...SPEC, name: '_mutex', version: '1.0', build: 'main_0' }),
  tarBz2Package({ ...SPEC, name: 'data', version: '1!1.0+abc', build: 'h1+cuda_0' }),
  condaPackage({ ...SPEC, name: 'tool', version: '2.1.0', build: 'py_0' }),
].map((archive) => ({ ...archive, record: { indexed_timestamp: 1_700_000_000_000 } }));

async function deployed(options: Deployed): Promise<StoredLayout> {
  const layout = new StoredLayout(await tempFolder(), 'v0');
  for (const archive of archives) await deploy(layout, archive, options);
  await deployRepodata(layout, archives);
  return layout;
}

/** What every mirror of that tool shows. */
const ALWAYS = [
  'warning v0/X6 at noarch/repodata.json:2022.09.11.09.32',
  'warning v0/X7 at noarch/repodata.json:latest',
];
const PLACES = [
  'noarch/data:1__e__1.0__p__abc-h1__p__cuda_0',
  'noarch/tool:2.1.0-py_0',
  'noarch/zzz_mutex:1.0-main_0',
];

describe('what conda-oci-mirror wrote is read and judged as schema v0', () => {
  test.each(['empty', 'json'] as const)(
    'v0/X1 to v0/X5: nothing is wrong with a config that is %s',
    async (config) => {
      const layout = await deployed({ config });
      expect(await layout.findings()).toEqual(ALWAYS);
      // The index layer there is the file in the archive, byte for byte.
      expect(await layout.findings({ deep: true })).toEqual(ALWAYS);
    },
  );

  test('v0/X3, v0/D5: without info layers, a note for each package', async () => {
    const layout = await deployed({ hasInfo: false });
    expect(await layout.findings()).toEqual([...PLACES.map((place) => `info v0/D5 at ${place}`), ...ALWAYS]);
  });

  test('v0/X11: an extra layer is warned about, and breaks nothing', async () => {
    const layout = await deployed({ hasExtraLayer: true });
    const findings = await layout.findings();
    expect(findings).toEqual([...ALWAYS, ...PLACES.map((place) => `warning v0/X11 at ${place}`)].sort());
  });

  test.each([
    ['v0/D9', 'without', ''],
    ['v0/D4', 'with the wrong', 'application/vnd.oci.image.layer.v1.tar'],
  ])('%s: an archive %s media type, as v0/X11 says there are', async (clause, _, mediaType) => {
    const layout = await deployed({});
    await layout.edit('noarch/tool', '2.1.0-py_0', ({ layers }) =>
      Object.assign(layers[0] ?? {}, { mediaType }),
    );
    expect(await layout.findings()).toEqual([`error ${clause} at noarch/tool:2.1.0-py_0`, ...ALWAYS]);
  });

  test('v0/X2: of twins the later push is there, so that the other one is listed in vain', async () => {
    const layout = await deployed({});
    const twin = tarBz2Package({ ...SPEC, name: 'tool', version: '2.1.0', build: 'py_0' });
    const record = { indexed_timestamp: 1_700_000_000_000 };
    await deployRepodata(layout, [...archives, { ...twin, record }]);
    expect(await layout.findings()).toEqual(['error v0/D1 at noarch/tool:2.1.0-py_0', ...ALWAYS]);
  });

  test('v0/D8: repodata without its compressed form', async () => {
    const layout = await deployed({});
    for (const tag of await layout.tags('noarch/repodata.json'))
      await layout.edit('noarch/repodata.json', tag, ({ layers }) => layers.pop());
    expect(await layout.findings()).toEqual(['info v0/D8 at noarch/repodata.json:latest', ALWAYS[0]]);
  });

  test('what is deployed conforms, with warnings', async () => {
    const layout = await deployed({ hasExtraLayer: true });
    await using registry = openLayoutRegistry(layout.root);
    const store = new ChannelStore(registry, '', schemaV0);
    const report = await check({ kind: 'channel', store }, { name: 'deployed', deep: true });
    expect(report).toMatchObject({ conforms: true, counts: { error: 0, warning: 5 }, unchecked: [] });
    const strict = await check({ kind: 'channel', store }, { name: 'deployed', strict: true });
    expect(strict).toMatchObject({ conforms: false });
  });

  test('as schema v1 it is no channel, and the error says which it is', async () => {
    const layout = await deployed({});
    await using registry = openLayoutRegistry(layout.root);
    const store = new ChannelStore(registry, '', schemaV1);
    await expect(check({ kind: 'channel', store }, { name: 'deployed' })).rejects.toMatchObject({
      code: 'CHANNEL_NOT_FOUND',
      hint: 'it holds a channel of schema v0: pass --schema v0',
    });
  });
});
