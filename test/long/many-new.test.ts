import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { filtersDigest, readLedger, writeLedger } from '#ferry/artifact/ledger.js';
import { REPODATA, ZSTD_SUFFIX } from '#ferry/artifact/media-types.js';
import { copyMetadata, LATEST } from '#ferry/artifact/metadata-artifact.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { makeLedger } from '#ferry/mirror/make-ledger.js';
import { mirrorChannel, planMirror } from '#ferry/mirror/mirror.js';
import { makePlanDocument } from '#ferry/mirror/plan-document.js';
import { generateRepodata } from '../../bench/repodata-generator.mjs';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { placeOf, publishedRepodata, registryReader } from '../support/audit.js';
import { serveChannel } from '../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { httpSource, registryStore, type StoreUnderTest } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

/** A night with 2,000 new archives in 700,000 records: what is asked of the registry does not grow with the channel. */

const RECORDS = Number(process.env['CONDA_FERRY_TEST_RECORDS'] ?? 700_000);
const NEW_ARCHIVES = Number(process.env['CONDA_FERRY_TEST_NEW'] ?? 2000);
/** Archives of one name; every name is a new repository. */
const BUILDS = 10;
const SUBDIR = 'linux-64';
/** @see design §8 */
const PER_ARCHIVE = 7;
const PER_NEW_REPOSITORY = 2;
const NOTHING_NEW = 3;
/**
 * Publishing: the looks (ledger 2, latest 1), the published repodata (2), the look whether pushes are taken (2), three ledgers
 * (3 each), the repodata (two blobs and its manifest), and `latest` (3).
 */
const PUBLISHING = 3 + 2 + 2 + 3 * 3 + 5 + 3;
const MIB = 1024 * 1024;

type Archive = ReturnType<typeof condaPackage>;

test('a night with 2,000 new archives in 700,000 records asks for them alone, and one with none for nothing', async () => {
  await using registry = await startRegistry({ onDisk: true });
  const folder = await tempFolder();
  await mkdir(join(folder, SUBDIR));
  await using server = await serveChannel(folder);
  const source = httpSource(server.url);
  const workers = new WorkerPool();
  onTestFinished(() => workers[Symbol.asyncDispose]());
  const view = (): StoreUnderTest => registryStore(registry, 'many');
  const before = join(folder, 'before.json');
  await writeRecords(before, []);
  await publish(view(), before, source.url, workers);

  const archives = Array.from({ length: NEW_ARCHIVES }, (_, i) => smallArchive(i));
  for (const { filename, bytes } of archives) await writeFile(join(folder, SUBDIR, filename), bytes);
  const repodata = join(folder, SUBDIR, 'repodata.json');
  await writeRecords(repodata, archives);
  await compressFile(repodata, workers);
  console.log(`${String(RECORDS)} records, ${String(NEW_ARCHIVES)} of them new`);
  const options = { source, subdirs: [SUBDIR], workers };
  const planning = view();
  const plan = await planMirror({ ...options, destination: planning.store });
  const { totals } = makePlanDocument(plan, { now: new Date() });
  expect(totals.archives).toBe(NEW_ARCHIVES);

  console.log(`planned: ${JSON.stringify(totals)}`);
  const logged = (await registry.accessLog())?.length ?? 0;
  const night = view();
  const memory = watchMemory();
  const startedAt = performance.now();
  const report = await mirrorChannel({ ...options, destination: night.store });
  const seconds = (performance.now() - startedAt) / 1000;
  expect(report.subdirs).toMatchObject([
    {
      added: NEW_ARCHIVES,
      there: RECORDS - NEW_ARCHIVES,
      failed: [],
      publishedAs: 'unchanged',
      kept: 0,
      gone: 0,
    },
  ]);
  const names = new Set(archives.map(({ index }) => String(index['name'])));
  const allowed = NEW_ARCHIVES * PER_ARCHIVE + names.size * PER_NEW_REPOSITORY;
  console.log(
    `${String(night.requests.length)} requests (${String(allowed)} for archives, ${String(totals.requests)} planned), ` +
      `${seconds.toFixed(0)} s, ${String(memory())} MiB resident at most, the server of the source among it`,
  );
  const ofPackages = night.requests.filter((line) => !isMetadata(line));
  expect(ofPackages).toHaveLength(allowed);
  expect(night.requests.length).toBe(allowed + PUBLISHING);
  expect(totals.requests).toBe(night.requests.length);
  // The registry has seen as many, and of no other package.
  const lines = ((await registry.accessLog()) ?? []).slice(logged);
  if (lines.length > 0) expect(lines).toHaveLength(night.requests.length);
  const touched = new Set(ofPackages.map((line) => new RegExp(`/${SUBDIR}/([^/]+)/`).exec(line)?.[1]));
  expect(touched).toEqual(names);
  await expectListed(registry, view(), archives, repodata);

  server.requests.length = 0;
  const quiet = view();
  const quietFrom = performance.now();
  const again = await mirrorChannel({ ...options, destination: quiet.store });
  console.log(`nothing new: ${String(quiet.requests.length)} requests, ${took(quietFrom)} ms`);
  expect(again.subdirs).toMatchObject([{ publishedAs: 'kept', added: 0 }]);
  expect(quiet.requests.length).toBeLessThanOrEqual(NOTHING_NEW);
  expect(quiet.requests.every((line) => /^(?:GET|HEAD) /.test(line))).toBe(true);
  expect(server.requests.filter(({ path }) => path.endsWith('.conda'))).toEqual([]);
  expect(performance.now() - quietFrom).toBeLessThan(1000);
});

function smallArchive(i: number): Archive {
  const spec = {
    name: `new-${String(Math.floor(i / BUILDS))}`,
    version: '1.0',
    build: String(i % BUILDS),
    subdir: SUBDIR,
    payloadFiles: { 'share/text': String(i) },
  };
  return condaPackage({ ...spec, zip: { level: 1 } });
}

/** Writes repodata with all records but as many as are new, and then with these in front of the others. */
async function writeRecords(path: string, archives: readonly Archive[]): Promise<void> {
  const file = createWriteStream(path);
  const head = '"packages.conda":{';
  const members = archives.map((archive) => {
    const record = {
      ...archive.index,
      md5: hex('md5', archive.bytes),
      sha256: hex('sha256', archive.bytes),
      size: archive.bytes.byteLength,
    };
    return `${JSON.stringify(archive.filename)}:${JSON.stringify(record)},`;
  });
  let isPlaced = false;
  for (const piece of generateRepodata({ records: RECORDS - NEW_ARCHIVES })) {
    let text = representable(piece.toString('latin1'));
    const at = isPlaced ? -1 : text.indexOf(head);
    if (at >= 0) {
      isPlaced = true;
      text = text.slice(0, at + head.length) + members.join('') + text.slice(at + head.length);
    }
    if (!file.write(text, 'latin1')) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');
  expect(isPlaced).toBe(true);
}

/** Some of the random names are none that a registry takes; withheld ones would have the repodata written anew. */
function representable(text: string): string {
  return text.replace(/(?<!build|license|track|some|repodata)_/g, 'u').replace(/--+/g, 'x');
}

/** Publishes the repodata with a ledger that vouches for it; the archives that it lists are nowhere. */
async function publish(
  { store }: StoreUnderTest,
  path: string,
  source: string,
  workers: WorkerPool,
): Promise<void> {
  const compressed = await compressFile(path, workers);
  const layers = [
    { ...(await describeFile(path, REPODATA)), path },
    { ...(await describeFile(compressed, REPODATA + ZSTD_SUFFIX)), path: compressed },
  ];
  const content = {
    layers: layers.map(({ path: _, ...descriptor }) => descriptor),
    source: {
      fetch: ({ digest }: { digest: string }) =>
        createReadStream(layers.find((layer) => layer.digest === digest)?.path ?? ''),
    },
  };
  const pushed = await copyMetadata(store, SUBDIR, 'repodata.json', content, { tags: ['old', LATEST] });
  const counts = { listed: RECORDS - NEW_ARCHIVES, there: RECORDS - NEW_ARCHIVES };
  await writeLedger(
    store,
    makeLedger({
      store,
      subdir: SUBDIR,
      role: { kind: 'mirror', source },
      filters: filtersDigest(store),
      seen: { file: 'repodata.json.zst', digest: layers[0]?.digest ?? 'sha256:', etag: '"older"' },
      ...{ repodata: pushed.digest, unchanged: true, complete: true, counts },
      ...{ withheld: [], quarantine: [], kept: new Map(), foreign: new Set(), subdirs: undefined },
      beside: { sidecars: true, shims: true },
    }),
  );
  expect((await readLedger(store, SUBDIR))?.complete).toBe(true);
  await rm(compressed);
}

/** @returns where the compressed form is */
async function compressFile(path: string, workers: WorkerPool): Promise<string> {
  const compressed = `${path}.zst`;
  const file = createWriteStream(compressed);
  for await (const chunk of workers.compressing(createReadStream(path), { level: 1 })) {
    if (!file.write(chunk)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');
  return compressed;
}

async function describeFile(path: string, mediaType: string) {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    size += chunk.byteLength;
  }
  return { mediaType, digest: `sha256:${hash.digest('hex')}` as const, size };
}

async function expectListed(
  registry: TestRegistry,
  { path, reader }: StoreUnderTest,
  archives: readonly Archive[],
  repodata: string,
): Promise<void> {
  const bytes = await publishedRepodata(reader, path + SUBDIR);
  expect(`sha256:${hex('sha256', bytes ?? Buffer.alloc(0))}`).toBe((await describeFile(repodata, '')).digest);
  const outside = registryReader(registry.host);
  for (const { filename, index, bytes: archive } of archives) {
    const record = { name: String(index['name']), version: '1.0', build: String(index['build']) };
    const place = placeOf(path + SUBDIR, record);
    const manifest = await outside.manifest(place.repository, place.tag);
    const digests = manifest?.layers.map(({ digest }) => digest);
    expect(digests, filename).toContain(`sha256:${hex('sha256', archive)}`);
  }
}

function isMetadata(line: string): boolean {
  return /\/repodata(?:_ledger)?\.json\/(?:manifests|blobs)\//.test(line);
}

/** @returns what tells the most memory that was resident since, in MiB */
function watchMemory(): () => number {
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 100);
  onTestFinished(() => {
    clearInterval(timer);
  });
  return () => Math.round(most / MIB);
}

function took(from: number): string {
  return (performance.now() - from).toFixed(0);
}

function hex(kind: 'md5' | 'sha256', bytes: Uint8Array): string {
  return createHash(kind).update(bytes).digest('hex');
}
