import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { faultsOf, listedRecords } from '../support/audit.js';
import { mulberry32 } from '../support/double/faults.js';
import { ROOT, runFerry, testEnvironment } from '../support/ferry.js';
import { ghcrScene, layoutScene, registryScene, type PublishScene } from '../support/publish-scenes.js';
import { tempFolder } from '../support/temp.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const ROUNDS = Number(process.env['CONDA_FERRY_TEST_ROUNDS'] ?? 5);
const PUSHERS = 20;
const EACH = 10;
const KILLED = 2;
const REPETITIONS = Number(process.env['CONDA_FERRY_TEST_REPETITIONS'] ?? 20);
/** One kill of a round comes so early; the other when some of the pushers have logged what they want. */
const KILL_WITHIN_MS = 5_000;
const KILL_DELAY_MS = 2_000;
const POLL_MS = 300;

const seed = Number(process.env['CONDA_FERRY_TEST_SEED'] ?? Date.now() % 100_000);
const random = mulberry32(seed);
let archives: string;

beforeAll(async () => {
  console.log(`seed ${String(seed)} (CONDA_FERRY_TEST_SEED)`);
  archives = await mkdtemp(join(tmpdir(), 'ferry-test-'));
  for (let round = 0; round < ROUNDS; round += 1)
    for (let pusher = 0; pusher < PUSHERS; pusher += 1) {
      const folder = folderOf(round, pusher);
      await mkdir(folder, { recursive: true });
      for (let i = 0; i < EACH; i += 1) {
        const { filename, bytes } = smallConda(`r${String(round)}p${String(pusher)}`, String(i));
        await writeFile(join(folder, filename), bytes);
      }
    }
});
afterAll(async () => rm(archives, { recursive: true, force: true }));

function folderOf(round: number, pusher: number): string {
  return join(archives, String(round), String(pusher));
}

/** File names that the operations of the log speak of; each operation is read once, as it never changes. */
class LogWatch {
  readonly #scene: PublishScene;
  readonly #seen = new Map<string, readonly string[]>();

  constructor(scene: PublishScene) {
    this.#scene = scene;
  }

  /** Operations that were seen. */
  get size(): number {
    return this.#seen.size;
  }

  async filenames(): Promise<ReadonlySet<string>> {
    const { reader, path, tags } = this.#scene;
    const repository = `${path}/repodata_ledger.json`;
    const there = (await tags(repository)).filter((tag) => tag.startsWith('op-'));
    for (const tag of this.#seen.keys()) expect(there, 'an operation is gone').toContain(tag);
    for (const tag of there) {
      if (this.#seen.has(tag)) continue;
      const manifest = await reader.manifest(repository, tag);
      const digest = manifest?.layers[0]?.digest;
      const blob = digest === undefined ? undefined : await reader.blob(repository, digest);
      // Being written.
      if (blob === undefined) continue;
      const { entries } = JSON.parse(blob.toString('utf8')) as { entries: { filename: string }[] };
      this.#seen.set(
        tag,
        entries.map(({ filename }) => filename),
      );
    }
    return new Set([...this.#seen.values()].flat());
  }
}

describe('many processes publish to one channel', () => {
  test.each([
    ['docker-registry behind a bad line', registryScene],
    ['GHCR', ghcrScene],
    ['image layouts', layoutScene],
  ])(
    '%s: nothing that was reported is ever missing from the log, nor from latest in the end',
    async (what, open) => {
      const scene = await open(seed);
      const watch = new LogWatch(scene);
      const reported = new Set<string>();
      const failures: string[] = [];
      let atOnce = 0;
      const startedAt = performance.now();
      for (let round = 0; round < ROUNDS; round += 1) {
        const first = Math.floor(random() * PUSHERS);
        const victims = Array.from({ length: KILLED }, (_, i) => (first + i) % PUSHERS);
        const loggedBefore = watch.size;
        const over = new AbortController();
        const polling = (async () => {
          while (!over.signal.aborted) {
            // What is reported before the look has to be in it.
            const before = [...reported];
            const logged = await watch.filenames();
            expect(
              before.filter((filename) => !logged.has(filename)),
              what,
            ).toEqual([]);
            await delay(POLL_MS);
          }
        })();
        const pushes = Array.from({ length: PUSHERS }, async (_, pusher) => {
          const child = startPush(scene, [folderOf(round, pusher)]);
          const victim = victims.indexOf(pusher);
          const enough = victim > 0 ? loggedBefore + 1 + Math.floor(random() * (PUSHERS / 2)) : 0;
          const killMs = random() * (victim > 0 ? KILL_DELAY_MS : KILL_WITHIN_MS);
          const killing = victim === -1 ? undefined : killWhen(child, () => watch.size >= enough, killMs);
          const [{ code, signal, stdout, stderr }] = await Promise.all([ended(child), killing]);
          const done = publishedBy(stdout);
          for (const filename of done) reported.add(filename);
          if (signal === null && code !== 0)
            failures.push(`exit ${String(code)}: ${stderr.slice(-600)}${stdout.slice(-600)}`);
          if (!scene.isStrict || done.length === 0) return;
          const listed = await listedFilenames(scene);
          expect(
            done.filter((filename) => !listed.has(filename)),
            `${what}, at once`,
          ).toEqual([]);
        });
        await Promise.all([
          Promise.all(pushes).finally(() => {
            over.abort();
          }),
          polling,
        ]);
        const listed = await listedFilenames(scene);
        if ([...reported].every((filename) => listed.has(filename))) atOnce += 1;
        expect(await pushOne(scene, `further-${String(round)}`)).toMatchObject({ code: 0 });
        const after = await listedFilenames(scene);
        expect(
          [...reported].filter((filename) => !after.has(filename)),
          what,
        ).toEqual([]);
        // What was logged by those that were killed is in too.
        const logged = await watch.filenames();
        expect(
          [...logged].filter((filename) => !after.has(filename)),
          what,
        ).toEqual([]);
        console.log(
          `${what}, round ${String(round + 1)}: ${String(reported.size)} reported, ${String(after.size)} listed, ` +
            `${String(scene.faults())} faults, ${((performance.now() - startedAt) / 1000).toFixed(0)} s`,
        );
      }
      console.log(
        `${what}: latest was complete without a further push in ${String(atOnce)} of ${String(ROUNDS)} rounds`,
      );
      expect(failures, what).toEqual([]);
      expect(reported.size, what).toBeGreaterThanOrEqual(ROUNDS * (PUSHERS - KILLED) * EACH);
      if (scene.isStrict) expect(atOnce).toBe(ROUNDS);
      await expectClean(scene);
    },
  );
});

describe.each([
  ['docker-registry', registryScene],
  ['image layouts', layoutScene],
])('%s: two processes push under one name', (what, open) => {
  test('twins end as one artifact with both layers', async () => {
    const scene = await open(seed);
    const folder = await tempFolder();
    for (let i = 0; i < REPETITIONS; i += 1) {
      const spec = specOf(`twin-${String(i)}`, '0');
      const [conda, tarBz2] = [smallConda(spec.name, '0'), tarBz2Package(spec)];
      const paths = await Promise.all([conda, tarBz2].map(async (built) => write(folder, built)));
      const results = await Promise.all(paths.map(async (path) => ended(startPush(scene, [path]))));
      for (const { code, stderr } of results) expect({ code, stderr }).toMatchObject({ code: 0 });
      const manifest = await scene.reader.manifest(`${scene.path}/${spec.name}`, '1.0-0');
      const types = manifest?.layers.map(({ mediaType }) => mediaType.replace('application/vnd.conda.', ''));
      expect(types, what).toEqual(expect.arrayContaining(['package.v2', 'package.v1']));
    }
    expect(await pushOne(scene, 'further')).toMatchObject({ code: 0 });
    expect(await faultsOf(scene.reader, scene.path)).toEqual([]);
    expect(await listedRecords(scene.reader, scene.path)).toHaveLength(2 * REPETITIONS + 1);
    await expectClean(scene);
  });

  test('of two different archives one is listed, its tag leads to it, and the other is refused', async () => {
    const scene = await open(seed);
    let refused = 0;
    for (let i = 0; i < REPETITIONS; i += 1) {
      const name = `rival-${String(i)}`;
      const folders = [await tempFolder(), await tempFolder()] as const;
      const built = folders.map((_, which) => smallConda(name, '0', `content ${String(which)}`));
      const paths = await Promise.all(
        built.map(async (archive, which) => write(folders[which] ?? '', archive)),
      );
      const results = await Promise.all(paths.map(async (path) => ended(startPush(scene, [path]))));
      const done = results.filter(({ code }) => code === 0).length;
      const codes = results.flatMap(({ stdout }) => failedCodes(stdout));
      expect(done + codes.length, what).toBe(2);
      expect(done, what).toBeGreaterThanOrEqual(1);
      expect(codes.every((code) => code === 'ARCHIVE_EXISTS')).toBe(true);
      refused += codes.length;
    }
    console.log(`${what}: ${String(refused)} of ${String(REPETITIONS)} were refused`);
    expect(refused).toBeGreaterThanOrEqual(scene.isStrict ? REPETITIONS : REPETITIONS - 1);
    expect(await pushOne(scene, 'further')).toMatchObject({ code: 0 });
    expect(await faultsOf(scene.reader, scene.path)).toEqual([]);
    expect(await listedRecords(scene.reader, scene.path)).toHaveLength(REPETITIONS + 1);
    await expectClean(scene);
  });

  test('what is yanked while others push it stays away', async () => {
    const scene = await open(seed);
    const folder = await tempFolder();
    const path = await write(folder, smallConda('yanked', '0'));
    expect(await ended(startPush(scene, [path]))).toMatchObject({ code: 0 });
    for (let i = 0; i < 3; i += 1) {
      const [yank] = await Promise.all([
        runFerry(['yank', scene.channel, 'yanked-1.0-0.conda'], { env: scene.env }),
        ended(startPush(scene, [path])),
        pushOne(scene, `beside-${String(i)}`),
      ]);
      expect(yank).toMatchObject({ code: 0 });
      expect(await pushOne(scene, `further-${String(i)}`)).toMatchObject({ code: 0 });
      const refused = await ended(startPush(scene, [path]));
      expect([refused.code, ...failedCodes(refused.stdout)]).toEqual([1, 'ARCHIVE_REMOVED']);
      expect(await listedFilenames(scene)).not.toContain('yanked-1.0-0.conda');
    }
    await expectClean(scene);
  });

  test('a replacement that is killed at any moment leaves what is listed there, and is healed by another run', async () => {
    const scene = await open(seed);
    const folders = [await tempFolder(), await tempFolder()] as const;
    const paths = await Promise.all(
      folders.map(async (folder, which) =>
        write(folder, smallConda('replaced', '0', `content ${String(which)}`)),
      ),
    );
    expect(await ended(startPush(scene, [paths[0] ?? '']))).toMatchObject({ code: 0 });
    let kills = 0;
    for (let i = 1; i <= REPETITIONS; i += 1) {
      const path = paths[i % 2] ?? '';
      const child = startPush(scene, [path], ['--replace']);
      await using _ = killAfter(child, 300 + random() * 1_500);
      if ((await ended(child)).signal !== null) kills += 1;
      await delay(50);
      expect(await faultsOf(scene.reader, scene.path), `kill ${String(i)}`).toEqual([]);
      expect(await ended(startPush(scene, [path], ['--replace']))).toMatchObject({ code: 0 });
      expect(await faultsOf(scene.reader, scene.path), `after kill ${String(i)}`).toEqual([]);
      expect(await listedFilenames(scene)).toContain('replaced-1.0-0.conda');
    }
    console.log(`${what}: ${String(kills)} of ${String(REPETITIONS)} were killed`);
    expect(kills).toBeGreaterThan(0);
    await expectClean(scene);
  });
});

function specOf(name: string, build: string, content = `${name} ${build}`) {
  const index = { noarch: 'generic' };
  return {
    name,
    version: '1.0',
    build,
    subdir: 'noarch',
    index,
    payloadFiles: { 'share/text': content },
  } as const;
}

function smallConda(name: string, build: string, content?: string) {
  return condaPackage({ ...specOf(name, build, content), zip: { level: 1 } });
}

async function write(
  folder: string,
  { filename, bytes }: { readonly filename: string; readonly bytes: Uint8Array },
): Promise<string> {
  const path = join(folder, filename);
  await writeFile(path, bytes);
  return path;
}

function startPush(
  { channel, env }: PublishScene,
  paths: readonly string[],
  flags: readonly string[] = [],
): ChildProcess {
  return spawn(process.execPath, [MAIN, 'push', ...paths, channel, '--json', ...flags], {
    cwd: ROOT,
    env: { ...testEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function pushOne(scene: PublishScene, name: string): Promise<Ended> {
  const folder = await mkdtemp(join(archives, 'one-'));
  return ended(startPush({ ...scene, channel: scene.channel }, [await write(folder, smallConda(name, '0'))]));
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function ended(child: ChildProcess): Promise<Ended> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('nobody hears it');
  const [out, err] = await Promise.all([text(stdout), text(stderr), once(child, 'close')]);
  return { code: child.exitCode, signal: child.signalCode, stdout: out, stderr: err };
}

function killAfter(child: ChildProcess, ms: number): AsyncDisposable {
  const timer = setTimeout(() => child.kill('SIGKILL'), ms);
  return {
    [Symbol.asyncDispose]: () => {
      clearTimeout(timer);
      return Promise.resolve();
    },
  };
}

/** Kills a process so long after something came true, unless it has ended by then. */
async function killWhen(child: ChildProcess, isTrue: () => boolean, ms: number): Promise<void> {
  const isOver = (): boolean => child.exitCode !== null;
  while (!isTrue() && !isOver()) await delay(50);
  await delay(ms);
  if (!isOver()) child.kill('SIGKILL');
}

/** File names that a push reported as published. */
function publishedBy(stdout: string): readonly string[] {
  if (stdout === '') return [];
  const report = JSON.parse(stdout) as { published: { filename: string; status: string }[] };
  return report.published.filter(({ status }) => status !== 'stored').map(({ filename }) => filename);
}

function failedCodes(stdout: string): readonly string[] {
  if (stdout === '') return [];
  return (JSON.parse(stdout) as { failed: { code: string }[] }).failed.map(({ code }) => code);
}

async function listedFilenames({ reader, path }: PublishScene): Promise<ReadonlySet<string>> {
  return new Set(((await listedRecords(reader, path)) ?? []).map(({ filename }) => filename));
}

/** Everything listed is there, and neither the audit nor the checker finds anything. */
async function expectClean({ quiet, env, reader, path }: PublishScene): Promise<void> {
  expect(await faultsOf(reader, path)).toEqual([]);
  for (const verb of ['verify', 'check']) {
    const { code, stdout, stderr } = await runFerry([verb, quiet], { env });
    expect({ verb, code, stdout: code === 0 ? '' : stdout, stderr: code === 0 ? '' : stderr }).toEqual({
      verb,
      code: 0,
      stdout: '',
      stderr: '',
    });
  }
}
