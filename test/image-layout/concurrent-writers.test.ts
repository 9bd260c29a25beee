import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { acquireDirectoryLock } from '#ferry/io/directory-lock.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { artifactOf, essence, pushArtifact, pushContent, tagsOf } from '../contracts/artifacts.js';

const WRITER = fileURLToPath(new URL('layout-writer.mjs', import.meta.url));
const NAME = 'noarch/foo';

let temp: TempFolder;
let root: string;

beforeEach(async () => {
  temp = await TempFolder.create();
  root = join(temp.path, 'channel');
});

afterEach(async () => {
  await temp[Symbol.asyncDispose]();
});

function lockPath(): string {
  return join(root, NAME, '.lock');
}

async function isLocked(): Promise<boolean> {
  return (await readdir(join(root, NAME)).catch((): string[] => [])).includes('.lock');
}

describe('many writers of one repository', () => {
  test('in several processes, and a reader beside them, lose no tag', { timeout: 60_000 }, async () => {
    const [writers, tags] = [4, 60];
    const running = Array.from({ length: writers }, (_, i) =>
      once(
        spawn(process.execPath, [WRITER, root, NAME, `w${String(i)}`, String(tags)], { stdio: 'inherit' }),
        'exit',
      ),
    );
    const repository = openLayoutRegistry(root).repository(NAME);
    const over = new AbortController();
    const reading = (async () => {
      let seen = 0;
      while (!over.signal.aborted) {
        // Throws if half a file is seen; and nothing that was seen goes away.
        const { length } = await tagsOf(repository);
        expect(length).toBeGreaterThanOrEqual(seen);
        seen = length;
      }
    })();
    for (const exit of running) expect(await exit).toEqual([0, null]);
    over.abort();
    await reading;
    expect(await tagsOf(repository)).toHaveLength(writers * tags);
    expect((await readdir(join(root, NAME))).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  test('being killed in the middle leave what the next one goes on with', { timeout: 60_000 }, async () => {
    for (let round = 0; round < 4; round += 1) {
      const tag = `r${String(round)}`;
      const writer = spawn(process.execPath, [WRITER, root, NAME, tag, '100000'], { stdio: 'inherit' });
      const exit = once(writer, 'exit');
      const repository = openLayoutRegistry(root).repository(NAME);
      await vi.waitUntil(
        async () => (await tagsOf(repository)).filter((t) => t.startsWith(tag)).length > 20,
        {
          timeout: 20_000,
          interval: 5,
        },
      );
      writer.kill('SIGKILL');
      await exit;
      const before = await tagsOf(repository);
      for (const known of before) expect(await repository.fetchManifest(known)).toBeDefined();
      await pushArtifact(repository, artifactOf(tag), [`after-${tag}`]);
      expect(await tagsOf(repository)).toEqual([...before, `after-${tag}`].sort());
    }
  });

  test('at once in one process go into few writes', async () => {
    const repository = openLayoutRegistry(root).repository(NAME);
    const artifacts = Array.from({ length: 200 }, (_, i) => artifactOf(`layer ${String(i)}`));
    for (const { blobs } of artifacts) for (const blob of blobs) await pushContent(repository, blob);
    const lock = await acquireDirectoryLock(lockPath());
    const pushing = artifacts.map(({ manifest }, i) => pushContent(repository, manifest, [`t${String(i)}`]));
    // All manifests lie there and wait for the lock.
    await vi.waitUntil(async () => (await readdir(join(root, NAME, 'blobs', 'sha256'))).length === 401);
    expect(await tagsOf(repository)).toEqual([]);
    await lock[Symbol.asyncDispose]();
    await Promise.all(pushing);
    expect(await tagsOf(repository)).toHaveLength(200);
  });
});

describe('a writer that waits for the lock', () => {
  test('gives up in time and says who holds it', async () => {
    const lock = await acquireDirectoryLock(lockPath());
    const repository = openLayoutRegistry(root, { lock: { timeoutMs: 50 } }).repository(NAME);
    const pushing = pushArtifact(repository, artifactOf('a layer'), ['latest']);
    await expect(pushing).rejects.toMatchObject({
      code: 'LOCK_TIMEOUT',
      message: expect.stringContaining(`process ${String(process.pid)}`) as string,
    });
    await lock[Symbol.asyncDispose]();
    await pushArtifact(repository, artifactOf('a layer'), ['latest']);
    expect(await tagsOf(repository)).toEqual(['latest']);
  });

  test('stops with the reason of its abort, and others that wait go on', async () => {
    const repository = openLayoutRegistry(root).repository(NAME);
    const [stopped, going] = [artifactOf('stopped'), artifactOf('going')];
    for (const blob of [...stopped.blobs, ...going.blobs]) await pushContent(repository, blob);
    for (const isAlone of [true, false]) {
      const lock = await acquireDirectoryLock(lockPath());
      const controller = new AbortController();
      const reason = new Error('enough');
      const { descriptor, bytes } = stopped.manifest;
      const stopping = repository.push(descriptor, () => [bytes] as unknown as AsyncIterable<Uint8Array>, {
        signal: controller.signal,
        tags: ['stopped'],
      });
      const others = isAlone ? [] : [pushContent(repository, going.manifest, ['going'])];
      const files = isAlone ? 4 : 5;
      await vi.waitUntil(async () => (await readdir(join(root, NAME, 'blobs', 'sha256'))).length === files);
      controller.abort(reason);
      await expect(stopping).rejects.toBe(reason);
      await lock[Symbol.asyncDispose]();
      await Promise.all(others);
      expect(await tagsOf(repository)).toEqual(isAlone ? [] : ['going']);
    }
  });

  test('that lost its lock in the middle does its work again', async () => {
    const repository = openLayoutRegistry(root, { lock: { heartbeatMs: 60_000 } }).repository(NAME);
    const [first, second] = [artifactOf('first'), artifactOf('second')];
    await pushArtifact(repository, first, ['first']);
    for (const blob of second.blobs) await pushContent(repository, blob);
    // As if another process had taken the lock over and gone again.
    const over = new AbortController();
    const thief = (async () => {
      while (!over.signal.aborted) {
        if (!(await isLocked())) continue;
        await rm(lockPath(), { recursive: true, force: true });
        return;
      }
    })();
    await pushContent(repository, second.manifest, ['second']);
    over.abort();
    await thief;
    expect(await tagsOf(repository)).toEqual(['first', 'second']);
  });

  test('does not list a manifest that was deleted since', async () => {
    const repository = openLayoutRegistry(root).repository(NAME);
    const artifact = artifactOf('a layer');
    await pushArtifact(repository, artifact, ['old']);
    const lock = await acquireDirectoryLock(lockPath());
    const deleting = repository.delete(artifact.manifest.descriptor);
    const tagging = repository.tag(artifact.manifest.descriptor, 'new');
    const settled = Promise.allSettled([deleting, tagging]);
    await lock[Symbol.asyncDispose]();
    await settled;
    for (const tag of await tagsOf(repository)) expect(await repository.resolve(tag)).toBeDefined();
    await pushContent(repository, artifact.manifest, ['again']);
    expect(essence(await repository.resolve('again'))).toEqual(artifact.manifest.descriptor);
  });

  test('takes over from one whose folder was copied from another machine', async () => {
    await mkdir(lockPath(), { recursive: true });
    const owner = {
      token: 'e58ed763-928c-4155-bee9-fdbaaadc15f3',
      host: 'elsewhere.example',
      pid: 1,
      since: 'then',
    };
    await writeFile(join(lockPath(), 'owner.json'), JSON.stringify(owner));
    const repository = openLayoutRegistry(root, { lock: { staleAfterMs: 200 } }).repository(NAME);
    await pushArtifact(repository, artifactOf('a layer'), ['latest']);
    expect(await readFile(join(root, NAME, 'oci-layout'), 'utf8')).toContain('1.0.0');
  });
});
