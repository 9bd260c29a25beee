import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { expect, test } from 'vitest';
import { readCertsFolder, tlsConnectOptions, type TlsSettings } from '#ferry/http/tls.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf, get, openTestClient } from '../support/http.js';
import { tempFolder } from '../support/temp.js';
import { createAuthority, startTlsServer } from '../support/tls.js';

const settingsOf =
  (table: Readonly<Record<string, TlsSettings>>) =>
  (origin: string): TlsSettings | undefined =>
    table[origin];

test('an unknown authority is refused at once, with what may help', async () => {
  const server = await startTlsServer((await createAuthority()).issue('server'));
  const client = openTestClient();
  const error = await rejection(get(client.send, new URL(`${server.origin}/?sig=canary`)));
  expect(error).toMatchObject({
    code: 'NETWORK',
    attempts: 1,
    hint: expect.stringContaining('--ca-file') as string,
  });
  expect(everythingOf(error)).not.toContain('canary');
  expect(client.pausesMs).toEqual([]);
  expect(server.requests).toEqual([]);
});

test('an authority that is given is trusted, for its origin only', async () => {
  const authority = await createAuthority();
  const server = await startTlsServer(authority.issue('server'));
  const other = await startTlsServer(authority.issue('other'));
  const { send } = openTestClient({
    findTlsSettings: settingsOf({ [server.origin]: { ca: [authority.ca] } }),
  });
  expect(await get(send, new URL(server.origin))).toBe('secure');
  expect(await rejection(get(send, new URL(other.origin)))).toMatchObject({ code: 'NETWORK' });
});

test('another authority of the same name is not trusted', async () => {
  const server = await startTlsServer((await createAuthority()).issue('server'));
  const { ca } = await createAuthority();
  const { send } = openTestClient({ findTlsSettings: () => ({ ca: [ca] }) });
  expect(await rejection(get(send, new URL(server.origin)))).toMatchObject({ code: 'NETWORK', attempts: 1 });
});

test('whoever wants to trust anybody can', async () => {
  const server = await startTlsServer((await createAuthority()).issue('server'));
  const { send } = openTestClient({ findTlsSettings: () => ({ insecure: true }) });
  expect(await get(send, new URL(server.origin))).toBe('secure');
});

test('GHSA-h3wm-jjqf-8jm2: a client certificate is shown to its origin, and not where a redirect leads', async () => {
  const authority = await createAuthority();
  const registry = await startTlsServer(authority.issue('registry'));
  const attacker = await startTlsServer(authority.issue('attacker'));
  registry.redirectTo(`${attacker.origin}/there`);
  const client = authority.issue('canary');
  const { send } = openTestClient({
    findTlsSettings: (origin) => ({
      ca: [authority.ca],
      client: origin === registry.origin ? client : undefined,
    }),
  });
  expect(await get(send, new URL(registry.origin))).toBe('secure');
  expect(registry.requests.map(({ peer }) => peer)).toEqual(['canary']);
  expect(attacker.requests.map(({ peer }) => peer)).toEqual([undefined]);
});

test('where another origin sends us no certificate is shown, not even one for that place, nor on the way back', async () => {
  const authority = await createAuthority();
  const first = await startTlsServer(authority.issue('first'));
  const second = await startTlsServer(authority.issue('second'));
  const client = authority.issue('canary');
  const { send } = openTestClient({ findTlsSettings: () => ({ ca: [authority.ca], client }) });
  await get(send, new URL(`${second.origin}/own`));
  first.redirectTo(`${second.origin}/`);
  second.redirectTo(`${first.origin}/back`);
  expect(await get(send, new URL(first.origin))).toBe('secure');
  expect(first.requests.map(({ line, peer }) => [line, peer])).toEqual([
    ['GET /', 'canary'],
    ['GET /back', undefined],
  ]);
  expect(second.requests.map(({ line, peer }) => [line, peer])).toEqual([
    ['GET /own', 'canary'],
    ['GET /', undefined],
  ]);
});

test('authorities are added to the usual ones', () => {
  expect(tlsConnectOptions(undefined)).toEqual({});
  expect(tlsConnectOptions({})).toEqual({});
  expect(tlsConnectOptions({ ca: ['mine'] }).ca).toEqual([...rootCertificates, 'mine']);
  expect(tlsConnectOptions({ client: { cert: 'c', key: 'k' }, insecure: true })).toEqual({
    cert: 'c',
    key: 'k',
    rejectUnauthorized: false,
  });
  expect(tlsConnectOptions({ insecure: false })).toEqual({});
});

async function certsFolder(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await tempFolder();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

test('certs.d: authorities and one client certificate by host and port, the first folder that knows the host', async () => {
  const user = await certsFolder({
    'r.example:5000/ca.crt': 'A',
    'r.example:5000/more.crt': 'B',
    'r.example:5000/client.cert': 'C',
    'r.example:5000/client.key': 'K',
    'r.example:5000/notes.txt': 'x',
  });
  const system = await certsFolder({
    'r.example:5000/ca.crt': 'other',
    's.example/ca.crt': 'S',
    'empty/x': '',
  });
  const folders = [join(user, 'absent'), user, system];
  expect(readCertsFolder(folders, 'r.example:5000')).toEqual({
    ca: ['A', 'B'],
    client: { cert: 'C', key: 'K' },
  });
  expect(readCertsFolder(folders, 's.example')).toEqual({ ca: ['S'] });
  expect(readCertsFolder(folders, 'empty')).toEqual({ ca: [] });
  expect(readCertsFolder(folders, 'r.example')).toBeUndefined();
  expect(readCertsFolder([join(user, 'r.example:5000', 'ca.crt')], 'r.example')).toBeUndefined();
});

test('certs.d: a certificate without its key, or a file that cannot be read, is said', async () => {
  const folder = await certsFolder({ 'a/client.cert': 'C', 'a/other.key': 'K', 'b/ca.crt/x': '' });
  for (const host of ['a', 'b']) {
    expect(() => readCertsFolder([folder], host)).toThrow(
      expect.objectContaining({ code: 'CREDENTIALS_UNREADABLE' }) as Error,
    );
  }
});
