import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cp,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { FerryError } from '#ferry/errors.js';
import { openBlobFolder } from '#ferry/image-layout/blob-folder.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { folderChannel, gatewayHere, layoutChannel } from '../support/gateway-here.js';
import { archivesOf, faultsOf, probeAll, statusesOf, truthOfFolder } from '../support/gateway-probe.js';
import { startGatewayProcess } from '../support/gateway-process.js';
import { expectRecovery, REPODATA, sceneOf } from '../support/gateway-scene.js';
import { layoutStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';

test('a cache on a full disk costs nothing but speed', async () => {
  const folder = openBlobFolder(join(await tempFolder(), 'cache'));
  const full = Object.assign(new Error('no space'), { code: 'ENOSPC' });
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const served = await gatewayHere(
    { ch: folderChannel(FIXTURE_CHANNEL) },
    {
      blobFolder: {
        location: folder.location,
        blobs: (options) => folder.blobs(options),
        open: (digest) => folder.open(digest),
        write: () => Promise.reject(full),
        touch: (digest) => folder.touch(digest),
        remove: (digest) => folder.remove(digest),
      },
    },
  );
  for (let round = 0; round < 2; round += 1)
    expect(faultsOf(await probeAll(served.url, [...REPODATA, ...archivesOf(truth)]), truth, [])).toEqual([]);
  expect(served.failures).toEqual([]);
});

test('folders that are deleted while something is served are not missed', async () => {
  const scene = await sceneOf('registry');
  const { served, truth, archives } = scene;
  const half = archives.slice(0, archives.length >> 1);
  expect(faultsOf(await probeAll(served.url, [...REPODATA, ...half]), truth, [])).toEqual([]);
  await Promise.all([served.cachePath, served.tempPath].map((path) => rm(path, { recursive: true })));
  served.later(120_000);
  await expectRecovery(scene);
});

test('what was changed in the cache is fetched anew', async () => {
  const scene = await sceneOf('registry');
  const { served, cachedFiles } = { ...scene, cachedFiles: join(scene.served.cachePath, 'blobs', 'sha256') };
  await expectRecovery(scene);
  const files = await readdir(cachedFiles);
  expect(files.length).toBeGreaterThan(5);
  for (const [index, file] of files.entries()) {
    const path = join(cachedFiles, file);
    if (index % 3 === 0) await truncate(path, 10);
    else if (index % 3 === 1) await writeFile(path, Buffer.alloc((await stat(path)).size));
    else await rm(path);
  }
  await expectRecovery(scene);
  expect(served.failures).toEqual([]);
});

test('image layouts may change under it: nothing wrong is given, and what is put right is right', async () => {
  const folder = join(await tempFolder(), 'layouts');
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  await mirrorChannel({
    source: new DirectoryChannel(FIXTURE_CHANNEL),
    destination: layoutStore(folder).store,
  });
  const served = await gatewayHere({ ch: layoutChannel(folder) });
  const scene = { served, truth, archives: archivesOf(truth) };
  await expectRecovery(scene);
  const saved = `${folder}-saved`;
  await cp(folder, saved, { recursive: true, preserveTimestamps: true });
  const blobs = (await readdir(folder, { recursive: true })).filter((path) =>
    /blobs\/sha256\/[0-9a-f]{64}$/.test(path),
  );
  for (const [index, blob] of blobs.entries()) {
    const path = join(folder, blob);
    const { size, atime, mtime } = await stat(path);
    if (index % 4 === 0) await rm(path);
    else if (index % 4 === 1) await truncate(path, size >> 1);
    else await writeFile(path, Buffer.alloc(size, 7));
    // As what copies over a file and keeps its time leaves it.
    if (index % 4 === 3) await utimes(path, atime, mtime);
  }
  served.later(120_000);
  // What is in memory is right in any case.
  expect(faultsOf(await probeAll(served.url, [...REPODATA, ...scene.archives]), truth)).toEqual([]);
  // All of it gone, as with a disk that is not mounted any more.
  await rm(folder, { recursive: true });
  served.later(120_000);
  expect(faultsOf(await probeAll(served.url, REPODATA), truth, [])).toEqual([]);
  expect(faultsOf(await probeAll(served.url, scene.archives), truth)).toEqual([]);
  await rename(saved, folder);
  served.later(120_000);
  await expectRecovery(scene);
});

test('a full disk for temporary files is 503 until there is room again', async (context) => {
  const folder = await tempFolder();
  const disk = join(folder, 'disk');
  await mkdir(disk);
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]).status === 0;
  if (!isMounted) context.skip();
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const archives = archivesOf(truth);
  // Mounted below a folder that goes away with the test, after the process.
  onTestFinished(() => void spawnSync('umount', ['--lazy', disk]));
  const filler = join(disk, 'filler');
  const served = await startGatewayProcess([`ch=${FIXTURE_CHANNEL}`, '--refresh', '1s'], { tempDir: disk });
  await writeFile(filler, Buffer.alloc(1024 * 1024 - 8192)).catch(() => undefined);
  await writeFile(join(disk, 'rest'), Buffer.alloc(64 * 1024)).catch(() => undefined);
  const all = await probeAll(served.url, [...REPODATA, ...archives]);
  expect(faultsOf(all, truth)).toEqual([]);
  expect(statusesOf(all)['503']).toBeGreaterThan(0);
  await Promise.all([rm(filler), rm(join(disk, 'rest'), { force: true })]);
  const scene = { truth, archives, served: { ...served, failures: [] } };
  await expectRecovery(scene as never);
});

test('shards that could not be made are made when they can be', async () => {
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const archives = archivesOf(truth);
  let isFull = true;
  const served = await gatewayHere(
    { ch: folderChannel(FIXTURE_CHANNEL) },
    {
      makeShards: (make) => async (text) => {
        if (isFull) throw new FerryError('DISK_FULL', 'no room left on the disk');
        return make(text);
      },
    },
  );
  const all = await probeAll(served.url, [...REPODATA, ...archives]);
  expect(faultsOf(all, truth)).toEqual([]);
  expect(statusesOf(all)).toEqual({ 200: REPODATA.length, 503: archives.length });
  isFull = false;
  await expectRecovery({ served, truth, archives });
});

test('a process without file handles gives what it can, and is well again', async () => {
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const archives = archivesOf(truth);
  const served = await startGatewayProcess([`ch=${FIXTURE_CHANNEL}`, '--refresh', '1s'], { maxHandles: 64 });
  const port = Number(new URL(served.url).port);
  const idle = Array.from({ length: 30 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  await Promise.race([once(idle[0] as NonNullable<(typeof idle)[0]>, 'connect')]);
  const all = await probeAll(served.url, [...REPODATA, ...archives, ...REPODATA, ...archives], 60);
  expect(faultsOf(all, truth, [0, 502, 503])).toEqual([]);
  for (const socket of idle) socket.destroy();
  expect(served.isRunning).toBe(true);
  await expectRecovery({ truth, archives, served: { ...served, failures: [] } } as never);
});

test('repodata that a channel does not have as it should leaves the one before', async () => {
  const folder = join(await tempFolder(), 'channel');
  await cp(FIXTURE_CHANNEL, folder, { recursive: true });
  await Promise.all(
    ['noarch', 'linux-64', 'osx-arm64'].map((subdir) => rm(join(folder, subdir, 'repodata.json.zst'))),
  );
  const truth = await truthOfFolder(folder, 'ch');
  const served = await gatewayHere({ ch: folderChannel(folder) });
  const scene = { served, truth, archives: archivesOf(truth) };
  await expectRecovery(scene);
  const path = join(folder, 'linux-64', 'repodata.json');
  const good = await readFile(path);
  for (const bad of [
    '{',
    '[]',
    '<html>',
    good.subarray(0, good.byteLength >> 1),
    `${good.toString()}{`,
    '{"packages":[]}',
    '{"packages":{"a-1-0.conda":{}',
  ] as const) {
    await writeFile(path, bad);
    served.later(120_000);
    const all = await probeAll(served.url, [...REPODATA, ...scene.archives]);
    expect(
      faultsOf(all, truth)
        .map((fault) => `${String(bad).slice(0, 40)}: ${fault}`)
        .join('\n'),
    ).toBe('');
  }
  await writeFile(path, good);
  served.later(120_000);
  await expectRecovery(scene);
});
