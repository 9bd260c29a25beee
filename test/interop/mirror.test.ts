import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  faultsOf,
  infoMembers,
  layoutReader,
  listedRecords,
  placeOf,
  registryReader,
  sha256,
} from '../support/audit.js';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { serveChannel } from '../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { ROOT, runFerry } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

const run = promisify(execFile);

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry({ onDisk: true });
});
afterAll(async () => registry[Symbol.asyncDispose]());

async function skopeo(...args: string[]): Promise<string> {
  const { stdout } = await run('skopeo', args, { maxBuffer: 16 * 1024 * 1024, encoding: 'utf8' });
  return stdout;
}

describe('skopeo', () => {
  test('reads what we wrote, in a registry and in an image layout, and keeps its digest on the way', async () => {
    const [folder, copies] = [await tempFolder(), await tempFolder()];
    const channel = `${registry.host}/${registry.prefix}/skopeo`;
    expect((await runFerry(['mirror', FIXTURE_CHANNEL, `oci://${channel}`, '--quiet'])).code).toBe(0);
    expect((await runFerry(['mirror', FIXTURE_CHANNEL, `oci-layout:${folder}`, '--quiet'])).code).toBe(0);
    const insecure = '--tls-verify=false';
    for (const [subdir, leaf, tag] of [
      ['noarch', 'ferry-tool', '2.1.0-py_0'],
      ['noarch', 'zzz_ferry_mutex', '1.0-main'],
      ['linux-64', 'ferry-lib', '1__e__2.0-h0_1'],
      ['linux-64', 'ferry-local', '1.0__p__abc-h1__p__cuda_0'],
      ['linux-64', 'repodata.json', 'latest'],
    ] as const) {
      const raw = await skopeo('inspect', insecure, '--raw', `docker://${channel}/${subdir}/${leaf}:${tag}`);
      expect(JSON.parse(raw)).toMatchObject({ schemaVersion: 2 });
      // skopeo's names of images on disk allow no `__`, which schema v0 needs for `+` and `!`.
      if (tag.includes('__')) continue;
      const onDisk = await skopeo('inspect', '--raw', `oci:${folder}/${subdir}/${leaf}:${tag}`);
      if (leaf !== 'repodata.json') expect(onDisk).toBe(raw);
      const digest = sha256(Buffer.from(raw));
      const copy = `oci:${join(copies, leaf)}:${tag}`;
      const back = `docker://${registry.host}/${registry.prefix}/back/${leaf}:${tag}`;
      await skopeo('copy', '--src-tls-verify=false', `docker://${channel}/${subdir}/${leaf}:${tag}`, copy);
      await skopeo('copy', '--dest-tls-verify=false', copy, back);
      expect(sha256(Buffer.from(await skopeo('inspect', insecure, '--raw', back)))).toBe(digest);
    }
  });
});

test('two machines agree digest for digest, whatever their settings and Node', async () => {
  const node26 = execFileSync(
    'npm',
    ['exec', '--yes', '--package=node@26', '--', 'node', '-p', 'process.execPath'],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  ).trim();
  await using coarse = await serveChannel(FIXTURE_CHANNEL, { chunkBytes: 1_000_000 });
  await using fine = await serveChannel(FIXTURE_CHANNEL, { chunkBytes: 13 });
  const machines = [
    {
      source: coarse.url,
      node: [process.execPath],
      concurrency: '1',
      umask: '022',
      env: { TZ: 'UTC', LANG: 'C' },
    },
    {
      source: fine.url,
      node: [process.execPath],
      concurrency: '32',
      umask: '077',
      env: { TZ: 'Asia/Kathmandu', LC_ALL: 'tr_TR.UTF-8' },
    },
    {
      source: fine.url,
      node: [node26],
      concurrency: '7',
      umask: '002',
      env: { TZ: 'America/St_Johns', LC_ALL: 'de_DE.UTF-8' },
    },
  ];
  const digests: Record<string, string>[] = [];
  for (const { source, node, concurrency, umask, env } of machines) {
    const [home, folder] = [await tempFolder(), await tempFolder()];
    const shell = ['/bin/sh', '-c', `umask ${umask}; exec "$0" "$@"`, ...node];
    const args = ['mirror', source, `oci-layout:${folder}`, '--quiet', '--concurrency', concurrency];
    expect(await runFerry(args, { node: shell, env: { HOME: home, TMPDIR: home, ...env } })).toMatchObject({
      code: 0,
      stderr: '',
    });
    digests.push(await artifactDigests(folder));
  }
  expect(Object.keys(digests[0] ?? {})).toHaveLength(29);
  expect(digests[1]).toEqual(digests[0]);
  expect(digests[2]).toEqual(digests[0]);
});

async function artifactDigests(folder: string): Promise<Record<string, string>> {
  const reader = layoutReader(folder);
  const digests: Record<string, string> = {};
  for (const subdir of ['noarch', 'linux-64', 'osx-arm64']) {
    for (const record of (await listedRecords(reader, subdir)) ?? []) {
      const { repository, tag } = placeOf(subdir, record);
      digests[`${repository}:${tag}`] = (await reader.manifest(repository, tag))?.digest ?? '';
    }
  }
  return digests;
}

// Archives that others built; they lie beside some checkouts and are no part of this project.
describe.runIf(HAS_REAL_CHANNELS)('real archives', () => {
  test('zlib as Anaconda built it: eight archives in four artifacts, four missing ones named', async () => {
    const channel = `${registry.prefix}/zlib-demo`;
    const args = [
      'mirror',
      realChannel('conda-format'),
      `oci://${registry.host}/${channel}`,
      '--json',
      '--quiet',
    ];
    const result = await runFerry(args);
    expect(result.code).toBe(1);
    const report = JSON.parse(result.stdout) as {
      subdirs: {
        subdir: string;
        added: number;
        artifacts: number;
        failed: { filename: string; code: string }[];
      }[];
    };
    expect(report.subdirs.reduce((sum, { added }) => sum + added, 0)).toBe(8);
    expect(report.subdirs.reduce((sum, { artifacts }) => sum + artifacts, 0)).toBe(4);
    expect(
      report.subdirs.flatMap(({ failed }) => failed.map(({ filename, code }) => `${filename} ${code}`)),
    ).toEqual([
      'libgcc-ng-8.2.0-hdf63c60_1.tar.bz2 ARCHIVE_ABSENT',
      'vc-14.1-h0510ff6_4.tar.bz2 ARCHIVE_ABSENT',
      'vs2015_runtime-14.15.26706-h3a45250_4.tar.bz2 ARCHIVE_ABSENT',
      'zlib-1.2.8-0.tar.bz2 ARCHIVE_ABSENT',
    ]);
    const reader = registryReader(registry.host);
    for (const subdir of ['linux-64', 'osx-64', 'win-32', 'win-64']) {
      expect(await faultsOf(reader, `${channel}/${subdir}`)).toEqual([]);
      const records = (await listedRecords(reader, `${channel}/${subdir}`)) ?? [];
      expect(records.map(({ name }) => name)).toEqual(['zlib', 'zlib']);
    }
    const before = (await registry.accessLog())?.length ?? 0;
    expect((await runFerry(args)).code).toBe(1);
    const second = (await registry.accessLog())?.slice(before) ?? [];
    expect(second.filter((line) => !/"(?:GET|HEAD) /.test(line))).toEqual([]);
    expect(second.length).toBeLessThanOrEqual(3 * 5);
  });

  test("conda's test recipes mirror clean, layer for layer what tar and unzip find in the archives", async () => {
    const channel = `${registry.prefix}/recipes`;
    const source = realChannel('test-recipes');
    const result = await runFerry(['mirror', source, `oci://${registry.host}/${channel}`, '--quiet']);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const reader = registryReader(registry.host);
    let count = 0;
    for (const subdir of ['noarch', 'linux-fake', 'osx-fake', 'win-fake']) {
      expect(await faultsOf(reader, `${channel}/${subdir}`)).toEqual([]);
      for (const record of (await listedRecords(reader, `${channel}/${subdir}`)) ?? []) {
        const { repository, tag } = placeOf(`${channel}/${subdir}`, record);
        const layers = (await reader.manifest(repository, tag))?.layers ?? [];
        const expected = await infoOf(join(source, subdir, record.filename));
        const layer = await reader.blob(repository, layers[1]?.digest ?? '');
        const members = await infoMembers(layer ?? Buffer.alloc(0));
        expect([...members].sort(), record.filename).toEqual(expected);
        expect(layers[2]?.digest).toBe(members.get('index.json'));
        count += 1;
      }
    }
    expect(count).toBe(41);
  });
});

/** Files under `info/` of a `.conda`, read by programs of others: Python's zipfile and tar with zstd. */
async function infoOf(archive: string): Promise<[string, string][]> {
  const folder = await tempFolder();
  const script = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
name = next(n for n in z.namelist() if n.startswith('info-'))
open(sys.argv[2], 'wb').write(z.read(name))`;
  const packed = join(folder, 'info.tar.zst');
  await run('python3', ['-c', script, archive, packed]);
  await run('tar', ['--zstd', '-xf', packed, '-C', folder], { cwd: ROOT });
  const { stdout } = await run('sh', ['-c', 'cd info && find . -type f -print0 | xargs -0 sha256sum'], {
    cwd: folder,
  });
  return stdout
    .trim()
    .split('\n')
    .map((line): [string, string] => [line.slice(68), `sha256:${line.slice(0, 64)}`])
    .sort();
}
