import { open, readdir } from 'node:fs/promises';
import { onTestFinished } from 'vitest';
import { splitRepodata } from '#ferry/conda/shards/split-repodata.js';
import { writeShard, writeShardIndex } from '#ferry/conda/shards/write-shards.js';
import { digestOf } from '#ferry/io/digest.js';
import type { OpenedBytes } from '#ferry/io/opened-bytes.js';
import { buildShards, type BuildShardsOptions } from '#ferry/serve/shards/build-shards.js';
import { PackedShards } from '#ferry/serve/shards/packed-shards.js';
import { inPieces } from '../../conda/repodata/pieces.js';
import { tempFolder } from '../../support/temp.js';

export const CREATED_AT = new Date('2026-01-02T03:04:05Z');

/** The shards of a text, made in this thread unless `size` says otherwise. */
export async function packOf(text: Uint8Array | string, options: Partial<BuildShardsOptions> = {}) {
  const bytes = Buffer.from(text);
  const folder = await tempFolder();
  const built = await buildShards({
    open: inPieces(bytes, 1000),
    size: 0,
    subdir: 'noarch',
    folder,
    createdAt: CREATED_AT,
    ...options,
  });
  const left = await readdir(folder);
  const file = await open(built.path);
  onTestFinished(async () => file.close());
  let opened = 0;
  const openPack = async (): Promise<OpenedBytes> => {
    opened += 1;
    return {
      size: built.table.size,
      read: async (target, position) => (await file.read(target, 0, target.byteLength, position)).bytesRead,
      [Symbol.asyncDispose]: async () => Promise.resolve(),
    };
  };
  const set = new PackedShards(built.table, openPack);
  return { ...built, set, left, opened: () => opened };
}

/** All bytes of what can be opened. */
export async function readAll(content: { open(): Promise<OpenedBytes> }): Promise<Buffer> {
  await using opened = await content.open();
  const bytes = Buffer.alloc(opened.size);
  const half = opened.size >> 1;
  await opened.read(bytes.subarray(half), half);
  await opened.read(bytes.subarray(0, half), 0);
  return bytes;
}

/** Shards and index as they are made of a text that is all in memory. */
export async function shardsOfWhole(text: Uint8Array, subdir: string, info: object = {}) {
  const shards = new Map<string, Uint8Array>();
  for (const { name, content } of splitRepodata(text)) shards.set(name, await writeShard(content));
  const index = await writeShardIndex({
    info: {
      ...info,
      subdir,
      base_url: '',
      shards_base_url: './shards/',
      created_at: CREATED_AT.toISOString(),
    },
    shards: new Map([...shards].map(([name, bytes]) => [name, digestOf(bytes)])),
  });
  return { shards, index };
}
