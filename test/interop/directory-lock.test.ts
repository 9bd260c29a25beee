import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { acquireDirectoryLock, type DirectoryLockOptions } from '#ferry/io/directory-lock.js';
import { TempFolder } from '#ferry/io/temp-folder.js';

const PROGRAM = fileURLToPath(new URL('directory-lock-process.mjs', import.meta.url));
const LONG_MS = 60_000;

let folder: TempFolder;
let path: string;
let children: LockProcess[];

beforeEach(async () => {
  folder = await TempFolder.create();
  path = join(folder.path, '.lock');
  children = [];
});

afterEach(async () => {
  for (const child of children) await child.kill();
  await folder[Symbol.asyncDispose]();
});

/** Another process that uses the lock. */
class LockProcess {
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;

  constructor(...args: string[]) {
    this.#process = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#closed = once(this.#process, 'close');
    const { stdout } = this.#process;
    if (stdout !== null) createInterface({ input: stdout }).on('line', (line) => this.lines.push(line));
    children.push(this);
  }

  static hold(options: DirectoryLockOptions = {}): LockProcess {
    return new LockProcess('hold', path, JSON.stringify(options));
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get isHolder(): boolean {
    return this.lines.includes('held');
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async ask(): Promise<string | undefined> {
    const count = this.lines.length;
    this.#process.stdin?.write('assert\n');
    await until(() => this.lines.length > count);
    return this.lines.at(-1);
  }

  async release(): Promise<void> {
    this.#process.stdin?.write('release\n');
    await this.#closed;
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#closed;
  }

  async exitCode(): Promise<number | null> {
    await this.#closed;
    return this.#process.exitCode;
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitUntil(condition, { timeout: 20_000, interval: 5 });
}

async function readOwner(): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(path, 'owner.json'), 'utf8')) as Record<string, unknown>;
}

async function changeOwner(changes: Record<string, unknown>): Promise<void> {
  await writeFile(join(path, 'owner.json'), JSON.stringify({ ...(await readOwner()), ...changes }));
}

async function leftovers(): Promise<string[]> {
  return (await readdir(folder.path)).filter((name) => name !== '.lock');
}

async function acquireMs(options: DirectoryLockOptions): Promise<number> {
  const startMs = performance.now();
  const lock = await acquireDirectoryLock(path, options);
  const elapsedMs = performance.now() - startMs;
  await lock[Symbol.asyncDispose]();
  return elapsedMs;
}

describe('a lock', () => {
  test('names its owner, and leaves nothing when it is released', async () => {
    const lock = await acquireDirectoryLock(path);
    await lock.assertHeld();
    expect(await readOwner()).toMatchObject({ host: hostname(), pid: process.pid });
    await lock[Symbol.asyncDispose]();
    await lock[Symbol.asyncDispose]();
    expect(await readdir(folder.path)).toEqual([]);
    await expect(lock.assertHeld()).rejects.toMatchObject({ code: 'LOCK_LOST' });
  });

  test('makes the folders above it', async () => {
    const lock = await acquireDirectoryLock(join(folder.path, 'a', 'b', '.lock'));
    await lock.assertHeld();
    await lock[Symbol.asyncDispose]();
  });

  test('keeps out others until it is released', async () => {
    const lock = await acquireDirectoryLock(path);
    let isReleased = false;
    const waiters = Array.from({ length: 5 }, async () => {
      const next = await acquireDirectoryLock(path);
      expect(isReleased).toBe(true);
      await next[Symbol.asyncDispose]();
    });
    await until(async () => (await readOwner()).pid === process.pid);
    isReleased = true;
    await lock[Symbol.asyncDispose]();
    await Promise.all(waiters);
  });

  test('is not to be had in time: the error says who holds it', async () => {
    const lock = await acquireDirectoryLock(path);
    const { since } = await readOwner();
    const waiting = acquireDirectoryLock(path, { timeoutMs: 50 });
    await expect(waiting).rejects.toMatchObject({
      code: 'LOCK_TIMEOUT',
      message: expect.stringContaining(
        `process ${String(process.pid)} on \`${hostname()}\` since ${String(since)}`,
      ) as string,
    });
    await lock.assertHeld();
    await lock[Symbol.asyncDispose]();
    expect(await leftovers()).toEqual([]);
  });

  test('is tried for once even with no time at all', async () => {
    expect(await acquireMs({ timeoutMs: 0 })).toBeLessThan(LONG_MS);
  });

  test('stops waiting with the reason of the abort', async () => {
    const lock = await acquireDirectoryLock(path);
    const reason = new Error('changed my mind');
    const controller = new AbortController();
    const waiting = acquireDirectoryLock(path, { signal: controller.signal });
    setImmediate(() => {
      controller.abort(reason);
    });
    await expect(waiting).rejects.toBe(reason);
    await expect(acquireDirectoryLock(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await lock[Symbol.asyncDispose]();
    expect(await leftovers()).toEqual([]);
  });
});

describe('between processes', () => {
  test('one at a time: 8 processes lose no count', { timeout: LONG_MS }, async () => {
    const counter = join(folder.path, 'counter');
    await writeFile(counter, '0');
    const processes = Array.from({ length: 8 }, () => new LockProcess('count', path, counter, '60'));
    for (const child of processes) expect(await child.exitCode()).toBe(0);
    expect(await readFile(counter, 'utf8')).toBe('480');
    expect(await leftovers()).toEqual(['counter']);
  });

  test(
    'a killed holder is replaced at once by exactly one of those who wait',
    { timeout: LONG_MS },
    async () => {
      const options = { staleAfterMs: LONG_MS, timeoutMs: LONG_MS };
      const holder = LockProcess.hold(options);
      await until(() => holder.isHolder);
      let waiting = Array.from({ length: 4 }, () => LockProcess.hold(options));
      await holder.kill();
      while (waiting.length > 0) {
        await until(() => waiting.some((child) => child.isHolder));
        const holders = waiting.filter((child) => child.isHolder);
        expect(holders).toHaveLength(1);
        expect(await readOwner()).toMatchObject({ pid: holders[0]?.pid });
        expect(await holders[0]?.ask()).toBe('still held');
        waiting = waiting.filter((child) => !child.isHolder);
        // Half of them die as the first did, the others release.
        if (waiting.length % 2 === 0) await holders[0]?.kill();
        else await holders[0]?.release();
      }
    },
  );

  test('a holder that releases and ends while it is looked for: the next one is not taken for it', async () => {
    const ended = new LockProcess('count', join(folder.path, 'other'), join(folder.path, 'none'), '0');
    await ended.exitCode();
    const released = await acquireDirectoryLock(path);
    await changeOwner({ pid: ended.pid, token: randomUUID() });
    // Asked for the process, the system has it done with the lock, and another one there already.
    const next = { ...(await readOwner()), pid: process.pid, token: randomUUID() };
    const asked = vi.spyOn(process, 'kill').mockImplementationOnce(() => {
      writeFileSync(join(path, 'owner.json'), JSON.stringify(next));
      throw Object.assign(new Error('no such process'), { code: 'ESRCH' });
    });
    try {
      const waiting = acquireDirectoryLock(path, { timeoutMs: 100 });
      await expect(waiting).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
      expect(asked).toHaveBeenCalledWith(ended.pid, 0);
      expect(await readOwner()).toMatchObject({ token: next.token });
    } finally {
      asked.mockRestore();
    }
    await released[Symbol.asyncDispose]();
  });

  test('a process id that was given to another process does not keep the lock', async () => {
    const lock = await acquireDirectoryLock(path);
    if ((await readOwner()).startTime === undefined) return;
    await changeOwner({ startTime: '1' });
    expect(await acquireMs({ staleAfterMs: LONG_MS })).toBeLessThan(LONG_MS / 2);
    await expect(lock.assertHeld()).rejects.toMatchObject({ code: 'LOCK_LOST' });
    await lock[Symbol.asyncDispose]();
  });

  test.each([
    ['on another machine', { host: 'elsewhere.example', bootId: 'another', pid: 4_000_000 }],
    ['on another machine of the same name, or before this one was started anew', { bootId: 'another' }],
    ['in another container', { host: 'container', pid: 4_000_000, pidNamespace: 'pid:[1]' }],
    ['in another container of the same host name', { pid: 4_000_000, pidNamespace: 'pid:[1]' }],
  ])('a holder %s is replaced only when its heart stood still', async (_, changes) => {
    const lock = await acquireDirectoryLock(path, { heartbeatMs: LONG_MS });
    await changeOwner(changes);
    expect(await acquireMs({ staleAfterMs: 300 })).toBeGreaterThanOrEqual(300);
    await lock[Symbol.asyncDispose]();
  });

  test('a holder elsewhere whose heart beats is not replaced, whatever its clock says', async () => {
    const lock = await acquireDirectoryLock(path, { heartbeatMs: LONG_MS });
    await changeOwner({ host: 'elsewhere.example', pid: 4_000_000 });
    let beats = 0;
    const heart = setInterval(() => {
      beats += 1;
      const longAgo = new Date(1_000_000_000_000 + beats);
      void utimes(join(path, 'owner.json'), longAgo, longAgo);
    }, 20);
    try {
      const waiting = acquireDirectoryLock(path, { staleAfterMs: 1000, timeoutMs: 2500 });
      await expect(waiting).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    } finally {
      clearInterval(heart);
    }
    await lock.assertHeld();
    await lock[Symbol.asyncDispose]();
  });

  test('a live holder shows it: its heart beats by itself', async () => {
    const lock = await acquireDirectoryLock(path, { heartbeatMs: 20 });
    await changeOwner({ host: 'elsewhere.example' });
    const waiting = acquireDirectoryLock(path, { staleAfterMs: 2000, timeoutMs: 2500 });
    await expect(waiting).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    await lock[Symbol.asyncDispose]();
  });

  test('a holder that slept is told that it lost the lock, and leaves the new one alone', async () => {
    const sleeper = LockProcess.hold({ heartbeatMs: 20, staleAfterMs: 300 });
    await until(() => sleeper.isHolder);
    expect(await sleeper.ask()).toBe('still held');
    sleeper.signal('SIGSTOP');
    const lock = await acquireDirectoryLock(path, { staleAfterMs: 300 });
    sleeper.signal('SIGCONT');
    expect(await sleeper.ask()).toBe('LOCK_LOST');
    await sleeper.release();
    await lock.assertHeld();
    await lock[Symbol.asyncDispose]();
  });
});

describe('what a killed process leaves', () => {
  test('a reaper that comes late cannot rename the fresh lock away', async () => {
    const holder = LockProcess.hold();
    await until(() => holder.isHolder);
    const { token } = await readOwner();
    await holder.kill();
    const lock = await acquireDirectoryLock(path);
    const grave = `${path}.stale-${String(token)}`;
    // What a second reaper does that judged the first lock stale and was held up.
    await expect(rename(path, grave)).rejects.toMatchObject({
      code: expect.stringMatching(/ENOTEMPTY|EEXIST/) as string,
    });
    await lock.assertHeld();
    await lock[Symbol.asyncDispose]();
    expect(await leftovers()).toEqual([`.lock.stale-${String(token)}`]);
  });

  test('the name of a lock that was held long stays taken, too', async () => {
    const lock = await acquireDirectoryLock(path, { staleAfterMs: 1 });
    const { token } = await readOwner();
    await until(() => new Promise<boolean>((resolve) => setTimeout(resolve, 2, true)));
    await lock[Symbol.asyncDispose]();
    expect(await leftovers()).toEqual([`.lock.stale-${String(token)}`]);
  });

  test.each([
    ['a candidate without an owner', '.lock.new-1', undefined],
    ['a candidate with one', '.lock.new-1', '{}'],
    ['a grave', '.lock.stale-1', '{}'],
    ['an empty lock', '.lock', undefined],
  ])('%s does not block', async (_, name, owner) => {
    await mkdir(join(folder.path, name));
    if (owner !== undefined) await writeFile(join(folder.path, name, 'owner.json'), owner);
    const lock = await acquireDirectoryLock(path, { staleAfterMs: LONG_MS, timeoutMs: LONG_MS / 2 });
    await lock.assertHeld();
    await lock[Symbol.asyncDispose]();
  });

  test.each([
    ['an owner that cannot be read', 'owner.json', '{"pid":'],
    ['an owner of another shape', 'owner.json', '{"token":"../../up"}'],
    ['something else in it', 'note', 'hello'],
  ])('a lock with %s is taken over after it stood still', async (_, name, text) => {
    await mkdir(path);
    await writeFile(join(path, name), text);
    expect(await acquireMs({ staleAfterMs: 200 })).toBeGreaterThanOrEqual(200);
  });

  test('is removed when it is old', async () => {
    for (const name of ['.lock.new-1', '.lock.stale-2', '.lock.trash-3', '.lock.kept']) {
      await mkdir(join(folder.path, name));
      await writeFile(join(folder.path, name, 'owner.json'), '{}');
    }
    await acquireMs({ cleanUpAfterMs: LONG_MS });
    expect(await leftovers()).toHaveLength(4);
    await until(async () => {
      await acquireMs({ cleanUpAfterMs: 1 });
      return (await leftovers()).length === 1;
    });
    expect(await leftovers()).toEqual(['.lock.kept']);
  });

  test('a lock that was removed by hand is lost to its holder', async () => {
    const lock = await acquireDirectoryLock(path);
    await rm(path, { recursive: true });
    await expect(lock.assertHeld()).rejects.toMatchObject({ code: 'LOCK_LOST' });
    await lock[Symbol.asyncDispose]();
  });
});
