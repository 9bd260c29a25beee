import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { testCertificates, type TestCertificates } from '../support/double/certificates.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import type { ServerTls } from '../support/double/loopback-server.js';
import { startTlsRegistry } from '../support/registries/docker.js';
import { authFileOf, DOCKER_FILE, testHome, type TestHome } from '../support/home.js';

let certificates: TestCertificates;
let home: TestHome;

beforeAll(async () => {
  certificates = await testCertificates();
});

beforeEach(async () => {
  home = await testHome();
});

const fileOf = (name: string): string => join(certificates.folder, name);
const mirror = (host: string, ...flags: string[]) => [
  ...['mirror', FIXTURE_CHANNEL, `oci://${host}/ch`, '--subdir', 'noarch', '--quiet', '--no-plain-http'],
  ...flags,
];
const list = (host: string, ...flags: string[]) => [
  ...['list', `oci://${host}/ch`, '--subdir', 'noarch', '--no-plain-http'],
  ...flags,
];

async function startTls(tls: ServerTls = certificates.server): Promise<string> {
  const auth = { kind: 'basic', username: 'me', password: 's3cret' } as const;
  const { host } = await useRegistryDouble({ tls, auth });
  await home.write(DOCKER_FILE, authFileOf({ [host]: ['me', 's3cret'] }));
  return host;
}

test('--ca-file makes a registry of an own authority trusted, from login to pull', async () => {
  const host = await startTls();
  const flags = ['--ca-file', fileOf('ca.crt')];
  const login = ['login', host, '--username', 'me', '--password-stdin', '--no-plain-http', ...flags];
  expect(await home.run(login, { input: 's3cret' })).toMatchObject({ code: 0, stderr: '' });
  expect(await home.run(mirror(host, ...flags))).toMatchObject({ code: 0, stderr: '' });
  expect(await home.run(list(host, ...flags))).toMatchObject({ code: 0, stderr: '' });
  const source = `oci://${host}/ch`;
  const back = ['mirror', source, 'oci-layout:./out', '--no-plain-http', '--quiet', ...flags];
  expect(await home.run(back)).toMatchObject({ code: 0, stderr: '' });
});

test.each([
  ['an authority that nobody knows', () => certificates.server, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ['a certificate that it signed itself', () => certificates.selfSigned, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
])('a registry with %s is not trusted, and the way out is said', async (_, tls, code) => {
  const host = await startTls(tls());
  const result = await home.run(list(host));
  expect(result.code).toBe(3);
  expect(result.stderr).toContain(`(${code}) [NETWORK]`);
  expect(result.stderr).toContain(
    `hint: if you trust the authority of ${host}, pass its certificate with --ca-file\n`,
  );
});

test('the certificate of another authority does not help', async () => {
  const host = await startTls();
  expect((await home.run(list(host, '--ca-file', fileOf('selfsigned.crt')))).code).toBe(3);
});

test('--insecure trusts anybody, and says so once', async () => {
  const host = await startTls(certificates.selfSigned);
  expect(await home.run(mirror(host, '--insecure'))).toMatchObject({ code: 0, stderr: '' });
  const { code, stderr } = await home.run(list(host, '--insecure'));
  expect([code, stderr]).toEqual([0, `warning: ${host} is not checked to be who it says (--insecure)\n`]);
});

test('--insecure is for the destination, not for a source beside it', async () => {
  const host = await startTls();
  expect((await home.run(mirror(host, '--insecure'))).code).toBe(0);
  const args = ['mirror', `oci://${host}/ch`, 'oci-layout:./out', '--no-plain-http', '--insecure', '--quiet'];
  const { code, stderr } = await home.run(args);
  expect(code).toBe(3);
  expect(stderr).toContain('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
});

test('a client certificate opens what demands one', async () => {
  const host = await startTls({ ...certificates.server, clientCa: certificates.ca });
  const ca = ['--ca-file', fileOf('ca.crt')];
  const pair = ['--cert-file', fileOf('client.crt'), '--key-file', fileOf('client.key')];
  expect(await home.run(mirror(host, ...ca, ...pair))).toMatchObject({ code: 0, stderr: '' });
});

test('certs.d in HOME says whom to trust and who one is, without flags', async () => {
  const host = await startTls({ ...certificates.server, clientCa: certificates.ca });
  const folder = home.file(`.config/containers/certs.d/${host}`);
  await mkdir(folder, { recursive: true });
  await copyFile(fileOf('ca.crt'), join(folder, 'ca.crt'));
  await copyFile(fileOf('client.crt'), join(folder, 'me.cert'));
  const { code, stderr } = await home.run(list(host));
  expect(code).toBe(3);
  expect(stderr).toContain(`\`${join(folder, 'me.cert')}\` has no \`me.key\` beside it`);
  await copyFile(fileOf('client.key'), join(folder, 'me.key'));
  expect(await home.run(mirror(host))).toMatchObject({ code: 0, stderr: '' });
  const source = ['mirror', `oci://${host}/ch`, 'oci-layout:./out', '--no-plain-http', '--quiet'];
  expect(await home.run(source)).toMatchObject({ code: 0, stderr: '' });
});

test('a certificate file that is none, or is not there, is an error before anything is asked', async () => {
  const host = await startTls();
  const text = await home.write('text.crt', 'no certificate');
  for (const flags of [
    ['--ca-file', text],
    ['--ca-file', home.file('absent.crt')],
    ['--cert-file', text, '--key-file', fileOf('client.key')],
    ['--key-file', fileOf('server.key'), '--cert-file', fileOf('client.crt')],
  ]) {
    const { code, stderr } = await home.run(list(host, ...flags));
    expect(stderr).toContain('[CREDENTIALS_UNREADABLE]');
    expect(stderr).toContain(`\`${flags[1] ?? ''}\``);
    expect(code).toBe(3);
  }
});

test('speaking the wrong language is told in both directions', async () => {
  await using registry = await startTlsRegistry();
  const plain = await useRegistryDouble();
  const tooMuch = await home.run(list(plain.host));
  expect(tooMuch.code).toBe(3);
  expect(tooMuch.stderr).toContain('the server speaks no TLS there');
  expect(tooMuch.stderr).toContain('hint: if the server speaks plain HTTP, pass --plain-http\n');
  const tooLittle = await home.run(['list', `oci://${registry.host}/ch`]);
  expect(tooLittle.code).toBe(3);
  expect(tooLittle.stderr).toContain(
    'hint: the server speaks TLS: leave out --plain-http, or pass --no-plain-http',
  );
});
