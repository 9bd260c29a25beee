import { once } from 'node:events';
import { createServer, request as forward } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { testCertificates } from '../support/double/certificates.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { testHome, type TestHome } from '../support/home.js';

/** A forward proxy that leads every name to this machine. */
interface TestProxy {
  readonly url: string;
  /** As `GET http://registry.example/v2/` and `CONNECT registry.example:443`. */
  readonly lines: string[];
  /** `Proxy-Authorization` of each. */
  readonly authorizations: (string | undefined)[];
}

let home: TestHome;

beforeEach(async () => {
  home = await testHome();
});

async function startProxy(port: number): Promise<TestProxy> {
  const lines: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    const { method, url = '', headers } = request;
    lines.push(`${method ?? ''} ${url}`);
    authorizations.push(headers['proxy-authorization']);
    const { pathname, search } = new URL(url);
    const onward = forward({ host: '127.0.0.1', port, method, path: pathname + search, headers });
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  });
  server.on('connect', (request, socket) => {
    lines.push(`CONNECT ${request.url ?? ''}`);
    authorizations.push(request.headers['proxy-authorization']);
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    for (const end of [onward, socket]) {
      end
        .on('error', () => undefined)
        .on('close', () => {
          onward.destroy();
          socket.destroy();
        });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, lines, authorizations };
}

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
  const proxy = await startProxy(portOf(double.host));
  const env = { [name]: proxy.url.replace('//', '//user:s3cret@') };
  const { stderr } = await home.run(list('registry.invalid', '--plain-http'), { env });
  expect(stderr).toContain('[CHANNEL_NOT_FOUND]');
  expect(stderr).not.toContain('s3cret');
  expect(proxy.lines[0]).toMatch(/^(?:GET|HEAD) http:\/\/registry\.invalid\/v2\//);
  expect(new Set(proxy.authorizations)).toEqual(new Set([`Basic ${btoa('user:s3cret')}`]));
  expect(double.requests.length).toBe(proxy.lines.length);
  for (const { headers } of double.requests) expect(headers).not.toHaveProperty('authorization');
});

test.each(['https_proxy', 'HTTPS_PROXY'])(
  'TLS goes by %s, through which the certificate is checked',
  async (name) => {
    const { server, folder } = await testCertificates();
    const { host } = await useRegistryDouble({ tls: server });
    const proxy = await startProxy(portOf(host));
    const env = { [name]: proxy.url };
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
  const proxy = await startProxy(portOf(double.host));
  const env = { http_proxy: proxy.url, https_proxy: proxy.url };
  expect((await home.run(list(double.host), { env })).stderr).toContain('[CHANNEL_NOT_FOUND]');
  expect(double.requests.length).toBeGreaterThan(0);
  const direct = await home.run(list('registry.invalid', '--plain-http'), {
    env: { ...env, no_proxy: 'other.example,.invalid' },
  });
  expect(direct.code).toBe(3);
  expect(direct.stderr).toContain('[NETWORK]');
  expect(proxy.lines).toEqual([]);
});
