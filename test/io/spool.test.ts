import { readdir, readFile, truncate } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { setImmediate as tick } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Bytes } from '#ferry/io/bytes.js';
import { Spool } from '#ferry/io/spool.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { readAll, rejection } from '../contracts/artifacts.js';
import { createGate } from '../support/gate.js';

interface Scene {
  readonly temp: TempFolder;
  readonly spool: Spool;
  readonly files: () => Promise<string[]>;
}

async function sceneOf(maxMemoryBytes?: number): Promise<Scene> {
  const temp = await TempFolder.create();
  const spool = new Spool({ temp, ...(maxMemoryBytes === undefined ? {} : { maxMemoryBytes }) });
  onTestFinished(async () => {
    await spool[Symbol.asyncDispose]();
    await temp[Symbol.asyncDispose]();
  });
  return { temp, spool, files: () => readdir(temp.path) };
}

async function* chunksOf(...texts: (string | Uint8Array)[]): Bytes {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

/** Bytes that the test hands out one piece at a time. */
interface HandedOut {
  readonly source: Bytes;
  readonly give: (text: string) => Promise<void>;
  readonly end: (error?: Error) => void;
}

function handedOut(): HandedOut {
  const pieces: (string | Error | undefined)[] = [];
  let wake = createGate();
  const source = (async function* () {
    for (;;) {
      while (pieces.length === 0) await wake.passed;
      wake = createGate();
      const piece = pieces.shift();
      if (piece === undefined) return;
      if (piece instanceof Error) throw piece;
      yield Buffer.from(piece);
    }
  })();
  const put = (piece: string | Error | undefined): void => {
    pieces.push(piece);
    wake.open();
  };
  return {
    source,
    give: async (text) => {
      put(text);
      // Through the spool and its readers; more than enough for what stays in memory.
      for (let i = 0; i < 5; i += 1) await tick();
    },
    end: put,
  };
}

describe.each([
  ['in memory', undefined],
  ['in a file', 0],
  ['from memory to a file', 5],
])('%s', (_, maxMemoryBytes) => {
  test('what was filled in is read as often as wanted, from anywhere', async () => {
    const { spool } = await sceneOf(maxMemoryBytes);
    await spool.fill(chunksOf('012', '', '3456', '789'));
    expect(spool.size).toBe(10);
    for (const offset of [0, 1, 3, 9, 10, 11]) {
      expect((await readAll(spool.open({ offset }))).toString()).toBe('0123456789'.slice(offset));
    }
  });

  test('readers follow the writer and end with it', async () => {
    const { spool } = await sceneOf(maxMemoryBytes);
    const { source, give, end } = handedOut();
    const early = readAll(spool.open());
    const ahead = readAll(spool.open({ offset: 6 }));
    const filling = spool.fill(source);
    const seen: string[] = [];
    const watching = (async () => {
      for await (const chunk of spool.open()) seen.push(Buffer.from(chunk).toString());
    })();
    await give('0123');
    await expect.poll(() => seen.join('')).toBe('0123');
    const late = readAll(spool.open({ offset: 2 }));
    await give('456789');
    await expect.poll(() => seen.join('')).toBe('0123456789');
    end();
    await filling;
    await watching;
    expect((await Promise.all([early, late, ahead])).map(String)).toEqual(['0123456789', '23456789', '6789']);
  });

  test('a failure of the writer reaches every reader, after what came before it', async () => {
    const { spool } = await sceneOf(maxMemoryBytes);
    const { source, give, end } = handedOut();
    const failure = new Error('the source broke');
    const seen: string[] = [];
    const reading = rejection(
      (async () => {
        for await (const chunk of spool.open()) seen.push(Buffer.from(chunk).toString());
      })(),
    );
    const filling = rejection(spool.fill(source));
    await give('0123456');
    end(failure);
    expect(await filling).toBe(failure);
    expect(await reading).toBe(failure);
    expect(seen.join('')).toBe('0123456');
    expect(await rejection(readAll(spool.open()))).toBe(failure);
  });

  test('an abort of one reader leaves the others alone', async () => {
    const { spool } = await sceneOf(maxMemoryBytes);
    const { source, give, end } = handedOut();
    const controller = new AbortController();
    const reason = new Error('enough');
    const filling = spool.fill(source);
    const given = rejection(readAll(spool.open({ signal: controller.signal })));
    const other = readAll(spool.open());
    await give('0123');
    controller.abort(reason);
    expect(await given).toBe(reason);
    await give('456789');
    end();
    await filling;
    expect(String(await other)).toBe('0123456789');
    expect(await rejection(readAll(spool.open({ signal: controller.signal })))).toBe(reason);
  });

  test('disposing ends readers and the writer, and leaves no file', async () => {
    const { spool, files } = await sceneOf(maxMemoryBytes);
    const { source, give } = handedOut();
    const reading = rejection(readAll(spool.open()));
    const filling = rejection(spool.fill(source));
    await give('0123456');
    await spool[Symbol.asyncDispose]();
    expect(String(await reading)).toContain('disposed');
    await give('789');
    expect(String(await filling)).toContain('disposed');
    expect(await files()).toEqual([]);
    await spool[Symbol.asyncDispose]();
  });

  test('no bytes are no bytes', async () => {
    const { spool, files } = await sceneOf(maxMemoryBytes);
    await spool.fill(chunksOf());
    expect(await readAll(spool.open())).toHaveLength(0);
    expect(spool.contents()).toEqual({ bytes: Buffer.alloc(0) });
    expect(await files()).toEqual([]);
  });
});

test('up to the border all stays in memory, one byte more moves all to a file', async () => {
  const within = await sceneOf(10);
  await within.spool.fill(chunksOf('01234', '56789'));
  expect(within.spool.contents()).toEqual({ bytes: Buffer.from('0123456789') });
  expect(await within.files()).toEqual([]);

  const beyond = await sceneOf(10);
  await beyond.spool.fill(chunksOf('01234', '56789', 'a'));
  const contents = beyond.spool.contents();
  if (!('path' in contents)) throw new Error('it should be in a file');
  expect(await readFile(contents.path, 'utf8')).toBe('0123456789a');
  await beyond.spool[Symbol.asyncDispose]();
  expect(await beyond.files()).toEqual([]);
});

test('a spool of the usual size moves to a file beyond 2 MiB', async () => {
  const { spool } = await sceneOf();
  const bytes = randomBytes(2 * 1024 * 1024 + 1);
  await spool.fill(chunksOf(bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)));
  expect(spool.contents()).toHaveProperty('path');
  expect((await readAll(spool.open())).equals(bytes)).toBe(true);
});

test('disposing in the middle of the move to a file leaves no file', async () => {
  const { spool, files } = await sceneOf(5);
  const filling = rejection(
    spool.fill(
      (async function* () {
        yield await Promise.resolve(Buffer.from('0123'));
        // When this is asked for the next piece, it is long over.
        yield Buffer.from('456789');
      })(),
    ),
  );
  for (let i = 0; spool.size === 0 && i < 100; i += 1) await Promise.resolve();
  await Promise.resolve();
  await spool[Symbol.asyncDispose]();
  expect(String(await filling)).toContain('disposed');
  expect(await files()).toEqual([]);
});

test('a folder that cannot take the file fails writer and readers', async () => {
  const { temp, spool } = await sceneOf(5);
  await temp[Symbol.asyncDispose]();
  const reading = rejection(readAll(spool.open()));
  const error = await rejection(spool.fill(chunksOf('0123', '456789')));
  expect(error).toMatchObject({ code: 'ENOENT' });
  expect(await reading).toBe(error);
});

test('a file that somebody cuts fails its reader instead of keeping it for ever', async () => {
  const { spool } = await sceneOf(0);
  await spool.fill(chunksOf('0123456789'));
  const contents = spool.contents();
  if (!('path' in contents)) throw new Error('it should be in a file');
  await truncate(contents.path, 4);
  expect(String(await rejection(readAll(spool.open())))).toContain('cut');
});

test('many tiny pieces are read in few', async () => {
  const { spool } = await sceneOf();
  await spool.fill(
    (async function* () {
      for (let i = 0; i < 100_000; i += 1) yield await Promise.resolve(Buffer.from([i % 251]));
    })(),
  );
  let count = 0;
  let size = 0;
  for await (const chunk of spool.open()) {
    expect(chunk[0]).toBe(size % 251);
    count += 1;
    size += chunk.byteLength;
  }
  expect(size).toBe(100_000);
  expect(count).toBeLessThan(20);
});

test('whatever the pieces and the border, what comes out is what went in', async () => {
  const temp = await TempFolder.create();
  onTestFinished(() => temp[Symbol.asyncDispose]());
  const pieces = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(pieces, fc.nat(60), fc.nat(100), async (chunks, maxMemoryBytes, offset) => {
      const spool = new Spool({ temp, maxMemoryBytes });
      const following = readAll(spool.open({ offset }));
      await spool.fill(chunksOf(...chunks));
      const expected = Buffer.concat(chunks).subarray(offset);
      expect((await following).equals(expected)).toBe(true);
      expect((await readAll(spool.open({ offset }))).equals(expected)).toBe(true);
      await spool[Symbol.asyncDispose]();
    }),
  );
});
