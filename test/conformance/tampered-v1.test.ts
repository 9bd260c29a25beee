import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hashOf } from '#ferry/artifact/schema-v1.js';
import {
  encode,
  LONG_NAME,
  mirrorSoundChannel,
  StoredLayout,
  writeSoundChannel,
  type ManifestDraft,
} from './tampered-channel.js';

/** What is done to a copy of the sound channel, and all that a check finds then. */
type Mutation = readonly [title: string, tamper: (copy: StoredLayout) => Promise<unknown>, found: string];

let folder: string;
let sound: StoredLayout;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ferry-test-'));
  await writeSoundChannel(join(folder, 'files'));
  await mirrorSoundChannel(join(folder, 'files'), join(folder, 'v1'), 'v1');
  sound = new StoredLayout(join(folder, 'v1'), 'v1');
});
afterAll(async () => rm(folder, { recursive: true }));

const TOOL = ['noarch/ctool', '2.1.0-py__0'] as const;
const AT_TOOL = 'noarch/ctool:2.1.0-py__0';
const LIB = ['linux-64/clib', '1_N2.0-h0__1'] as const;
const LONG = [`linux-64/${hashOf(`c${LONG_NAME}`)}`, hashOf('1.0-0')] as const;
const NAME = 'org.conda.package.name';
const VERSION = 'org.conda.package.version';
const BUILD = 'org.conda.package.build';

/** Puts one more layer into an artifact. */
async function addLayer(copy: StoredLayout, mediaType: string): Promise<void> {
  const layer = await copy.putBlob(TOOL[0], mediaType, encode({ more: true }));
  await copy.edit(...TOOL, ({ layers }) => layers.push(layer));
}

async function annotate(copy: StoredLayout, annotations: Record<string, unknown>): Promise<void> {
  await copy.edit(...TOOL, (draft) => {
    draft.annotations = { ...draft.annotations, ...annotations };
  });
}

function change(what: (draft: ManifestDraft) => void): (copy: StoredLayout) => Promise<void> {
  return async (copy) => copy.edit(...TOOL, what);
}

test.each([false, true])('nothing is found in the sound channel; deep: %s', async (deep) => {
  expect(await sound.findings({ deep })).toEqual([]);
});

test.each<Mutation>([
  [
    'v1/P5: a layer too many',
    (copy) => addLayer(copy, 'application/vnd.oci.image.layer.v1.tar'),
    `error v1/P5 at ${AT_TOOL}`,
  ],
  [
    'v1/P5: a layer too many, of a conda type that the draft does not list',
    (copy) => addLayer(copy, 'application/vnd.conda.more.v1+json'),
    `error v1/P5 at ${AT_TOOL}`,
  ],
  [
    'v1/P5: a second info layer',
    (copy) => addLayer(copy, 'application/vnd.conda.info.v1.tar+gzip'),
    `error v1/P5 at ${AT_TOOL}`,
  ],
  [
    'v1/P1: a second package layer',
    (copy) => addLayer(copy, 'application/vnd.conda.package.v1'),
    `error v1/P1 at ${AT_TOOL}`,
  ],
  ['v1/P1: no package layer', change(({ layers }) => layers.shift()), `error v1/P1 at ${AT_TOOL}`],
  ['v1/P1: no layers', change(({ layers }) => layers.splice(0)), `error v1/P1 at ${AT_TOOL}`],
  ['v1/P3: no info layer', change(({ layers }) => layers.splice(1, 1)), `error v1/P3 at ${AT_TOOL}`],
  ['v1/P4: no index layer', change(({ layers }) => layers.pop()), `error v1/P4 at ${AT_TOOL}`],
  ...[0, 1, 2].map((layer): Mutation => [
    `v1/M1: layer ${String(layer)} under a conda type that the draft does not list`,
    change(({ layers }) => Object.assign(layers[layer] ?? {}, { mediaType: 'application/vnd.conda.other' })),
    `error v1/M1 at ${AT_TOOL}`,
  ]),
  [
    'v1/P2: the archive under the type of the other format',
    change(({ layers }) => Object.assign(layers[0] ?? {}, { mediaType: 'application/vnd.conda.package.v1' })),
    `error v1/P2 at ${AT_TOOL}`,
  ],
  [
    'cep36/record-sha256: another archive than the listed one',
    async (copy) => copy.replaceLayer(...TOOL, 0, Buffer.from('another')),
    `error cep36/record-sha256 at ${AT_TOOL}`,
  ],
  [
    'cep36/record-size: a wrong size in the descriptor',
    change(({ layers }) => Object.assign(layers[0] ?? {}, { size: 7 })),
    `error cep36/record-size at ${AT_TOOL}`,
  ],
  [
    'v1/P4: an index layer that is no JSON',
    async (copy) => copy.replaceLayer(...TOOL, 2, Buffer.from('{')),
    `error v1/P4 at ${AT_TOOL}`,
  ],
  [
    'v1/P4: an index layer whose blob is gone',
    async (copy) => rm(await copy.layerPath(...TOOL, 2)),
    `error v1/P4 at ${AT_TOOL}`,
  ],
  [
    'v1/G1: an index in the place of the artifact',
    async (copy) =>
      copy.putManifest(...TOOL, {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [],
      }),
    `error v1/G1 at ${AT_TOOL}`,
  ],
  [
    'v1/G1: an annotation that is no text',
    async (copy) => annotate(copy, { 'org.example.count': 1 }),
    `error v1/G1 at ${AT_TOOL}`,
  ],
  [
    'v1/A1: a mark that is no text',
    async (copy) => annotate(copy, { 'org.conda.oci.schema': 1 }),
    `error v1/A1 at ${AT_TOOL}`,
  ],
  [
    'v1/A1: no mark',
    async (copy) => annotate(copy, { 'org.conda.oci.schema': undefined }),
    `error v1/A1 at ${AT_TOOL}`,
  ],
  [
    'v1/A1: the mark of another schema',
    async (copy) => annotate(copy, { 'org.conda.oci.schema': '2' }),
    `error v1/A1 at ${AT_TOOL}`,
  ],
  ...(
    [
      ['v1/A2', NAME],
      ['v1/A3', VERSION],
      ['v1/A4', BUILD],
    ] as const
  ).flatMap(([clause, key]): Mutation[] => [
    [
      `${clause}: no annotation ${key}`,
      async (copy) => annotate(copy, { [key]: undefined }),
      `error ${clause} at ${AT_TOOL}`,
    ],
    [
      `${clause}: a wrong ${key}`,
      async (copy) => annotate(copy, { [key]: 'other' }),
      `error ${clause} at ${AT_TOOL}`,
    ],
  ]),
  [
    'v1/A2: the name as it is encoded',
    async (copy) => annotate(copy, { [NAME]: 'ctool' }),
    `error v1/A2 at ${AT_TOOL}`,
  ],
  [
    'v1/A4: another build in a hashed artifact',
    async (copy) =>
      copy.edit(...LONG, (draft) => {
        draft.annotations = { ...draft.annotations, [BUILD]: '1' };
      }),
    `error v1/A4 at ${LONG.join(':')}`,
  ],
  [
    'v1/A5: a further org.conda annotation',
    async (copy) => annotate(copy, { 'org.conda.package.subdir': 'noarch' }),
    `error v1/A5 at ${AT_TOOL}`,
  ],
  [
    'v1/P8: an org.conda annotation on a layer',
    change(({ layers }) => Object.assign(layers[0] ?? {}, { annotations: { 'org.conda.md5': 'x' } })),
    `info v1/P8 at ${AT_TOOL}`,
  ],
  ...(['name', 'version', 'build'] as const).map((field): Mutation => [
    `v1/P7: another ${field} in info/index.json`,
    async (copy) => copy.editIndex(...TOOL, { [field]: 'other' }),
    `error v1/P7 at ${AT_TOOL}`,
  ]),
  [
    'v1/N1: another subdir in info/index.json',
    async (copy) => copy.editIndex(...TOOL, { subdir: 'linux-64' }),
    `error v1/N1 at ${AT_TOOL}`,
  ],
])('%s', async (_, tamper, found) => {
  const copy = await sound.copy();
  await tamper(copy);
  expect(await copy.findings()).toEqual([found]);
});

test('v1/P4: an index layer with a key of any name is read, and what it says is judged', async () => {
  const copy = await sound.copy();
  await copy.editIndex(...TOOL, { unreadable: 'no', name: 'other' });
  expect(await copy.findings()).toEqual([`error v1/P7 at ${AT_TOOL}`]);
});

test.each<Mutation>([
  [
    'v1/S4: a stray repository of schema v0',
    async (copy) => copy.put(TOOL, ['noarch/tool', TOOL[1]]),
    'error v1/S4 at noarch/tool',
  ],
  [
    'v1/S3: a repository with `h` that is no hash',
    async (copy) => copy.put(TOOL, ['noarch/hfoo', TOOL[1]]),
    'error v1/S3 at noarch/hfoo',
  ],
  [
    'v1/S1: metadata that the draft does not know',
    async (copy) => copy.put(TOOL, ['noarch/mfoo', TOOL[1]]),
    'warning v1/S1 at noarch/mfoo',
  ],
  [
    'v1/T5: a plain tag in a hashed repository',
    async (copy) => copy.put(LONG, [LONG[0], '1.0-0']),
    `error v1/T5 at ${LONG[0]}:1.0-0`,
  ],
  [
    'v1/T5: a hashed tag in a plain repository',
    async (copy) => copy.put(TOOL, [TOOL[0], hashOf('2.1.0-py__0')]),
    `error v1/T5 at noarch/ctool:${hashOf('2.1.0-py__0')}`,
  ],
  [
    'v1/S3: the hash of another name',
    async (copy) => copy.put(LONG, [`linux-64/${hashOf('cother')}`, LONG[1]]),
    `error v1/S3 at linux-64/${hashOf('cother')}:${LONG[1]}`,
  ],
  [
    'v1/T4: the hash of another tag',
    async (copy) => copy.put(LONG, [LONG[0], hashOf('1.0-1')]),
    `error v1/T4 at ${LONG[0]}:${hashOf('1.0-1')}`,
  ],
  [
    'v1/N3: a name that ought to be hashed',
    async (copy) => copy.put(LONG, [`linux-64/c${LONG_NAME}`, '1.0-0']),
    `error v1/N3 at linux-64/c${LONG_NAME}:1.0-0`,
  ],
  [
    'v1/T1: a tag that cannot be decoded',
    async (copy) => copy.put(TOOL, [TOOL[0], '1.0_x-0']),
    'error v1/T1 at noarch/ctool:1.0_x-0',
  ],
  [
    'v1/T3: a tag with two dashes',
    async (copy) => copy.put(TOOL, [TOOL[0], '1.0-rc1-0']),
    'error v1/T3 at noarch/ctool:1.0-rc1-0',
  ],
  [
    'v1/T3: a tag without a dash',
    async (copy) => copy.put(TOOL, [TOOL[0], 'latest']),
    'error v1/T3 at noarch/ctool:latest',
  ],
  [
    'v1/T6: the tag of another version',
    async (copy) => copy.put(TOOL, [TOOL[0], '2.1.1-py__0']),
    'error v1/T6 at noarch/ctool:2.1.1-py__0',
  ],
  [
    'v1/S2: a package in the repository of another',
    async (copy) => copy.put(TOOL, ['noarch/cother', TOOL[1]]),
    `error v1/S2 at noarch/cother:${TOOL[1]}`,
  ],
  [
    'v1/N1: a package in another subdir',
    async (copy) => copy.put(TOOL, ['linux-64/ctool', TOOL[1]]),
    `error v1/N1 at linux-64/ctool:${TOOL[1]}`,
  ],
  [
    'v1/N1: a listed package whose repository is gone',
    async (copy) => copy.remove(TOOL[0]),
    `error v1/N1 at ${AT_TOOL}`,
  ],
  [
    'v1/N1: a listed package whose tag is gone',
    async (copy) => copy.untag(...LIB),
    `error v1/N1 at ${LIB.join(':')}`,
  ],
])('%s', async (_, tamper, found) => {
  const copy = await sound.copy();
  await tamper(copy);
  expect(await copy.findings()).toEqual([found]);
});

test('v1/B17: a list of referrers among the tags is no package', async () => {
  const copy = await sound.copy();
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  await copy.putManifest(TOOL[0], `sha256-${'a'.repeat(64)}`, { schemaVersion: 2, mediaType, manifests: [] });
  expect(await copy.findings()).toEqual([]);
});

test.each<Mutation>([
  [
    'v1/P2: an archive whose blob is gone',
    async (copy) => rm(await copy.layerPath(...TOOL, 0)),
    `error v1/P2 at ${AT_TOOL}`,
  ],
  [
    'v1/P2: an archive whose blob is corrupt',
    async (copy) => appendFile(await copy.layerPath(...TOOL, 0), 'more'),
    `error v1/P2 at ${AT_TOOL}`,
  ],
  [
    'v1/P2: an archive, not listed, under the type of the other format',
    async (copy) => {
      await copy.put(LIB, [LIB[0], '3.0-0']);
      await copy.editIndex(LIB[0], '3.0-0', { version: '3.0', build: '0' });
      await copy.edit(LIB[0], '3.0-0', (draft) => {
        Object.assign(draft.layers[0] ?? {}, { mediaType: 'application/vnd.conda.package.v1' });
        draft.annotations = { ...draft.annotations, [VERSION]: '3.0', [BUILD]: '0' };
      });
    },
    `error v1/P2 at ${LIB[0]}:3.0-0`,
  ],
  [
    'v1/P3: an info layer that is no gzip',
    async (copy) => copy.replaceLayer(...TOOL, 1, Buffer.from('text')),
    `error v1/P3 at ${AT_TOOL}`,
  ],
  [
    'v1/P3: an info layer whose blob is gone',
    async (copy) => rm(await copy.layerPath(...TOOL, 1)),
    `error v1/P3 at ${AT_TOOL}`,
  ],
  [
    'v1/P3: the info layer of nothing',
    async (copy) => copy.replaceLayer(...TOOL, 1, gzipSync(Buffer.alloc(1024))),
    `error v1/P3 at ${AT_TOOL}`,
  ],
  [
    'v1/P4: an index layer that differs from the archive',
    async (copy) => copy.editIndex(...TOOL, { license: 'MIT' }),
    `error v1/P4 at ${AT_TOOL}`,
  ],
])('%s, which only the bytes show', async (_, tamper, found) => {
  const copy = await sound.copy();
  await tamper(copy);
  // What the manifests alone do not show.
  expect(await copy.findings()).toEqual([]);
  expect(await copy.findings({ deep: true })).toEqual([found]);
});
