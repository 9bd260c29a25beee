/**
 * The gateway for as long as it takes: every hostile request, minutes of everything at once, and repodata of the size of
 * conda-forge's for many who are slow. What a process holds is read from `/proc`, so on Linux only.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { DecompressStream } from 'zstd-napi';
import { expect, test } from 'vitest';
import { generateRepodata } from '../../bench/repodata-generator.mjs';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { archivesOf, faultsOf, probe, probeAll, truthOfFolder } from '../support/gateway-probe.js';
import { startGatewayProcess } from '../support/gateway-process.js';
import { makeVictim, sendHostile } from '../support/hostile-run.js';
import { mirrorFolder, registryStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

const MAX_PEAK_MIB = 300;
const REPODATA_BYTES = 200_000_000;
const SLOW_CLIENTS = 50;
/** Of each slow client: whoever reads 200 MB takes most of a minute. */
const BYTES_PER_SECOND = 5_000_000;

test('10,000 hostile requests are refused, and leave the gateway as it was', async () => {
  const victim = await makeVictim();
  const served = await startGatewayProcess(victim.channels);
  const { archives } = victim.prey;
  expect(faultsOf(await probeAll(served.url, archives), victim.truth, [])).toEqual([]);
  // The first ones make what is made once: code that is compiled, buffers that are kept.
  await sendHostile(served.url, victim, { count: 2000, seed: 1, slowShare: 0 });
  const before = await served.heldAfterGc();
  const report = await sendHostile(served.url, victim, { count: 10_000, seed: 2, slowShare: 0.01 });
  expect(report.faults).toEqual([]);
  const after = await served.heldAfterGc();
  console.log(JSON.stringify({ before, after, slowestMs: report.slowestMs, ends: report.ends }));
  expect(after.residentMib).toBeLessThanOrEqual(before.residentMib * 1.1 + 8);
  expect(after.handles).toBeLessThanOrEqual(before.handles + 4);
  expect(faultsOf(await probeAll(served.url, archives), victim.truth, [])).toEqual([]);
});

test('200 MB of repodata go to 50 slow clients, in all forms, within 300 MiB', async () => {
  const folder = await tempFolder();
  const digest = await writeLargeChannel(folder);
  const served = await startGatewayProcess([`big=${folder}`]);
  const begun = performance.now();
  const forms = ['identity', 'zstd', 'gzip'] as const;
  const clients = Array.from({ length: SLOW_CLIENTS }, async (_, index) => {
    const form = forms[index % forms.length] ?? 'identity';
    const body = await open(`${served.url}/big/linux-64/repodata.json`, form);
    // All decompressed here would take longer than the rest: what comes compressed is compared as it is, once as it reads.
    const isRead = index < forms.length;
    return { form, isRead, digest: await digestOf(body, isRead ? form : 'identity') };
  });
  const got = await Promise.all(clients);
  for (const { form, digest: found } of got.filter(({ form: one, isRead }) => isRead || one === 'identity'))
    expect([form, found]).toEqual([form, digest]);
  for (const form of ['zstd', 'gzip'] as const) {
    const others = got.filter((one) => one.form === form && !one.isRead).map((one) => one.digest);
    expect(new Set(others).size).toBe(1);
  }
  const servedMs = performance.now() - begun;
  const { peakMib } = await served.held();
  for (;;) {
    const { status } = await probe(served.url, '/big/linux-64/repodata_shards.msgpack.zst');
    if (status === 200) break;
    expect(performance.now() - begun).toBeLessThan(600_000);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const all = await served.held();
  console.log(JSON.stringify({ peakMib, servedMs, withShards: all, resting: await served.heldAfterGc() }));
  expect(all.peakMib).toBeLessThanOrEqual(MAX_PEAK_MIB);
});

test('200 who ask at once for a package are one to the registry', async () => {
  const registry = await useRegistryDouble();
  await mirrorFolder(FIXTURE_CHANNEL, registryStore({ host: registry.host, prefix: 'org' }, 'ch'));
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const served = await startGatewayProcess([`ch=oci://${registry.host}/org/ch`, '--proxy']);
  const path = archivesOf(truth).find((one) => one.includes('/noarch/ferry-tool')) ?? '';
  registry.reset();
  const all = await probeAll(
    served.url,
    Array.from({ length: 200 }, () => path),
    200,
  );
  expect(faultsOf(all, truth, [])).toEqual([]);
  const fetches = registry.lines.filter((line) => /^GET .*ferry-tool.*\/blobs\//.test(line));
  expect(fetches).toHaveLength(1);
});

/** A channel whose repodata is as large as conda-forge's. @returns the digest of the text */
async function writeLargeChannel(folder: string): Promise<string> {
  await mkdir(join(folder, 'linux-64'));
  await mkdir(join(folder, 'noarch'));
  await writeFile(join(folder, 'noarch', 'repodata.json'), '{"packages":{},"packages.conda":{}}');
  const path = join(folder, 'linux-64', 'repodata.json');
  const sample = Array.from(generateRepodata({ records: 5000 })).reduce(
    (sum, { byteLength }) => sum + byteLength,
    0,
  );
  const records = Math.ceil(REPODATA_BYTES / (sample / 5000));
  await pipeline(Readable.from(generateRepodata({ records })), createWriteStream(path));
  return digestOf(createReadStream(path), 'identity');
}

async function open(url: string, encoding: string): Promise<Readable> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent: false, headers: { 'accept-encoding': encoding } }, resolve).on('error', reject);
  });
  expect([response.statusCode, response.headers['content-encoding'] ?? 'identity']).toEqual([200, encoding]);
  return Readable.from(slowly(response));
}

/** Reads no faster than a slow client. */
async function* slowly(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const begun = performance.now();
  let bytes = 0;
  for await (const chunk of body) {
    yield chunk;
    bytes += chunk.byteLength;
    const ahead = (bytes / BYTES_PER_SECOND) * 1000 - (performance.now() - begun);
    if (ahead > 20) await new Promise((resolve) => setTimeout(resolve, ahead));
  }
}

async function digestOf(body: Readable, form: 'identity' | 'zstd' | 'gzip'): Promise<string> {
  const hash = createHash('sha256');
  const forms: Readonly<Record<string, () => Transform>> = {
    zstd: () => new DecompressStream(),
    gzip: createGunzip,
  };
  const make = forms[form];
  if (make === undefined) await pipeline(body, hash);
  else await pipeline(body, make(), hash);
  return hash.digest('hex');
}
