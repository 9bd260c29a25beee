import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { MetadataAnswer } from '#ferry/conda/channel-source.js';
import { collect } from '#ferry/io/bytes.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { FillSource } from '#ferry/serve/pull-through/fill-source.js';
import { conda, contentOf, noteOf, Scene } from './scene.js';

const [aa, bb] = [conda('aa'), conda('bb')];

async function open(scene: Scene): Promise<FillSource> {
  const temp = await TempFolder.create();
  const source = new FillSource({
    upstream: scene.upstream(),
    temp,
    content: (digest) => Promise.resolve(scene.cache.get(digest)),
  });
  onTestFinished(async () => {
    await source[Symbol.asyncDispose]();
    await temp[Symbol.asyncDispose]();
  });
  return source;
}

async function textOf(answer: MetadataAnswer): Promise<string> {
  if (answer.status !== 'found') return answer.status;
  return Buffer.from(await collect(answer.body, 1_000_000, 'test')).toString();
}

const PATH = 'noarch/repodata.json';

test('repodata that did not change is read from here, and is said to be unchanged to who knows it', async () => {
  const scene = await Scene.open({ noarch: [aa] });
  const { channel } = await open(scene);
  const first = await channel.openMetadata(PATH);
  if (first.status !== 'found') throw new Error(first.status);
  expect(await textOf(first)).toBe(await scene.upstreamText());
  const { validators } = first;
  expect(await textOf(await channel.openMetadata(PATH))).toBe(await scene.upstreamText());
  expect(await textOf(await channel.openMetadata(PATH, { unless: validators }))).toBe('unchanged');
  // Who knows an older state is told of this one.
  const older = { unless: { etag: '"older"' } };
  expect(await textOf(await channel.openMetadata(PATH, older))).toBe(await scene.upstreamText());
  await expect.poll(() => scene.server.requests.map(({ status }) => status)).toEqual([200, 304, 304, 304]);
  await scene.offer({ noarch: [aa, bb] });
  expect(await textOf(await channel.openMetadata(PATH, { unless: validators }))).toContain(bb.filename);
  await rm(join(scene.folder, PATH));
  expect(await textOf(await channel.openMetadata(PATH))).toBe('absent');
});

test('an archive of which the cache gives a part only goes on from upstream', async () => {
  const scene = await Scene.open({ noarch: [aa] });
  const { bytes: _, ...content } = contentOf(aa.bytes);
  scene.cache.set(content.digest, {
    ...content,
    open: () =>
      Promise.resolve({
        size: content.size,
        read: (target: Uint8Array, position: number) => {
          if (position > 0) return Promise.reject(new Error('the disk failed'));
          target.set(aa.bytes.subarray(0, 100));
          return Promise.resolve(100);
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
  });
  const { channel } = await open(scene);
  const read = await collect(channel.openArchive(noteOf(aa)), 1_000_000, 'test');
  expect(Buffer.from(read)).toEqual(Buffer.from(aa.bytes));
  // Which is seen to have been asked once its answer is through.
  await expect.poll(() => scene.fetched()).toEqual([`noarch/${aa.filename}`]);
});
