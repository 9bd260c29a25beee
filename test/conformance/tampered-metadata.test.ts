import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SchemaId } from '#ferry/artifact/schema.js';
import { zstd } from '../../fixtures/build/zstd.mjs';
import { encode, mirrorSoundChannel, StoredLayout, writeSoundChannel } from './tampered-channel.js';

/** What is done to a copy of the sound channel, and all that a check finds then. */
type Mutation = readonly [
  title: string,
  schema: SchemaId,
  tamper: (copy: StoredLayout) => Promise<unknown>,
  found: string,
];
type Json = Record<string, unknown>;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ferry-test-'));
  await writeSoundChannel(join(folder, 'files'));
  for (const schema of ['v0', 'v1'] as const)
    await mirrorSoundChannel(join(folder, 'files'), join(folder, schema), schema);
});
afterAll(async () => rm(folder, { recursive: true }));

const REPODATA = 'noarch/mrepodata.json';
const LATEST = [REPODATA, 'latest'] as const;
const AT_LATEST = `${REPODATA}:latest`;
const LATEST_V0 = ['noarch/repodata.json', 'latest'] as const;

/** Moves `latest` away from the newest history tag. */
async function setBack(copy: StoredLayout, repository: string, layers: number): Promise<void> {
  await copy.edit(repository, 'latest', (draft) => {
    draft.layers.splice(layers);
    draft['x'] = 'older';
  });
}

/** Changes all history tags and `latest`. */
async function change(
  copy: StoredLayout,
  repository: string,
  what: Parameters<StoredLayout['edit']>[2],
): Promise<void> {
  for (const tag of await copy.tags(repository)) await copy.edit(repository, tag, what);
}

function packagesOf(document: Json): Record<string, Json> {
  return document['packages.conda'] as Record<string, Json>;
}

test.each<Mutation>([
  [
    'v1/R3: an older state under `latest` than under the newest history tag',
    'v1',
    async (copy) => setBack(copy, REPODATA, 2),
    `error v1/R3 at ${AT_LATEST}`,
  ],
  [
    'v1/C2: an older state of the channel data under `latest`',
    'v1',
    async (copy) => setBack(copy, 'channeldata.json', 1),
    'error v1/C2 at channeldata.json:latest',
  ],
  [
    'v0/D7: an older state under `latest` than under the newest history tag',
    'v0',
    async (copy) => setBack(copy, LATEST_V0[0], 2),
    'warning v0/D7 at noarch/repodata.json:latest',
  ],
  [
    'v1/R4: a history tag that is not in UTC',
    'v1',
    async (copy) => copy.put(LATEST, [REPODATA, '20260501T020000_0200']),
    `error v1/R4 at ${REPODATA}:20260501T020000_0200`,
  ],
  [
    'v1/R4: a history tag of a day that does not exist',
    'v1',
    async (copy) => copy.put(LATEST, [REPODATA, '20260230T000000Z']),
    `error v1/R4 at ${REPODATA}:20260230T000000Z`,
  ],
  [
    'v1/R4: a history tag of schema v0',
    'v1',
    async (copy) => copy.put(LATEST, [REPODATA, '2026.04.01.00.00.00']),
    `error v1/R4 at ${REPODATA}:2026.04.01.00.00.00`,
  ],
  [
    'v1/C3: a tag of the channel data that is no moment',
    'v1',
    async (copy) => copy.put(['channeldata.json', 'latest'], ['channeldata.json', 'stable']),
    'error v1/C3 at channeldata.json:stable',
  ],
  [
    'v0/D7: a tag that is no moment',
    'v0',
    async (copy) => copy.put(LATEST_V0, [LATEST_V0[0], 'stable']),
    'warning v0/D7 at noarch/repodata.json:stable',
  ],
  [
    'v0/D7: a history tag of a day that does not exist',
    'v0',
    async (copy) => copy.put(LATEST_V0, [LATEST_V0[0], '2026.02.30.00.00.00']),
    'warning v0/D7 at noarch/repodata.json:2026.02.30.00.00.00',
  ],
  [
    'v0/X6: a history tag without seconds',
    'v0',
    async (copy) => copy.put(LATEST_V0, [LATEST_V0[0], '2026.04.01.00.00']),
    'warning v0/X6 at noarch/repodata.json:2026.04.01.00.00',
  ],
  [
    'v1/R5: repodata compressed alone',
    'v1',
    async (copy) => change(copy, REPODATA, ({ layers }) => layers.shift()),
    `error v1/R5 at ${AT_LATEST}`,
  ],
  [
    'v1/R5: repodata without layers',
    'v1',
    async (copy) => change(copy, REPODATA, ({ layers }) => layers.splice(0)),
    `error v1/R5 at ${AT_LATEST}`,
  ],
  [
    'v1/R5: repodata under the media type of nothing',
    'v1',
    async (copy) =>
      change(copy, REPODATA, ({ layers }) => {
        layers.splice(1);
        Object.assign(layers[0] ?? {}, { mediaType: 'application/json' });
      }),
    `error v1/R5 at ${AT_LATEST}`,
  ],
  [
    'v1/R5: repodata whose blob is gone',
    'v1',
    async (copy) => rm(await copy.layerPath(...LATEST, 0)),
    `error v1/R5 at ${AT_LATEST}`,
  ],
  [
    'v1/R5: repodata whose blob is corrupt',
    'v1',
    async (copy) => appendFile(await copy.layerPath(...LATEST, 0), ' '),
    `error v1/R5 at ${AT_LATEST}`,
  ],
  [
    'cep36/zst-same-bytes: a compressed form whose blob is gone',
    'v1',
    async (copy) => rm(await copy.layerPath(...LATEST, 1)),
    'error cep36/zst-same-bytes at noarch/repodata.json.zst',
  ],
  [
    'v1/C4: channel data whose blob is gone',
    'v1',
    async (copy) => rm(await copy.layerPath('channeldata.json', 'latest', 0)),
    'error v1/C4 at channeldata.json:latest',
  ],
  [
    'v0/D9: repodata whose blob is gone',
    'v0',
    async (copy) => rm(await copy.layerPath(...LATEST_V0, 0)),
    'error v0/D9 at noarch/repodata.json:latest',
  ],
  [
    'v0/D7: repodata under the media type of nothing',
    'v0',
    async (copy) =>
      change(copy, LATEST_V0[0], ({ layers }) =>
        Object.assign(layers[0] ?? {}, { mediaType: 'application/json' }),
      ),
    'warning v0/D7 at noarch/repodata.json:latest',
  ],
  [
    'v1/R9: a further layer that is none of repodata',
    'v1',
    async (copy) => {
      const layer = await copy.putBlob(REPODATA, 'application/vnd.conda.run_exports.v1+json', encode({}));
      await change(copy, REPODATA, ({ layers }) => layers.push(layer));
    },
    `warning v1/R9 at ${AT_LATEST}`,
  ],
  [
    'v1/C4: channel data under another media type',
    'v1',
    async (copy) =>
      change(copy, 'channeldata.json', ({ layers }) =>
        Object.assign(layers[0] ?? {}, { mediaType: 'application/vnd.conda.repodata.v1+json' }),
      ),
    'error v1/C4 at channeldata.json:latest',
  ],
  [
    'v1/R7: no mark',
    'v1',
    async (copy) => change(copy, REPODATA, (draft) => delete draft.annotations),
    `error v1/R7 at ${AT_LATEST}`,
  ],
  [
    'v1/R8: a further org.conda annotation',
    'v1',
    async (copy) =>
      change(copy, REPODATA, (draft) => Object.assign(draft.annotations ?? {}, { 'org.conda.x': '' })),
    `error v1/R8 at ${AT_LATEST}`,
  ],
  [
    'v1/C5: channel data without mark',
    'v1',
    async (copy) => change(copy, 'channeldata.json', (draft) => delete draft.annotations),
    'info v1/C5 at channeldata.json:latest',
  ],
  [
    'v1/G1: an index in the place of repodata',
    'v1',
    async (copy) => {
      const mediaType = 'application/vnd.oci.image.index.v1+json';
      for (const tag of await copy.tags(REPODATA))
        await copy.putManifest(REPODATA, tag, { schemaVersion: 2, mediaType, manifests: [] });
    },
    `error v1/G1 at ${AT_LATEST}`,
  ],
  [
    'v1/R1: no repodata of noarch',
    'v1',
    async (copy) => copy.remove('noarch/mrepodata.json'),
    'error v1/R1 at noarch/mrepodata.json',
  ],
  [
    'cep36/noarch-repodata: no repodata of noarch',
    'v0',
    async (copy) => copy.remove('noarch/repodata.json'),
    'error cep36/noarch-repodata at noarch/repodata.json',
  ],
  [
    'v1/C1: no channel data',
    'v1',
    async (copy) => copy.remove('channeldata.json'),
    'warning v1/C1 at channeldata.json',
  ],
  ...(['v0', 'v1'] as const).flatMap((schema): Mutation[] => [
    [
      `cep36/zst-same-bytes: a compressed form of something else in ${schema}`,
      schema,
      async (copy) => {
        const repository = copy.metadataRepository('noarch', 'repodata.json');
        await copy.replaceLayer(repository, 'latest', 1, zstd(Buffer.from('{}')));
        const draft = await copy.manifest(repository, 'latest');
        for (const tag of await copy.tags(repository)) await copy.putManifest(repository, tag, draft);
      },
      'error cep36/zst-same-bytes at noarch/repodata.json.zst',
    ],
    [
      `cep36/zst-name: a compressed form that is no zstd in ${schema}`,
      schema,
      async (copy) => {
        const repository = copy.metadataRepository('noarch', 'repodata.json');
        await copy.replaceLayer(repository, 'latest', 1, Buffer.from('text'));
        const draft = await copy.manifest(repository, 'latest');
        for (const tag of await copy.tags(repository)) await copy.putManifest(repository, tag, draft);
      },
      'error cep36/zst-name at noarch/repodata.json.zst',
    ],
    [
      `cep36/repodata-object: repodata that is no JSON in ${schema}`,
      schema,
      async (copy) => copy.putMetadata('noarch', 'repodata.json', Buffer.from('{"packages": {')),
      'error cep36/repodata-object at noarch/repodata.json',
    ],
    [
      `cep36/info-subdir-agrees: repodata of another subdir in ${schema}`,
      schema,
      async (copy) =>
        copy.editMetadata('noarch', 'repodata.json', (document) => ({
          ...document,
          info: { subdir: 'linux-64' },
        })),
      'error cep36/info-subdir-agrees at noarch/repodata.json#/info/subdir',
    ],
    [
      `cep36/record-subdir: a record of another subdir in ${schema}`,
      schema,
      async (copy) =>
        copy.editMetadata('noarch', 'repodata.json', (document) => {
          Object.assign(packagesOf(document)['tool-2.1.0-py_0.conda'] ?? {}, { subdir: 'linux-64' });
          return document;
        }),
      'warning cep36/record-subdir at noarch/repodata.json#/packages.conda/tool-2.1.0-py_0.conda/subdir',
    ],
    [
      `cep12/info-subdir: run exports of another subdir in ${schema}`,
      schema,
      async (copy) =>
        copy.editMetadata('noarch', 'run_exports.json', (document) => ({
          ...document,
          info: { subdir: 'linux-64', version: 1 },
        })),
      'warning cep12/info-subdir at noarch/run_exports.json#/info/subdir',
    ],
    [
      `cep12/all-packages: run exports without one of the packages in ${schema}`,
      schema,
      async (copy) =>
        copy.editMetadata('noarch', 'run_exports.json', (document) => {
          delete packagesOf(document)['tool-2.1.0-py_0.conda'];
          return document;
        }),
      'warning cep12/all-packages at noarch/run_exports.json',
    ],
    [
      `cep38/subdirs-complete: channel data that leaves out a subdir in ${schema}`,
      schema,
      async (copy) =>
        copy.editMetadata('', 'channeldata.json', (document) => ({
          ...document,
          subdirs: ['noarch'],
        })),
      'error cep38/subdirs-complete at channeldata.json#/subdirs',
    ],
    [
      `cep6/level: a notice of a level that nobody knows in ${schema}`,
      schema,
      async (copy) =>
        copy.editMetadata('', 'notices.json', ({ notices }) => ({
          notices: (notices as Json[]).map((notice) => ({ ...notice, level: 'loud' })),
        })),
      'error cep6/level at notices.json#/notices/0/level',
    ],
    [
      `cep36/current-repodata-subset: current repodata with a package of its own in ${schema}`,
      schema,
      async (copy) =>
        copy.editMetadata('noarch', 'repodata.json', (document) => {
          delete packagesOf(document)['_mutex-1.0-main_0.conda'];
          return document;
        }),
      'warning cep36/current-repodata-subset at noarch/current_repodata.json',
    ],
  ]),
])('%s', async (_, schema, tamper, found) => {
  const copy = await new StoredLayout(join(folder, schema), schema).copy();
  await tamper(copy);
  expect(await copy.findings()).toEqual([found]);
});

test('v1/N1: repodata of schema v1 that lists both twins', async () => {
  const copy = await new StoredLayout(join(folder, 'v1'), 'v1').copy();
  await copy.editMetadata('noarch', 'repodata.json', (document) => {
    const record = packagesOf(document)['tool-2.1.0-py_0.conda'];
    Object.assign(document['packages'] as Json, {
      'tool-2.1.0-py_0.tar.bz2': { ...record, sha256: 'a'.repeat(64), size: 1 },
    });
    return document;
  });
  expect(await copy.findings()).toEqual(['error v1/N1 at noarch/ctool:2.1.0-py__0']);
});

test('v1/P6: the artifact of twins holds the older format', async () => {
  const copy = await new StoredLayout(join(folder, 'v1'), 'v1').copy();
  await copy.editMetadata('noarch', 'repodata.json', (document) => {
    const record = (document['packages'] as Record<string, Json>)['data-1.0+abc-0.tar.bz2'];
    packagesOf(document)['data-1.0+abc-0.conda'] = { ...record, sha256: 'a'.repeat(64), size: 1 };
    return document;
  });
  expect(await copy.findings()).toEqual(['error v1/P6 at noarch/cdata:1.0_Pabc-0']);
});
