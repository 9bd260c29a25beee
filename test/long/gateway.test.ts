/**
 * The gateway for as long as it takes: every hostile request, minutes of everything at once, and repodata of the size of
 * conda-forge's for many who are slow. What a process holds is read from `/proc`, so on Linux only.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { DecompressStream } from 'zstd-napi';
import { expect, test } from 'vitest';
import { generateRepodata } from '../../bench/repodata-generator.mjs';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { mulberry32 } from '../support/double/faults.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import {
  archivesOf,
  faultsOf,
  probe,
  probeAll,
  sha256Of,
  truthOfFolder,
  untilNothing,
  type Probed,
  type Truth,
} from '../support/gateway-probe.js';
import { startGatewayProcess, type Held } from '../support/gateway-process.js';
import { startFaultyLine } from '../support/faulty-line.js';
import { makeVictim, sendHostile } from '../support/hostile-run.js';
import { mirrorFolder, registryStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

const MAX_PEAK_MIB = 300;
const REPODATA_BYTES = 200_000_000;
const SLOW_CLIENTS = 50;
/** What 10,000 requests may leave. */
const LEVEL_MIB = 24;
const LEVEL_HANDLES = 4;
const SOAK_MS = 300_000;
/** Of each slow client: whoever reads 200 MB takes most of a minute. */
const BYTES_PER_SECOND = 5_000_000;

test('10,000 hostile requests are refused, and leave the gateway as it was', async () => {
  const victim = await makeVictim();
  const served = await startGatewayProcess(victim.channels);
  const { archives } = victim.prey;
  expect(faultsOf(await probeAll(served.url, archives), victim.truth, [])).toEqual([]);
  // The first ones make what is made once: code that is compiled, buffers that are kept, answers that are held for a while.
  await sendHostile(served.url, victim, { count: 4000, seed: 1, slowShare: 0 });
  const before = await served.heldAfterGc();
  const report = await sendHostile(served.url, victim, { count: 10_000, seed: 2, slowShare: 0.01 });
  expect(report.faults).toEqual([]);
  let after = await served.heldAfterGc();
  // What was freed goes back to the system little by little; the level itself goes up and down by some 15 MiB.
  await untilNothing(async () => {
    after = await served.heldAfterGc();
    const { residentMib, handles } = after;
    const isLevel =
      residentMib <= before.residentMib + LEVEL_MIB && handles <= before.handles + LEVEL_HANDLES;
    return isLevel ? [] : [JSON.stringify({ before, after })];
  }, 40_000);
  console.log(JSON.stringify({ before, after, slowestMs: report.slowestMs, ends: report.ends }));
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

test('a registry that takes for ever is told of within half a minute', async () => {
  const registry = await useRegistryDouble();
  await mirrorFolder(FIXTURE_CHANNEL, registryStore({ host: registry.host, prefix: 'org' }, 'ch'));
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const line = await startFaultyLine(registry.host);
  const [fresh, known] = await Promise.all(
    [1, 2].map(() => startGatewayProcess([`ch=oci://${line.host}/org/ch`, '--proxy', '--refresh', '1s'])),
  );
  if (fresh === undefined || known === undefined) throw new Error('no gateway');
  const repodata = [...truth.keys()].filter((path) => path.endsWith('.json'));
  const archives = archivesOf(truth);
  expect(faultsOf(await probeAll(known.url, repodata), truth, [])).toEqual([]);
  line.mode = 'silent';
  const blob = `/v2/ch/linux-64/ferry-lib/blobs/sha256:${[...(truth.get(archives[0] ?? '') ?? [])].join('')}`;
  const [whole, parts, api] = await Promise.all([
    probeAll(fresh.url, [...repodata, ...archives]),
    probeAll(known.url, [...repodata, ...archives], 64),
    probe(known.url, blob),
  ]);
  expect(faultsOf([...whole, ...parts], truth, [503])).toEqual([]);
  expect(
    faultsOf(
      parts.filter(({ path }) => repodata.includes(path)),
      truth,
      [],
    ),
  ).toEqual([]);
  expect(api.status).toBe(503);
  line.mode = 'good';
  for (const { url } of [fresh, known])
    await untilNothing(
      async () => faultsOf(await probeAll(url, [...repodata, ...archives]), truth, []),
      60_000,
    );
});

test('five minutes of everything at once leave no trace', async () => {
  const folder = await tempFolder();
  const channel = join(folder, 'channel');
  await cp(FIXTURE_CHANNEL, channel, { recursive: true });
  const registry = await useRegistryDouble();
  const place = { host: registry.host, prefix: 'org' };
  const mirror = async (): Promise<void> => {
    await mirrorFolder(channel, registryStore(place, 'ch'));
  };
  await mirror();
  const line = await startFaultyLine(registry.host);
  const flags = ['--proxy', '--refresh', '2s', '--cache-size', '100MB'];
  const served = await startGatewayProcess([`ch=oci://${line.host}/org/ch`, `files=${channel}`, ...flags]);
  const truth: Truth = new Map();
  const learn = async (): Promise<void> => {
    for (const name of ['ch', 'files'])
      for (const [path, digests] of await truthOfFolder(channel, name))
        truth.set(path, new Set([...(truth.get(path) ?? []), ...digests]));
  };
  await learn();
  const archives = archivesOf(truth);
  const faults: string[] = [];
  const counts: Record<string, number> = {};
  const random = mulberry32(3);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const end = performance.now() + SOAK_MS;
  const isOver = (): boolean => performance.now() > end;

  const client = async (): Promise<void> => {
    while (!isOver()) {
      const name = pick(['ch', 'files']);
      const subdir = pick(['noarch', 'linux-64', 'osx-arm64']);
      const { path, headers, isChecked } = pick<() => Asked>([
        () => ({ path: pick(archives), isChecked: true }),
        () => ({ path: pick(archives), headers: { range: `bytes=${Math.floor(random() * 500)}-` } }),
        () => ({
          path: `/${name}/${subdir}/repodata.json`,
          headers: { 'accept-encoding': pick(['identity', 'gzip', 'zstd']) },
          isChecked: true,
        }),
        () => ({ path: `/${name}/${subdir}/repodata.json.zst`, isChecked: true }),
        () => ({ path: `/${name}/${subdir}/repodata_shards.msgpack.zst` }),
        () => ({ path: `/${name}/${subdir}/run_exports.json` }),
        () => ({ path: `/v2/ch/${subdir}/repodata.json/manifests/latest` }),
        () => ({ path: `/v2/ch/linux-64/ferry-lib/tags/list` }),
        () => ({ path: pick(['/', `/${name}/`, `/${name}/ferry-lib`, '/healthz', '/metrics', '/nothing']) }),
        () => ({ path: `/${name}/label/x${Math.floor(random() * 1e6)}/noarch/repodata.json` }),
      ])();
      const probed = await probe(served.url, path, headers);
      counts[probed.status] = (counts[probed.status] ?? 0) + 1;
      const isWhole = isChecked === true || (headers?.['range'] !== undefined && probed.status === 200);
      if (isWhole) faults.push(...faultsOf([probed], truth));
      else if (probed.status === 206) faults.push(...(await partFaults(channel, probed)));
      else if (probed.status === 500 || probed.status === 0) faults.push(`${path}: status ${probed.status}`);
    }
  };
  const weather = async (): Promise<void> => {
    for (let round = 0; !isOver(); round += 1) {
      // A new generation that lists the same, then a fault or none.
      const file = join(channel, 'noarch', 'repodata.json');
      const repodata = JSON.parse(await readFile(file, 'utf8')) as { info: Record<string, unknown> };
      repodata.info['round'] = round;
      const text = JSON.stringify(repodata);
      for (const name of ['ch', 'files'])
        truth.get(`/${name}/noarch/repodata.json`)?.add(sha256Of(Buffer.from(text)));
      // The other form would be the one that is read.
      await rm(`${file}.zst`, { force: true });
      await writeFile(`${file}.new`, text);
      await rename(`${file}.new`, file);
      await mirror();
      line.mode = pick([
        'good',
        'good',
        'status-503',
        'status-429',
        'reset',
        'cut',
        'status-403',
        'drip',
        'silent',
      ]);
      await new Promise((resolve) => setTimeout(resolve, 4000));
      line.mode = 'good';
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  };
  const samples: Held[] = [];
  const measure = async (): Promise<void> => {
    while (!isOver()) {
      samples.push(await served.heldAfterGc());
      await new Promise((resolve) => setTimeout(resolve, SOAK_MS / 300));
    }
  };
  await Promise.all([...Array.from({ length: 8 }, client), weather(), measure()]);
  const fifth = Math.floor(samples.length / 5);
  const second = samples.slice(fifth, 2 * fifth);
  const last = samples.slice(-fifth);
  const [before, after] = [second, last].map((part) => ({
    residentMib: median(part.map(({ residentMib }) => residentMib)),
    handles: median(part.map(({ handles }) => handles)),
  })) as [Omit<Held, 'peakMib'>, Omit<Held, 'peakMib'>];
  console.log(JSON.stringify({ before, after, counts, samples: samples.length }));
  expect(faults.slice(0, 20)).toEqual([]);
  expect(counts['200']).toBeGreaterThan(1000);
  expect(after.residentMib).toBeLessThanOrEqual(before.residentMib * 1.1);
  expect(after.handles).toBeLessThanOrEqual(before.handles * 1.1 + 4);
});

interface Asked {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the whole answer is known. */
  readonly isChecked?: boolean;
}

/** What is wrong with a part of an archive. */
async function partFaults(channel: string, { path, headers, body }: Probed): Promise<string[]> {
  const whole = await readFile(join(channel, ...path.split('/').slice(2).map(decodeURIComponent)));
  const [, start, end] = /^bytes (\d+)-(\d+)\/\d+$/.exec(headers['content-range'] ?? '') ?? [];
  return body.equals(whole.subarray(Number(start), Number(end) + 1)) ? [] : [`${path}: a wrong part`];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

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
