import { describe, expect, test } from 'vitest';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { answerNoteOf } from '#ferry/serve/listen/answer-note.js';
import { cp, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { layoutStore, mirrorFolder } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { openGateway } from './open-gateway.js';

const ARCHIVE = '/c/noarch/ferry-tool-2.1.0-py_0.conda';

describe('an answer is noted', () => {
  test.each([
    ['/c/noarch/repodata.json', 'repodata'],
    [ARCHIVE, 'archive'],
    ['/v2/', 'registry'],
    ['/token', 'registry'],
    ['/healthz', 'health'],
    ['/', 'page'],
    ['/nothing/is/here', 'other'],
  ])('%s as %s, whatever the method', async (path, route) => {
    const { get } = await openGateway({ channels: { c: FIXTURE_CHANNEL } });
    for (const method of ['GET', 'HEAD']) {
      const response = await get(path, {}, method);
      expect(answerNoteOf(response)?.route).toBe(route);
      await response.arrayBuffer();
    }
  });

  test('with what the cache had to do with it', async () => {
    const folder = join(await tempFolder(), 'channel');
    await cp(FIXTURE_CHANNEL, folder, { recursive: true });
    const mirror = layoutStore(join(await tempFolder(), 'store'));
    await mirrorFolder(FIXTURE_CHANNEL, mirror);
    let now = Date.now();
    const { get } = await openGateway({
      channels: { c: () => new DirectoryChannel(folder), layout: () => new OciChannel(mirror.store) },
      now: () => now,
    });
    const cacheOf = async (path: string): Promise<string | undefined> => {
      const response = await get(path);
      expect(response.status).toBe(200);
      await response.arrayBuffer();
      return answerNoteOf(response)?.cache;
    };
    expect(await cacheOf('/c/noarch/repodata.json')).toBe('none');
    expect(await cacheOf(ARCHIVE.replace('/c/', '/layout/'))).toBe('none');
    expect(await cacheOf('/c/noarch/repodata.json')).toBe('none');
    expect(['miss', 'hit']).toContain(await cacheOf(ARCHIVE));
    expect(await cacheOf(ARCHIVE)).toBe('hit');
    await rename(folder, `${folder}.away`);
    now += 60_000;
    expect(await cacheOf('/c/noarch/repodata.json')).toBe('stale');
  });
});
