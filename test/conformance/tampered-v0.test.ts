import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  encode,
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
  await mirrorSoundChannel(join(folder, 'files'), join(folder, 'v0'), 'v0');
  sound = new StoredLayout(join(folder, 'v0'), 'v0');
});
afterAll(async () => rm(folder, { recursive: true }));

/** Package layers of both formats, then info and index. */
const TWINS = ['noarch/tool', '2.1.0-py_0'] as const;
const AT_TWINS = 'noarch/tool:2.1.0-py_0';
const LIB = ['linux-64/lib', '1__e__2.0-h0_1'] as const;
const AT_LIB = LIB.join(':');

async function addLayer(copy: StoredLayout, mediaType: string): Promise<void> {
  const layer = await copy.putBlob(LIB[0], mediaType, encode({ more: true }));
  await copy.edit(...LIB, ({ layers }) => layers.push(layer));
}

function change(what: (draft: ManifestDraft) => void): (copy: StoredLayout) => Promise<void> {
  return async (copy) => copy.edit(...LIB, what);
}

test.each([false, true])('nothing is found in the sound channel; deep: %s', async (deep) => {
  expect(await sound.findings({ deep })).toEqual([]);
});

test.each<Mutation>([
  [
    'v0/X11: the extra layer of old mirrors',
    (copy) => addLayer(copy, 'application/vnd.oci.image.layer.v1.tar'),
    `warning v0/X11 at ${AT_LIB}`,
  ],
  [
    'v0/D6: a second info layer',
    (copy) => addLayer(copy, 'application/vnd.conda.info.v1.tar+gzip'),
    `warning v0/D6 at ${AT_LIB}`,
  ],
  ['v0/D4: no package layer', change(({ layers }) => layers.shift()), `error v0/D4 at ${AT_LIB}`],
  ['v0/D4: no layers', change(({ layers }) => layers.splice(0)), `error v0/D4 at ${AT_LIB}`],
  [
    'v0/D4: the archive under the type of the other format',
    change(({ layers }) => Object.assign(layers[0] ?? {}, { mediaType: 'application/vnd.conda.package.v1' })),
    `error v0/D4 at ${AT_LIB}`,
  ],
  ['v0/D5: no info layer', change(({ layers }) => layers.splice(1, 1)), `info v0/D5 at ${AT_LIB}`],
  ['v0/D5: no index layer', change(({ layers }) => layers.pop()), `info v0/D5 at ${AT_LIB}`],
  ['v0/D5: neither info nor index', change(({ layers }) => layers.splice(1)), `info v0/D5 at ${AT_LIB}`],
  [
    'v0/D5: an index layer that is no JSON',
    async (copy) => copy.replaceLayer(...LIB, 2, Buffer.from('{')),
    `info v0/D5 at ${AT_LIB}`,
  ],
  [
    'v0/D1: one of two listed twins is not in the artifact',
    async (copy) => copy.edit(...TWINS, ({ layers }) => layers.splice(1, 1)),
    `error v0/D1 at ${AT_TWINS}`,
  ],
  [
    'v0/D1: a listed package whose repository is gone',
    async (copy) => copy.remove(LIB[0]),
    `error v0/D1 at ${AT_LIB}`,
  ],
  [
    'v0/D9: a layer without size',
    change(({ layers }) => delete (layers[0] as Partial<Record<'size', number>>).size),
    `error v0/D9 at ${AT_LIB}`,
  ],
  [
    'cep36/record-sha256: another archive than the listed one',
    async (copy) => copy.replaceLayer(...LIB, 0, Buffer.from('another')),
    `error cep36/record-sha256 at ${AT_LIB}`,
  ],
  [
    'cep36/record-size: a wrong size in the descriptor',
    change(({ layers }) => Object.assign(layers[0] ?? {}, { size: 7 })),
    `error cep36/record-size at ${AT_LIB}`,
  ],
  [
    'v0/D1: another subdir in info/index.json',
    async (copy) => copy.editIndex(...LIB, { subdir: 'noarch' }),
    `error v0/D1 at ${AT_LIB}`,
  ],
  [
    'v0/D1: another name in info/index.json',
    async (copy) => copy.editIndex(...LIB, { name: 'other' }),
    `error v0/D1 at ${AT_LIB}`,
  ],
  [
    'v0/D3: another version in info/index.json',
    async (copy) => copy.editIndex(...LIB, { version: '3' }),
    `error v0/D3 at ${AT_LIB}`,
  ],
  [
    'v0/D3: a tag that is escaped in another way',
    async (copy) => copy.put(LIB, [LIB[0], '1_N2.0-h0_1']),
    `error v0/D3 at ${LIB[0]}:1_N2.0-h0_1`,
  ],
  [
    'v0/D2: a name with an underscore, without the `zzz`',
    async (copy) => copy.put(['noarch/zzz_mutex', '1.0-main_0'], ['noarch/mutex', '1.0-main_0']),
    'error v0/D2 at noarch/mutex:1.0-main_0',
  ],
  [
    'v0/D2: a name without an underscore, with the `zzz`',
    async (copy) => copy.put(LIB, ['linux-64/zzz_lib', LIB[1]]),
    `error v0/D2 at linux-64/zzz_lib:${LIB[1]}`,
  ],
])('%s', async (_, tamper, found) => {
  const copy = await sound.copy();
  await tamper(copy);
  expect(await copy.findings()).toEqual([found]);
});

test.each<Mutation>([
  [
    'v0/D9: an archive whose blob is gone',
    async (copy) => rm(await copy.layerPath(...LIB, 0)),
    `error v0/D9 at ${AT_LIB}`,
  ],
  [
    'v0/D9: an archive whose blob is corrupt',
    async (copy) => appendFile(await copy.layerPath(...TWINS, 1), 'more'),
    `error v0/D9 at ${AT_TWINS}`,
  ],
  [
    'v0/D5: an info layer that is no gzip',
    async (copy) => copy.replaceLayer(...LIB, 1, Buffer.from('text')),
    `info v0/D5 at ${AT_LIB}`,
  ],
  [
    'v0/D5: an index layer that differs from the archive',
    async (copy) => copy.editIndex(...LIB, { license: 'MIT' }),
    `info v0/D5 at ${AT_LIB}`,
  ],
])('%s, which only the bytes show', async (_, tamper, found) => {
  const copy = await sound.copy();
  await tamper(copy);
  // What the manifests alone do not show.
  expect(await copy.findings()).toEqual([]);
  expect(await copy.findings({ deep: true })).toEqual([found]);
});
