import { describe, expect, test } from 'vitest';
import type { HttpClientOptions } from '#ferry/http/client.js';
import type { HostProfile } from '#ferry/registry/host-profile.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { rejection } from '../contracts/artifacts.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { openTestClient } from '../support/http.js';
import { startScriptedServer } from '../support/scripted-server.js';

const NAME = 'org/channel/noarch/tool';
const START = `POST /v2/${NAME}/blobs/uploads/`;

function clientOf(
  host: string,
  profile: Partial<HostProfile> = {},
  options: Partial<HttpClientOptions> = {},
): RegistryClient {
  const client = openTestClient(options);
  return new RegistryClient({ host, send: client.send, profile, ...client.retry });
}

async function refusal(
  options: RegistryDoubleOptions,
  profile: Partial<HostProfile> = {},
  client: Partial<HttpClientOptions> = {},
): Promise<{ readonly error: unknown; readonly double: RegistryDouble }> {
  const double = await useRegistryDouble(options);
  const error = await rejection(clientOf(double.host, profile, client).repository(NAME).checkPush());
  expect(double.openUploads).toBe(0);
  return { error, double };
}

describe('checkPush', () => {
  test('takes two requests, and leaves no session', async () => {
    const double = await useRegistryDouble();
    await clientOf(double.host).repository(NAME).checkPush();
    expect(double.requests.map(({ method }) => method)).toEqual(['POST', 'DELETE']);
    expect(double.openUploads).toBe(0);
    expect(double.repositories.get(NAME)?.blobs.size ?? 0).toBe(0);
  });

  test('a registry that only reads: one request', async () => {
    const { error, double } = await refusal({ readOnly: true });
    expect(error).toMatchObject({ code: 'UNSUPPORTED', status: 405 });
    expect(double.lines).toEqual([START]);
  });

  test('nobody is logged in', async () => {
    const { error } = await refusal({ auth: { kind: 'basic', username: 'me', password: 'secret' } });
    expect(error).toMatchObject({
      code: 'UNAUTHORIZED',
      hint: expect.stringMatching(/^log in with /) as string,
    });
  });

  test.each<HostProfile['createsRepositories']>([false, 'prefix'])(
    'rights are missing where repositories have to be made (%s): the hint is to log in',
    async (createsRepositories) => {
      const auth = { kind: 'basic', username: 'me', password: 'secret' } as const;
      const { error } = await refusal({ auth }, { createsRepositories });
      expect(error).toMatchObject({ hint: expect.stringMatching(/^log in with /) as string });
    },
  );

  test('who may only read', async () => {
    const user = { username: 'reader', password: 'secret', rights: { '': ['pull'] } } as const;
    const { error } = await refusal(
      { auth: { kind: 'token', users: [user] } },
      {},
      { findCredential: () => Promise.resolve({ kind: 'basic', ...user }) },
    );
    expect(['UNAUTHORIZED', 'DENIED']).toContain((error as { code: string }).code);
  });

  test('a registry that is known to take shorter paths is not asked', async () => {
    const { error, double } = await refusal({ maxPathDepth: 2 }, { maxPathDepth: 2 });
    expect(error).toMatchObject({
      code: 'NAME_UNREPRESENTABLE',
      message: `\`${NAME}\` has 4 components, and \`${double.host}\` takes 2`,
    });
    expect(double.lines).toEqual([]);
  });

  test('a path as long as the registry takes is let through', async () => {
    const double = await useRegistryDouble({ maxPathDepth: 4 });
    await clientOf(double.host, { maxPathDepth: 4 }).repository(NAME).checkPush();
  });

  test.each<[HostProfile['createsRepositories'], RegExp]>([
    [false, /does not make repositories by itself: make `org\/channel\/noarch\/tool` and its like before$/],
    ['prefix', /^what `org\/channel\/noarch\/tool` is to lie in has to be made on /],
    [true, /does not make repositories by itself/],
  ])('a registry that makes no repositories (%s) says what to do', async (createsRepositories, hint) => {
    const { error } = await refusal({ createRepositories: false }, { createsRepositories });
    expect(error).toMatchObject({ code: 'NOT_FOUND', hint: expect.stringMatching(hint) as string });
  });

  test('a session that cannot be given up is forgotten', async () => {
    const server = await startScriptedServer(
      [START, { status: 202, headers: { location: '/session?_state=x' } }],
      ['DELETE /session?_state=x', { status: 405 }],
    );
    await clientOf(server.host).repository(NAME).checkPush();
    expect(server.lines).toHaveLength(2);
  });

  test('a session on another host is given up without credentials', async () => {
    const other = await startScriptedServer(['DELETE /session', { status: 204 }]);
    const server = await startScriptedServer(
      [START, { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }],
      [START, { status: 202, headers: { location: `${other.origin}/session` } }],
    );
    const findCredential = () =>
      Promise.resolve({ kind: 'basic', username: 'me', password: 'secret' } as const);
    await clientOf(server.host, {}, { findCredential }).repository(NAME).checkPush();
    expect(other.lines).toEqual(['DELETE /session']);
    expect(other.requests[0]?.headers.authorization).toBeUndefined();
  });

  test('no place for the upload is no reason to stop', async () => {
    const server = await startScriptedServer([START, { status: 202 }]);
    await clientOf(server.host).repository(NAME).checkPush();
  });

  test('an abort comes through, and the session is given up', async () => {
    const double = await useRegistryDouble();
    const controller = new AbortController();
    const reason = new Error('stop');
    double.schedule = ({ method }) => {
      if (method === 'DELETE') controller.abort(reason);
      return undefined;
    };
    const checking = clientOf(double.host).repository(NAME).checkPush({ signal: controller.signal });
    expect(await rejection(checking)).toBe(reason);
    expect(double.openUploads).toBe(0);
  });
});
