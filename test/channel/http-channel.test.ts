import type { OutgoingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import type { MetadataAnswer } from '#ferry/conda/channel-source.js';
import { readAll, rejection } from '../contracts/artifacts.js';
import { everythingOf, openTestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

async function sceneOf(
  path: string,
  ...rows: Row[]
): Promise<{ readonly server: ScriptedServer; readonly channel: HttpChannel }> {
  const server = await startScriptedServer(...rows);
  const { send, retry } = openTestClient();
  return { server, channel: new HttpChannel(server.url(path), send, retry) };
}

async function textOf(answer: MetadataAnswer): Promise<string> {
  return answer.status === 'found' ? (await readAll(answer.body)).toString() : answer.status;
}

const archive = { subdir: 'noarch', filename: 'x-1-0.conda' };

test('its URL is durable: without secrets, without a slash at the end', () => {
  const { send } = openTestClient();
  expect(new HttpChannel(new URL('https://h/conda-forge//'), send).url).toBe('https://h/conda-forge');
  const secret = new HttpChannel(new URL('https://user:secret@h/t/secret/conda-forge/'), send).url;
  expect(secret).toBe('https://***:***@h/t/***/conda-forge');
});

test('it cannot list subdirs', async () => {
  const { channel } = await sceneOf('/c');
  await expect(channel.subdirs()).resolves.toBeUndefined();
});

describe('openMetadata', () => {
  test('reads a file below the channel, with its validators', async () => {
    const { channel } = await sceneOf('/some/c', [
      'GET /some/c/noarch/repodata.json',
      { headers: { etag: '"1"', 'last-modified': 'Sat, 21 Nov 2026 08:00:00 GMT' }, body: '{}' },
    ]);
    const answer = await channel.openMetadata('noarch/repodata.json');
    expect(answer).toMatchObject({
      status: 'found',
      validators: { etag: '"1"', lastModified: 'Sat, 21 Nov 2026 08:00:00 GMT' },
    });
    expect(await textOf(answer)).toBe('{}');
  });

  test('asks whether the file changed, with what is known of it', async () => {
    const path = 'GET /c/noarch/repodata.json';
    const { server, channel } = await sceneOf(
      '/c',
      [path, { status: 304 }],
      [path, { status: 304 }],
      [path, {}],
    );
    const validators = [{ etag: '"1"', lastModified: 'then' }, { lastModified: 'then' }, {}];
    for (const unless of validators)
      await textOf(await channel.openMetadata('noarch/repodata.json', { unless }));
    expect(
      server.requests.map(({ headers }) => [headers['if-none-match'], headers['if-modified-since']]),
    ).toEqual([
      ['"1"', 'then'],
      [undefined, 'then'],
      [undefined, undefined],
    ]);
  });

  test.each([404, 410])('a %i is an absence', async (status) => {
    const { channel } = await sceneOf('/c', ['GET /c/x', { status }]);
    expect(await channel.openMetadata('x')).toEqual({ status: 'absent' });
  });

  test.each([401, 403, 500, 206])('a %i is an error, not an absence', async (status) => {
    const rows = Array.from({ length: 8 }, (): Row => ['GET /t/secret/c/x', { status }]);
    const { channel } = await sceneOf('/t/secret/c', ...rows);
    const error = await rejection(channel.openMetadata('x'));
    expect(error).toMatchObject({ status });
    expect(everythingOf(error)).not.toContain('secret');
  });

  describe('that breaks off', () => {
    const ETAG = '"1"';
    const half: Answer = { headers: { etag: ETAG }, body: '0123456789', fault: 'truncated' };
    const rest: Answer = {
      status: 206,
      headers: { etag: ETAG, 'content-range': 'bytes 5-9/10' },
      body: '56789',
    };

    test('is gone on with, on condition that it is still the same', async () => {
      const { server, channel } = await sceneOf('/c', ['GET /c/x', half], ['GET /c/x', rest]);
      expect(await textOf(await channel.openMetadata('x', { unless: { etag: '"0"' } }))).toBe('0123456789');
      const [first, second] = server.requests.map(({ headers }) => headers);
      expect(first).toMatchObject({ 'if-none-match': '"0"' });
      expect(second).toMatchObject({ range: 'bytes=5-', 'if-range': ETAG });
      expect(second).not.toHaveProperty('if-none-match');
    });

    test('and changed in the meantime is an error, not a mixture of both', async () => {
      const changed: Answer = { headers: { etag: '"2"' }, body: 'abcdefghij' };
      const { server, channel } = await sceneOf('/c', ['GET /c/x', half], ['GET /c/x', changed]);
      const error = await rejection(textOf(await channel.openMetadata('x')));
      expect(error).toMatchObject({ code: 'NETWORK' });
      expect(server.lines).toHaveLength(2);
    });

    test('and is gone in the meantime is an error', async () => {
      const { channel } = await sceneOf('/c', ['GET /c/x', half], ['GET /c/x', { status: 404 }]);
      const error = await rejection(textOf(await channel.openMetadata('x')));
      expect(error).toMatchObject({ code: 'NOT_FOUND' });
    });

    test.each<[string, OutgoingHttpHeaders]>([
      ['without a tag', {}],
      ['with a weak tag', { etag: 'W/"1"' }],
    ])('%s fails its reader: nothing tells what a later piece belongs to', async (_, headers) => {
      const { server, channel } = await sceneOf('/c', ['GET /c/x', { ...half, headers }]);
      expect(await rejection(textOf(await channel.openMetadata('x')))).toMatchObject({ code: 'NETWORK' });
      expect(server.lines).toHaveLength(1);
    });

    test('without end is left after eight times', async () => {
      const rows = Array.from({ length: 20 }, (): Row => ['GET /c/x', { fault: 'reset' }]);
      const { server, channel } = await sceneOf('/c', ['GET /c/x', half], ...rows);
      expect(await rejection(textOf(await channel.openMetadata('x')))).toMatchObject({ code: 'NETWORK' });
      expect(server.lines).toHaveLength(9);
    });
  });

  test('an abort rejects with the reason given', async () => {
    const reason = new Error('enough');
    const { channel } = await sceneOf('/c');
    expect(await rejection(channel.openMetadata('x', { signal: AbortSignal.abort(reason) }))).toBe(reason);
  });
});

describe('openArchive', () => {
  test.each([
    ['beside the repodata', 'x-1!2-0+a.conda', undefined, '/c/noarch/x-1!2-0%2Ba.conda'],
    ['whatever its name', '../a?b#c.conda', undefined, '/c/noarch/..%2Fa%3Fb%23c.conda'],
    ['at a relative url', 'x-1-0.conda', '../pool/x.conda?v=1', '/c/pool/x.conda?v=1'],
    ['at a url with a path', 'x-1-0.conda', '/pool/x.conda', '/pool/x.conda'],
  ])('finds an archive %s', async (_, filename, url, path) => {
    const { channel } = await sceneOf('/c', [`GET ${path}`, { body: 'archive' }]);
    expect((await readAll(channel.openArchive({ subdir: 'noarch', filename, url }))).toString()).toBe(
      'archive',
    );
  });

  test('finds an archive on another host, which learns nothing of this one', async () => {
    const other = await startScriptedServer(['GET /x.conda', { body: 'archive' }]);
    const { server, channel } = await sceneOf('/t/secret/c');
    await readAll(channel.openArchive({ ...archive, url: other.url('/x.conda').href }));
    expect(server.lines).toEqual([]);
    expect(JSON.stringify(other.requests[0]?.headers)).not.toContain('secret');
  });

  test.each(['file:///etc/passwd', 'ftp://h/x', 'http://['])('refuses the url %s', async (url) => {
    const { channel } = await sceneOf('/c');
    expect(await rejection(readAll(channel.openArchive({ ...archive, url })))).toMatchObject({
      code: 'REGISTRY_REFUSED',
    });
  });

  test('does not leave https for http', async () => {
    const channel = new HttpChannel(new URL('https://127.0.0.1:1/c'), openTestClient().send);
    const reading = readAll(channel.openArchive({ ...archive, url: 'http://127.0.0.1:1/x.conda' }));
    expect(await rejection(reading)).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });

  test.each([404, 410])('a %i says that the source does not have it', async (status) => {
    const { channel } = await sceneOf('/c', ['GET /c/noarch/x-1-0.conda', { status }]);
    expect(await rejection(readAll(channel.openArchive(archive)))).toMatchObject({ code: 'ARCHIVE_ABSENT' });
  });
});
