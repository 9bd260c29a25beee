import { expect, test, vi } from 'vitest';
import { withChannelAuthorization } from '#ferry/http/channel-authorization.js';
import type { ChannelCredential, FindChannelCredential } from '#ferry/http/credentials/channel-credential.js';
import type { HttpRequest, Send } from '#ferry/http/send.js';
import { rejection } from '../contracts/artifacts.js';
import { answerOf, get, openTestClient } from '../support/http.js';
import { startScriptedServer } from '../support/scripted-server.js';

const URL_OF_CHANNEL = new URL('https://conda.example/private/noarch/repodata.json');

/** Sends to nobody and keeps what would have gone out. */
function recorder(): { readonly send: Send; readonly sent: HttpRequest[] } {
  const sent: HttpRequest[] = [];
  return {
    sent,
    send: (request) => {
      sent.push(request);
      return Promise.resolve(answerOf(200));
    },
  };
}

async function authorized(
  credential: ChannelCredential | undefined,
  more: Partial<HttpRequest> = {},
): Promise<HttpRequest> {
  const { send, sent } = recorder();
  await withChannelAuthorization(send, () => Promise.resolve(credential))({
    method: 'GET',
    url: URL_OF_CHANNEL,
    headers: { accept: 'text/plain' },
    ...more,
  });
  return sent[0]!;
}

test('user name and password go as Basic, with what was there', async () => {
  const request = await authorized({ kind: 'basic', username: 'me', password: 'a:b' });
  expect(request.headers).toEqual({
    accept: 'text/plain',
    authorization: `Basic ${Buffer.from('me:a:b').toString('base64')}`,
  });
  expect(request.identity).toBe('me');
  expect(request.url.href).toBe(URL_OF_CHANNEL.href);
});

test('a bearer token goes as it is', async () => {
  const request = await authorized({ kind: 'bearer', token: 'a-token' });
  expect(request.headers?.['authorization']).toBe('Bearer a-token');
  expect(request.identity).not.toContain('a-token');
});

test('a token of conda goes into the path, once', async () => {
  const token = { kind: 'conda-token', token: 'tk-1' } as const;
  const request = await authorized(token);
  expect(request.url.pathname).toBe('/t/tk-1/private/noarch/repodata.json');
  expect(request.headers).toEqual({ accept: 'text/plain' });
  expect((await authorized(token, { url: request.url })).url.href).toBe(request.url.href);
});

test.each([undefined, { kind: 'refresh', token: 'for-registries' } as const])(
  '%j leaves the request as it is',
  async (credential) => {
    const request = await authorized(credential);
    expect(request).toEqual({ method: 'GET', url: URL_OF_CHANNEL, headers: { accept: 'text/plain' } });
  },
);

test('what another server chose gets nothing, and nobody looks for anything', async () => {
  const { send, sent } = recorder();
  const find = vi.fn<FindChannelCredential>();
  const request: HttpRequest = {
    method: 'GET',
    url: URL_OF_CHANNEL,
    givenBy: new URL('https://other.example/'),
  };
  await withChannelAuthorization(send, find)(request);
  expect(sent).toEqual([request]);
  expect(find).not.toHaveBeenCalled();
});

test('each origin is asked for by itself, once', async () => {
  const { send, sent } = recorder();
  const find = vi.fn<FindChannelCredential>((url) =>
    Promise.resolve(
      url.host === 'conda.example' ? { kind: 'basic', username: 'me', password: 'p' } : undefined,
    ),
  );
  const authorizing = withChannelAuthorization(send, find);
  const other = new URL('http://conda.example:8080/x');
  await Promise.all(
    [URL_OF_CHANNEL, other, URL_OF_CHANNEL, other].map((url) => authorizing({ method: 'GET', url })),
  );
  expect(find).toHaveBeenCalledTimes(2);
  expect(sent.filter(({ headers }) => headers?.['authorization'] !== undefined)).toHaveLength(2);
});

test('a failure is not kept', async () => {
  const { send, sent } = recorder();
  const find = vi
    .fn<FindChannelCredential>()
    .mockRejectedValueOnce(new Error('unreadable'))
    .mockResolvedValue({ kind: 'bearer', token: 'now' });
  const authorizing = withChannelAuthorization(send, find);
  expect(await rejection(authorizing({ method: 'GET', url: URL_OF_CHANNEL }))).toMatchObject({
    message: 'unreadable',
  });
  await authorizing({ method: 'GET', url: URL_OF_CHANNEL });
  expect(sent.map(({ headers }) => headers?.['authorization'])).toEqual(['Bearer now']);
});

test('a look-up that one caller gives up fails nobody else', async () => {
  const { send, sent } = recorder();
  const find: FindChannelCredential = (_, signal) =>
    signal === undefined
      ? Promise.resolve({ kind: 'bearer', token: 'found' })
      : new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
        });
  const authorizing = withChannelAuthorization(send, find);
  const controller = new AbortController();
  const first = authorizing({ method: 'GET', url: URL_OF_CHANNEL, signal: controller.signal });
  const second = authorizing({ method: 'GET', url: URL_OF_CHANNEL });
  controller.abort(new Error('gone'));
  expect(await rejection(first)).toMatchObject({ message: 'gone' });
  await second;
  expect(sent).toHaveLength(1);
});

test('a redirect to another origin takes nothing along, and within the origin all', async () => {
  const other = await startScriptedServer(['GET /elsewhere', { body: 'there' }]);
  const server = await startScriptedServer(
    ['GET /a', { status: 302, headers: { location: '/b' } }],
    ['GET /b', { status: 302, headers: { location: `${other.origin}/elsewhere` } }],
  );
  const { send } = openTestClient({
    findChannelCredential: () => Promise.resolve({ kind: 'basic', username: 'me', password: 'p' }),
  });
  expect(await get(send, server.url('/a'))).toBe('there');
  const authorizations = [...server.requests, ...other.requests].map(({ headers }) => headers.authorization);
  expect(authorizations).toEqual(['Basic bWU6cA==', 'Basic bWU6cA==', undefined]);
});
