import { mkdir, open } from 'node:fs/promises';
import type { TempFolder } from '../../io/temp-folder.js';
import { Turns } from '../../io/turns.js';
import type { HeldShards, MakeShards } from '../channels/subdir-generation.js';
import { HeldHandle } from '../held-file.js';
import { buildShards } from './build-shards.js';
import { PackedShards } from './packed-shards.js';

/** Makes shards, one subdir after the other: each takes a processor and some memory for seconds. */
export function createShardMaker(temp: TempFolder, signal: AbortSignal): MakeShards {
  const turns = new Turns();
  return async ({ open: openText, size, subdir, modified }) =>
    turns.run('', async () => {
      // Somebody may have cleaned up.
      await mkdir(temp.path, { recursive: true });
      const options = { open: openText, size, subdir, folder: temp.path, createdAt: modified, signal };
      const { path, table } = await buildShards(options);
      const handle = await HeldHandle.adopt(await open(path, 'r'), path);
      return new HeldPack(table, handle);
    });
}

/** Shards that keep their pack open. */
class HeldPack extends PackedShards implements HeldShards {
  readonly #handle: HeldHandle;

  constructor(table: ConstructorParameters<typeof PackedShards>[0], handle: HeldHandle) {
    super(table, async () => Promise.resolve(handle.open(Number.MAX_SAFE_INTEGER)));
    this.#handle = handle;
  }

  async release(): Promise<void> {
    await this.#handle.release();
  }
}
