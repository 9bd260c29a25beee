import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode } from '@msgpack/msgpack';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decompressZstd } from '#ferry/io/zstd.js';
import { condaPackage, tarBz2Package, type PackageSpec } from '../../fixtures/build/archive.mjs';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { pythonWithCondaIndex, runCondaIndex } from '../support/conda-index.js';
import { runFerry } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

type Values = Record<string, unknown>;
interface Repodata extends Values {
  readonly packages: Record<string, Values>;
  readonly 'packages.conda': Record<string, Values>;
}

/** Where what we write is not what conda-index writes, and why. */
const DIFFERENCES = {
  records: {
    indexed_timestamp: 'conda-index does not stamp records yet (CEP 47)',
  },
  /** Records that differ in one field. */
  files: {
    'ferry-duplicates-1.0-1.tar.bz2': {
      license: 'of two `info/index.json` it takes the first one, and installers take the last one, as we do',
    },
  },
  shardInfo: {
    created_at: 'ours tells when the newest archive came, so that equal channels have equal bytes',
    shards_base_url: 'ours lie in a folder of their own, so that old ones can be removed',
  },
  channeldata: {
    timestamp:
      'conda-index 0.13.0 has the time of the record that it looked at last; CEP 38 asks for the newest',
  },
  // Not listed, since the packages here do not show them: a patch to `null` of a key that the record does not have makes a key
  // there, and none here; a bare list in `info/run_exports.json` stays one there, and is of the kind `weak` here; packages of
  // before 2016, without `info/paths.json`, have no flags there.
} as const;

const fileDifferences = new Map<string, Readonly<Record<string, string>>>(Object.entries(DIFFERENCES.files));
const SECTIONS = ['packages', 'packages.conda'] as const;

let home: string;
let python: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'ferry-conda-index-'));
  python = await pythonWithCondaIndex(home);
});
afterAll(async () => rm(home, { recursive: true, force: true }));

/** Indexes the same archives twice. */
async function indexBoth(
  fill: (folder: string) => Promise<unknown>,
  patches?: (folder: string) => Promise<string>,
): Promise<{ readonly ours: string; readonly theirs: string; readonly subdirs: readonly string[] }> {
  const root = await tempFolder();
  const [ours, theirs] = [join(root, 'ours'), join(root, 'theirs')];
  for (const folder of [ours, theirs]) {
    await mkdir(folder);
    await fill(folder);
  }
  const patch = await patches?.(root);
  const subdirs = (await readdir(ours)).sort();
  await runCondaIndex(theirs, { python, subdirs, patches: patch });
  const { code, stderr } = await runFerry([
    'index',
    ours,
    ...(patch === undefined ? [] : ['--patch', patch]),
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return { ours, theirs, subdirs };
}

/** The archives of a channel, without what was made of them. */
function archivesOf(channel: string): (folder: string) => Promise<void> {
  return async (folder) =>
    cp(channel, folder, { recursive: true, filter: (path) => !/(?:json|zst|msgpack)$/.test(path) });
}

async function readJson(folder: string, path: string): Promise<Values> {
  return JSON.parse(await readFile(join(folder, path), 'utf8')) as Values;
}

/** Without the fields that may differ. */
function alike(value: Values, differences: Readonly<Record<string, string>>): Values {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !(key in differences)));
}

function alikeRecords(repodata: Values): Values {
  const sections = SECTIONS.map((section): [string, Values] => [
    section,
    Object.fromEntries(
      Object.entries((repodata as Repodata)[section]).map(([filename, record]) => [
        filename,
        alike(record, { ...DIFFERENCES.records, ...fileDifferences.get(filename) }),
      ]),
    ),
  ]);
  return { ...repodata, ...Object.fromEntries(sections) };
}

async function unpack(path: string): Promise<Values> {
  return decode(await decompressZstd(await readFile(path), 1e8, path)) as Values;
}

/** All shards of a subdir, decoded, by package name; and what their index says. */
async function readShards(folder: string): Promise<{ readonly info: Values; readonly shards: Values }> {
  const { info, shards, version } = await unpack(join(folder, 'repodata_shards.msgpack.zst'));
  expect(version).toBe(1);
  const base = String((info as Values)['shards_base_url']);
  const decoded: Values = {};
  for (const [name, digest] of Object.entries(shards as Record<string, Uint8Array>)) {
    const hex = Buffer.from(digest).toString('hex');
    decoded[name] = alikeRecords(await unpack(join(folder, base, `${hex}.msgpack.zst`)));
  }
  return { info: alike(info as Values, DIFFERENCES.shardInfo), shards: decoded };
}

async function expectAlike(ours: string, theirs: string, subdirs: readonly string[]): Promise<void> {
  for (const subdir of subdirs) {
    const [our, their] = [join(ours, subdir), join(theirs, subdir)];
    for (const name of ['repodata.json', 'repodata_from_packages.json'])
      expect(alikeRecords(await readJson(our, name))).toEqual(alikeRecords(await readJson(their, name)));
    expect(await readJson(our, 'run_exports.json')).toEqual(await readJson(their, 'run_exports.json'));
    expect(await readShards(our)).toEqual(await readShards(their));
  }
  const packagesOf = async (folder: string): Promise<Values> => {
    const { packages, ...rest } = await readJson(folder, 'channeldata.json');
    const entries = Object.entries(packages as Record<string, Values>);
    return {
      ...rest,
      packages: Object.fromEntries(
        entries.map(([name, item]) => [name, alike(item, DIFFERENCES.channeldata)]),
      ),
    };
  };
  expect(await packagesOf(ours)).toEqual(await packagesOf(theirs));
}

const spec = (name: string, version: string, more: Partial<PackageSpec> = {}): PackageSpec => ({
  name,
  version,
  build: '0',
  subdir: 'noarch',
  ...more,
});

/** Packages with all that channeldata and run exports tell. */
async function fillRich(folder: string): Promise<void> {
  const rich: PackageSpec[] = [
    spec('tool', '1.9', {
      about: { summary: 'old', doc_url: 'https://ferry.example/doc' },
      runExports: { weak: ['tool >=1.9'] },
    }),
    spec('tool', '1.10', {
      about: {
        summary: ' of two\nlines ',
        dev_url: 'https://ferry.example/dev',
        description: 'long',
        tags: ['x'],
      },
      runExports: { strong: ['tool >=1.10'], noarch: ['tool'] },
      index: {
        timestamp: 1_750_000_000_000,
        arch: 'x86_64',
        platform: 'linux',
        has_prefix: true,
        x_unknown: { b: 1 },
      },
      payloadFiles: {
        'etc/conda/activate.d/tool.sh': '',
        'etc/conda/deactivate.d/tool.sh': '',
        'bin/.tool-post-link.sh': '',
        'bin/.tool-pre-link.sh': '',
        'bin/.tool-pre-unlink.sh': '',
      },
      infoFiles: {
        'info/recipe/meta.yaml':
          'package: {name: tool}\nsource:\n  url: https://ferry.example/tool.tar.gz\n  git_url: https://ferry.example/tool.git\n',
      },
    }),
    spec('tool', '1.2', { subdir: 'linux-64' }),
    spec('seconds', '1', { index: { timestamp: 1_500_000_000 } }),
    spec('nothing', '1', { index: { timestamp: undefined, license: undefined } }),
  ];
  for (const each of rich) {
    await mkdir(join(folder, each.subdir), { recursive: true });
    for (const { filename, bytes } of [
      condaPackage(each),
      ...(each.name === 'tool' ? [tarBz2Package(each)] : []),
    ])
      await writeFile(join(folder, each.subdir, filename), bytes);
  }
}

const INSTRUCTIONS = {
  patch_instructions_version: 1,
  packages: {
    'tool-1.9-0.tar.bz2': { depends: ['patched'], timestamp: null },
    'gone-1-0.tar.bz2': { depends: [] },
  },
  'packages.conda': {
    'tool-1.9-0.conda': { license: 'New' },
    'tool-1.10-0.conda': { x_unknown: { c: 2 }, constrains: ['a'] },
  },
  remove: ['seconds-1-0.tar.bz2'],
  revoke: ['nothing-1-0.conda'],
};

async function patchPackage(root: string): Promise<string> {
  const { filename, bytes } = condaPackage(
    spec('patches', '1', {
      payloadFiles: {
        'noarch/patch_instructions.json': JSON.stringify(INSTRUCTIONS),
        'linux-64/patch_instructions.json': JSON.stringify({
          ...INSTRUCTIONS,
          remove: ['tool-1.2-0.tar.bz2'],
        }),
      },
    }),
  );
  const path = join(root, filename);
  await writeFile(path, bytes);
  return path;
}

describe('what index makes of archives is what conda-index makes, but for what is listed', () => {
  test('of the fixtures', async () => {
    const { ours, theirs, subdirs } = await indexBoth(archivesOf(FIXTURE_CHANNEL));
    expect(subdirs).toEqual(['linux-64', 'noarch', 'osx-arm64']);
    await expectAlike(ours, theirs, subdirs);
  });

  test.runIf(HAS_REAL_CHANNELS)('of a real channel', async () => {
    const { ours, theirs, subdirs } = await indexBoth(archivesOf(realChannel('test-recipes')));
    expect(subdirs).toHaveLength(4);
    await expectAlike(ours, theirs, subdirs);
  });

  test('of packages with much to tell', async () => {
    const { ours, theirs, subdirs } = await indexBoth(fillRich);
    await expectAlike(ours, theirs, subdirs);
  });

  test('of packages that are patched', async () => {
    const { ours, theirs, subdirs } = await indexBoth(fillRich, patchPackage);
    await expectAlike(ours, theirs, subdirs);
    for (const subdir of subdirs)
      expect(await readJson(ours, `${subdir}/patch_instructions.json`)).toEqual(
        await readJson(theirs, `${subdir}/patch_instructions.json`),
      );
    expect(await readJson(ours, 'noarch/repodata.json')).toMatchObject({ removed: ['seconds-1-0.conda'] });
  });
});
