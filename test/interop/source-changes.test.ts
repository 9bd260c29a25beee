import { readFile, rm, utimes, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { mirrorChannel, type MirrorOptions } from '#ferry/mirror/mirror.js';
import type { SubdirReport } from '#ferry/mirror/report.js';
import { faultsOf, listedRecords, publishedRepodata } from '../support/audit.js';
import { serveChannel, type ChannelServer } from '../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { httpSource, registryStore, type StoreUnderTest } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { offer, smallConda, smallTarBz2 } from '../support/v1-channel.js';
import { watchedRegistry } from '../support/watched-registry.js';

/** What a source does while it is mirrored: nothing wrong is published, nothing listed is lost, and the report names it. */

type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean;

let workers: WorkerPool;
let registry: TestRegistry;
let source: string;
let server: ChannelServer;
let intercept: Intercept | undefined;
beforeAll(async () => {
  workers = new WorkerPool();
  registry = await startRegistry();
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await workers[Symbol.asyncDispose]();
});
beforeEach(async () => {
  source = await tempFolder();
  intercept = undefined;
  server = await serveChannel(source, {
    intercept: (request, response) => intercept?.(request, response) === true,
  });
  onTestFinished(() => server[Symbol.asyncDispose]());
});

const other = smallConda({ name: 'other' });
const others = Array.from({ length: 6 }, (_, i) => smallConda({ name: 'other', build: String(i + 1) }));
const first = smallConda({ payload: 'first\n' });
const second = smallConda({ payload: 'second, and longer\n' });

let channels = 0;

interface Channel {
  readonly view: () => StoreUnderTest;
  readonly schema: Schema;
  /** Mirrors, auditing what is listed at each write, and afterwards. */
  run(options?: Partial<MirrorOptions>): Promise<SubdirReport>;
  listed(): Promise<string[]>;
}

function useChannel(schema: Schema): Channel {
  channels += 1;
  const name = `changes-${schema.id}-${String(channels)}`;
  const view = (): StoreUnderTest => registryStore(registry, name, { schema });
  const audit = async (): Promise<void> => {
    const { reader, path } = view();
    expect(await faultsOf(reader, `${path}noarch`, { schema: schema.id })).toEqual([]);
  };
  return {
    view,
    schema,
    run: async (options = {}) => {
      const { store } = view();
      const destination = new ChannelStore(
        watchedRegistry(store.registry, { after: audit }),
        store.path,
        schema,
      );
      try {
        const report = await mirrorChannel({
          ...{ source: httpSource(server.url), destination, subdirs: ['noarch'], workers },
          ...options,
        });
        const [subdir] = report.subdirs;
        if (subdir === undefined) throw new Error('no subdir');
        return subdir;
      } finally {
        await audit();
      }
    },
    listed: async () => {
      const { reader, path } = view();
      const records = (await listedRecords(reader, `${path}noarch`, schema.id)) ?? [];
      return records.map(({ filename }) => filename).sort();
    },
  };
}

/** Runs once, when a path that ends so is asked for the first time, before it is answered. */
function before(ending: string, act: () => Promise<void>): Intercept {
  let isDone = false;
  return (request, response) => {
    if (isDone || request.url?.endsWith(ending) !== true) return false;
    isDone = true;
    void act().then(() => server.answer(request, response));
    return true;
  };
}

const codesOf = ({ failed }: SubdirReport): Record<string, string> =>
  Object.fromEntries(failed.map(({ filename, code }) => [filename, code]));

/** Dates the repodata, so that which is older does not hang on the clock. */
async function dateRepodata(ms: number): Promise<void> {
  for (const file of ['repodata.json', 'repodata.json.zst']) {
    await utimes(join(source, 'noarch', file), ms / 1000, ms / 1000);
  }
}

const NOON = Date.parse('2026-05-01T12:00:00Z');
const HOUR_MS = 60 * 60 * 1000;

describe.each([schemaV0, schemaV1])('by schema $id', (schema) => {
  test('a package that is replaced while it is read fails by its name, and is taken the next night', async () => {
    const channel = useChannel(schema);
    await offer(source, first, other);
    intercept = before(first.filename, () => offer(source, second, other));
    const night = await channel.run();
    expect(codesOf(night)).toEqual({ [first.filename]: 'SIZE_EXCEEDED' });
    expect(await channel.listed()).toEqual([other.filename]);
    const next = await channel.run();
    expect(next).toMatchObject({ added: 1, failed: [], replaced: [], publishedAs: 'unchanged' });
    expect(await channel.listed()).toEqual([first.filename, other.filename]);
  });

  test('a package that was replaced since the last night is replaced here, and named', async () => {
    const channel = useChannel(schema);
    await offer(source, first, other);
    expect(await channel.run()).toMatchObject({ added: 2, replaced: [] });
    await offer(source, second, other);
    expect(await channel.run()).toMatchObject({ added: 1, failed: [], replaced: [second.filename] });
    // Replaced again, in the middle of the night that follows: what is listed is what is there.
    const third = smallConda({ payload: 'third' });
    await offer(source, third, other);
    intercept = before(third.filename, () => offer(source, first, other));
    const night = await channel.run();
    expect(Object.keys(codesOf(night))).toEqual([third.filename]);
    expect(await channel.listed()).toEqual([other.filename]);
    expect(await channel.run()).toMatchObject({ failed: [], publishedAs: 'unchanged' });
    expect(await channel.listed()).toEqual([first.filename, other.filename]);
  });

  test('a record for a file that is not there yet is not listed, and is tried until it is', async () => {
    const channel = useChannel(schema);
    await offer(source, first, other);
    const path = join(source, 'noarch', first.filename);
    await rm(path);
    for (const night of ['first', 'again']) {
      const report = await channel.run();
      expect(codesOf(report), night).toEqual({ [first.filename]: 'ARCHIVE_ABSENT' });
      expect(await channel.listed()).toEqual([other.filename]);
    }
    await writeFile(path, first.bytes);
    server.requests.length = 0;
    expect(await channel.run()).toMatchObject({ added: 1, failed: [], publishedAs: 'unchanged' });
    // The source said that its repodata did not change.
    expect(server.requests[0]).toMatchObject({ status: 304 });
    expect(await channel.listed()).toEqual([first.filename, other.filename]);
  });

  test('older repodata from a cache stops the run by its date, and nothing is taken back', async () => {
    const channel = useChannel(schema);
    await offer(source, first, other);
    await dateRepodata(NOON);
    await channel.run();
    await offer(source, other);
    await dateRepodata(NOON - HOUR_MS);
    await expect(channel.run()).rejects.toMatchObject({
      code: 'SOURCE_OLDER',
      message: expect.stringContaining('`noarch`') as unknown,
    });
    expect(await channel.listed()).toEqual([first.filename, other.filename]);
  });

  test('older repodata without a date is warned about by what vanished, and keeps its archives', async () => {
    const channel = useChannel(schema);
    const undated: Intercept = (request, response) => {
      if (request.url?.includes('repodata.json') !== true) return false;
      if (request.url.endsWith('.zst')) response.writeHead(404).end();
      else void readFile(join(source, 'noarch', 'repodata.json')).then((bytes) => response.end(bytes));
      return true;
    };
    intercept = undated;
    await offer(source, first, other);
    await channel.run();
    await offer(source, other);
    const report = await channel.run();
    expect(report).toMatchObject({ gone: 1, kept: 1 });
    expect(report.warnings).toEqual(['noarch: 1 of 2 records vanished at the source']);
    await offer(source, first, other);
    await rm(join(source, 'noarch', first.filename));
    // Listed again, the archive is there still.
    expect(await channel.run()).toMatchObject({ added: 0, failed: [], publishedAs: 'unchanged' });
  });

  test('a .zst that is cut short at the source is passed over, with a warning, while the plain one can be read', async () => {
    const channel = useChannel(schema);
    await offer(source, first, other);
    await channel.run();
    await offer(source, first, other, ...others);
    const zst = join(source, 'noarch', 'repodata.json.zst');
    const whole = await readFile(zst);
    await writeFile(zst, whole.subarray(0, whole.byteLength / 2));
    const night = await channel.run();
    expect(night).toMatchObject({ added: others.length, failed: [], publishedAs: 'unchanged' });
    expect(night.warnings).toEqual([
      expect.stringMatching(
        /^noarch: `repodata\.json\.zst` cannot be read, `repodata\.json` was taken instead: /,
      ),
    ]);
    const { reader, path } = channel.view();
    expect(await publishedRepodata(reader, `${path}noarch`, schema.id)).toEqual(
      await readFile(join(source, 'noarch', 'repodata.json')),
    );
    // Cut short still, then whole again: nothing to do, and the first is said.
    const still = await channel.run();
    expect(still).toMatchObject({ publishedAs: 'kept', warnings: night.warnings });
    await writeFile(zst, whole);
    expect(await channel.run()).toMatchObject({ publishedAs: 'kept', warnings: [] });
    server.requests.length = 0;
    expect(await channel.run()).toMatchObject({ publishedAs: 'kept' });
    const asked = server.requests.filter(({ path: url }) => url.endsWith('repodata.json'));
    expect(asked, 'the compressed one is asked for again').toEqual([]);
  });

  test('where neither form can be read, the run ends with the name of the file, and nothing changes', async () => {
    const channel = useChannel(schema);
    await offer(source, first, other);
    await channel.run();
    await offer(source, first, other, ...others);
    for (const file of ['repodata.json', 'repodata.json.zst']) {
      const whole = await readFile(join(source, 'noarch', file));
      await writeFile(join(source, 'noarch', file), whole.subarray(0, whole.byteLength / 2));
    }
    await expect(channel.run()).rejects.toMatchObject({
      code: 'REPODATA_INVALID',
      message: `\`${server.url}/noarch/repodata.json.zst\` cannot be read`,
    });
    expect(await channel.listed()).toEqual([first.filename, other.filename]);
  });

  test('an archive that ends early on the way is asked for again, and one that stays short fails', async () => {
    const channel = useChannel(schema);
    await offer(source, first, other);
    let breaks = 0;
    intercept = (request, response) => {
      const isFirst = request.url?.endsWith(first.filename) === true;
      if (!isFirst && request.url?.endsWith(other.filename) !== true) return false;
      if (isFirst) {
        // Short, and content with it.
        response.end(first.bytes.subarray(0, 100));
        return true;
      }
      breaks += 1;
      if (breaks > 1) return false;
      response.writeHead(200, { 'content-length': other.bytes.byteLength, etag: '"x"' });
      response.write(other.bytes.subarray(0, 100), () => response.destroy());
      return true;
    };
    const report = await channel.run();
    expect(codesOf(report)).toEqual({ [first.filename]: 'SIZE_MISMATCH' });
    expect(await channel.listed()).toEqual([other.filename]);
  });
});

test('v1/P6: a .conda that comes beside a mirrored .tar.bz2 takes its place, and the report names both', async () => {
  const channel = useChannel(schemaV1);
  const [tarBz2, conda] = [smallTarBz2(), smallConda()];
  await offer(source, tarBz2, other);
  await channel.run();
  await offer(source, tarBz2, conda, other);
  const report = await channel.run();
  expect(report).toMatchObject({
    ...{ added: 1, failed: [], replaced: [], displaced: [tarBz2.filename] },
    withheld: [{ filename: tarBz2.filename, clause: 'v1/P6' }],
  });
  expect(await channel.listed()).toEqual([conda.filename, other.filename]);
  expect(await channel.run()).toMatchObject({ publishedAs: 'kept', displaced: [] });
});

test('v0/D2: a .conda that comes beside a mirrored .tar.bz2 joins it', async () => {
  const channel = useChannel(schemaV0);
  const [tarBz2, conda] = [smallTarBz2(), smallConda()];
  await offer(source, tarBz2, other);
  await channel.run();
  await offer(source, tarBz2, conda, other);
  expect(await channel.run()).toMatchObject({ added: 1, failed: [], replaced: [], displaced: [] });
  expect(await channel.listed()).toEqual([conda.filename, tarBz2.filename, other.filename].sort());
});

test('v1/P6: a .conda that is listed beside a mirrored .tar.bz2 and is not there yet is named until it is', async () => {
  const channel = useChannel(schemaV1);
  const [tarBz2, conda] = [smallTarBz2(), smallConda()];
  await offer(source, tarBz2, other);
  await channel.run();
  await offer(source, tarBz2, conda, other);
  await rm(join(source, 'noarch', conda.filename));
  const report = await channel.run();
  expect(codesOf(report)).toEqual({ [conda.filename]: 'ARCHIVE_ABSENT' });
  expect(report.displaced).toEqual([]);
  await writeFile(join(source, 'noarch', conda.filename), conda.bytes);
  expect(await channel.run()).toMatchObject({ added: 1, failed: [], displaced: [tarBz2.filename] });
  expect(await channel.listed()).toEqual([conda.filename, other.filename]);
});
