import { beforeEach, expect, test } from 'vitest';
import { testCertificates } from '../support/double/certificates.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { testHome, type TestHome } from '../support/home.js';
import { startProxy } from '../support/proxy.js';

let home: TestHome;

beforeEach(async () => {
  home = await testHome();
});

const portOf = (host: string): number => Number(host.split(':')[1]);
const list = (host: string, ...flags: string[]) => [
  'list',
  `oci://${host}/ch`,
  '--subdir',
  'noarch',
  ...flags,
];

test.each(['http_proxy', 'HTTP_PROXY', 'all_proxy'])('plain HTTP goes by %s', async (name) => {
  const double = await useRegistryDouble();
  const proxy = await startProxy({ port: portOf(double.host) });
  const env = { [name]: `http://user:s3cret@${proxy.host}` };
  const { stderr } = await home.run(list('registry.invalid', '--plain-http'), { env });
  expect(stderr).toContain('[CHANNEL_NOT_FOUND]');
  expect(stderr).not.toContain('s3cret');
  expect(proxy.lines[0]).toMatch(/^(?:GET|HEAD) http:\/\/registry\.invalid\/v2\//);
  const authorizations = proxy.requests.map(({ headers }) => headers['proxy-authorization']);
  expect(new Set(authorizations)).toEqual(new Set([`Basic ${btoa('user:s3cret')}`]));
  expect(double.requests.length).toBe(proxy.lines.length);
  for (const { headers } of double.requests) expect(headers).not.toHaveProperty('authorization');
});

test.each(['https_proxy', 'HTTPS_PROXY'])(
  'TLS goes by %s, through which the certificate is checked',
  async (name) => {
    const { server, folder } = await testCertificates();
    const { host } = await useRegistryDouble({ tls: server });
    const proxy = await startProxy({ port: portOf(host) });
    const env = { [name]: `http://${proxy.host}` };
    const ca = ['--ca-file', `${folder}/ca.crt`];
    const trusted = await home.run(list('registry.invalid', ...ca, '--insecure'), { env });
    expect(trusted.stderr).toContain('[CHANNEL_NOT_FOUND]');
    expect(new Set(proxy.lines)).toEqual(new Set(['CONNECT registry.invalid:443']));
    const otherName = await home.run(list('registry.invalid', ...ca), { env });
    expect(otherName.stderr).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
  },
);

test('hosts of no_proxy are reached directly, and so are loopback hosts without it', async () => {
  const double = await useRegistryDouble();
  const proxy = await startProxy({ port: portOf(double.host) });
  const url = `http://${proxy.host}`;
  const env = { http_proxy: url, https_proxy: url };
  expect((await home.run(list(double.host), { env })).stderr).toContain('[CHANNEL_NOT_FOUND]');
  expect(double.requests.length).toBeGreaterThan(0);
  const direct = await home.run(list('registry.invalid', '--plain-http'), {
    env: { ...env, no_proxy: 'other.example,.invalid' },
  });
  expect(direct.code).toBe(3);
  expect(direct.stderr).toContain('[NETWORK]');
  expect(proxy.lines).toEqual([]);
});
