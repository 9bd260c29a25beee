import { execFile } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, registryReader } from '../support/audit.js';
import { serveChannel } from '../support/channel-server.js';
import { startRegistry } from '../support/docker-registry.js';
import { ROOT } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

const run = promisify(execFile);
const GIB = 1024 ** 3;
const MAX_RESIDENT_KIB = 250 * 1024;

test('a .conda of 1 GiB is mirrored within 250 MiB of memory', async () => {
  const folder = await tempFolder();
  const noise = new Uint8Array(GIB);
  for (let start = 0; start < GIB; start += 2 ** 26)
    randomFillSync(noise, start, Math.min(2 ** 26, GIB - start));
  const large = condaPackage({
    name: 'large',
    version: '1.0',
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    zip: {
      level: 1,
      entries: (entries) =>
        entries.map((entry) => (entry.name.startsWith('pkg-') ? { ...entry, bytes: noise } : entry)),
    },
  });
  await writeChannel(folder, { noarch: [large] });
  await mirrorMeasured(folder);
});

test('a .tar.bz2 of 256 MiB is mirrored within 250 MiB of memory', async () => {
  const folder = await tempFolder();
  const [tree, noarch] = [join(folder, 'tree'), join(folder, 'noarch')];
  await mkdir(join(tree, 'share'), { recursive: true });
  await mkdir(join(tree, 'info'));
  const noise = createWriteStream(join(tree, 'share', 'noise'));
  for (let i = 0; i < 256; i += 1) {
    if (!noise.write(randomFillSync(Buffer.alloc(2 ** 20)))) await once(noise, 'drain');
  }
  noise.end();
  await once(noise, 'close');
  const index = { name: 'large', version: '1.0', build: '0', build_number: 0, depends: [], subdir: 'noarch' };
  await run(
    'sh',
    ['-c', `printf '%s' '${JSON.stringify(index)}' >info/index.json && tar -cjf ../archive share info`],
    { cwd: tree },
  );
  await rm(tree, { recursive: true });
  await writeChannel(folder, {
    noarch: [{ filename: 'large-1.0-0.tar.bz2', bytes: await readFile(join(folder, 'archive')) }],
  });
  await rename(join(folder, 'archive'), join(noarch, 'large-1.0-0.tar.bz2'));
  await mirrorMeasured(folder);
});

/** Mirrors a channel over HTTP into a registry under `/usr/bin/time -v`. */
async function mirrorMeasured(folder: string): Promise<void> {
  await using registry = await startRegistry({ onDisk: true });
  await using server = await serveChannel(folder);
  const destination = `oci://${registry.host}/${registry.prefix}/large`;
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  const args = [
    '-v',
    process.execPath,
    main,
    'mirror',
    server.url,
    destination,
    '--subdir',
    'noarch',
    '--quiet',
  ];
  const { stdout, stderr } = await run('/usr/bin/time', args, { cwd: ROOT });
  const resident = Number(/Maximum resident set size \(kbytes\): (\d+)/.exec(stderr)?.[1]);
  const elapsed = /Elapsed .*: (\S+)/.exec(stderr)?.[1] ?? '?';
  console.log(
    `${stdout.trim().split('\n').at(-1) ?? ''}: ${Math.round(resident / 1024)} MiB resident, ${elapsed}`,
  );
  expect(resident).toBeLessThanOrEqual(MAX_RESIDENT_KIB);
  expect(
    await faultsOf(registryReader(registry.host), `${registry.prefix}/large/noarch`, { readBlobs: false }),
  ).toEqual([]);
}
