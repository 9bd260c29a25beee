import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { repodataOf, writeChannel } from '../../fixtures/build/channel.mjs';
import { serveChannel } from '../support/channel-server.js';
import { holdsCanary, useAttacker, type Attacker } from '../support/double/attacker.js';
import type { Answer } from '../support/double/exchange.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import { useRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { runFerry as runFerryProcess, type FerryResult } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

/**
 * Every place that a secret may come from holds one of its own; none of them may be said, stored, or told to anybody
 * whom it is not for.
 */

const CANARY = {
  destination: 'canary-of-the-destination',
  file: 'canary-of-the-docker-file',
  github: 'canary-of-github-actions',
  netrc: 'canary-of-netrc',
  rattler: 'canary-of-rattler',
  url: 'canary-of-the-url',
} as const;
const CANARIES: readonly string[] = Object.values(CANARY);
const USER = { username: 'destination-user', password: CANARY.destination } as const;
const VARIABLES = { CONDA_FERRY_USERNAME: USER.username, CONDA_FERRY_PASSWORD: USER.password } as const;
const ARCHIVES = ['aaa-1.0-0.conda', 'bbb-1.0-0.conda'];
const NOARCH = ['--subdir', 'noarch'];

let home: string;
let channel: string;
let attacker: Attacker;
beforeEach(async () => {
  home = await tempFolder();
  channel = await tempFolder();
  attacker = await useAttacker();
  await writeChannel(channel, { noarch: [archive('aaa'), archive('bbb')] });
});

function archive(name: string, build = '0') {
  return condaPackage({ name, version: '1.0', build, subdir: 'noarch', index: { noarch: 'generic' } });
}

/** A destination that wants tokens, which are had for the user's password. */
async function useDestination(options: RegistryDoubleOptions = {}): Promise<RegistryDouble> {
  return useRegistryDouble({
    auth: { kind: 'token', users: [USER] },
    elsewhere: attacker.origin,
    ...options,
  });
}

/** All secrets at once, each where it belongs. */
async function environment(
  destination: RegistryDouble,
  more: Readonly<Record<string, string>> = {},
): Promise<Record<string, string>> {
  const basic = (user: string, secret: string): string => Buffer.from(`${user}:${secret}`).toString('base64');
  await mkdir(join(home, '.docker'), { recursive: true });
  const auths = {
    [destination.host]: { auth: basic(USER.username, USER.password) },
    'registry.example': { auth: basic('me', CANARY.file) },
  };
  await writeFile(join(home, '.docker', 'config.json'), JSON.stringify({ auths }));
  await writeFile(join(home, '.netrc'), `machine 127.0.0.1 login me password ${CANARY.netrc}\n`);
  await mkdir(join(home, '.rattler'), { recursive: true });
  const rattler = { localhost: { CondaToken: CANARY.rattler } };
  await writeFile(join(home, '.rattler', 'credentials.json'), JSON.stringify(rattler));
  return {
    HOME: home,
    DOCKER_CONFIG: '',
    XDG_CONFIG_HOME: '',
    XDG_RUNTIME_DIR: '',
    REGISTRY_AUTH_FILE: '',
    NETRC: '',
    RATTLER_AUTH_FILE: '',
    GITHUB_TOKEN: CANARY.github,
    GITHUB_ACTOR: 'github-actor',
    CONDA_FERRY_DEBUG: '1',
    ...more,
  };
}

/** Expects that nothing secret was told to anybody, on a screen or elsewhere. */
function expectNoLeak(result: FerryResult, destination?: RegistryDouble): void {
  expectNothingSaid(result);
  expect(attacker.secretsSeen([...CANARIES, USER.username])).toEqual([]);
  for (const { blobs } of destination?.repositories.values() ?? []) {
    for (const blob of blobs.values()) {
      expect(CANARIES.filter((canary) => holdsCanary(blob.toString('latin1'), canary))).toEqual([]);
    }
  }
}

function expectNothingSaid({ stdout, stderr }: FerryResult): void {
  const said = CANARIES.filter((canary) => holdsCanary(`${stdout}\n${stderr}`, canary));
  expect(said, `${stdout}\n${stderr}`).toEqual([]);
  // Who says them as part of what is encoded: `user:secret`.
  for (const canary of CANARIES) {
    for (const user of [USER.username, 'me', 'x-access-token', 'github-actor']) {
      expect(stdout + stderr).not.toContain(Buffer.from(`${user}:${canary}`).toString('base64').slice(0, 24));
    }
  }
}

interface Way {
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly stdin?: string;
}

/** Where the destination's own secret comes from. */
const WAYS: readonly (readonly [string, Way])[] = [
  ['a variable', { env: VARIABLES }],
  ['ORAS_PASS', { env: { ORAS_USER: USER.username, ORAS_PASS: USER.password } }],
  ['a docker config file', {}],
  ['stdin', { args: ['--username', USER.username, '--password-stdin'], stdin: `${USER.password}\n` }],
];

/** The attacker serves the channel, but for what is answered otherwise. @returns its URL */
async function serveAsAttacker(answer: (path: string) => Answer | undefined): Promise<string> {
  const files = new Map<string, Buffer>();
  for (const name of ['repodata.json', ...ARCHIVES]) {
    files.set(`/${name}`, await readFile(join(channel, 'noarch', name)));
  }
  attacker.answerWith(({ path }) => {
    const body = files.get(path.slice(path.lastIndexOf('/')));
    return answer(path) ?? (body === undefined ? { status: 404 } : { status: 200, body });
  });
  return `${attacker.origin}/ch`;
}

describe('a hostile source', () => {
  test.each(WAYS)('never sees the secret of the destination, given by %s', async (_way, way: Way) => {
    const destination = await useDestination();
    const source = await serveAsAttacker((path) =>
      path.startsWith('/ch/') && path.endsWith('.conda')
        ? { status: 302, headers: { location: path.replace('/ch', '/moved') } }
        : undefined,
    );
    const env = await environment(destination, way.env);
    for (const flag of ['--verbose', '--json']) {
      const to = `oci://${destination.host}/${flag.slice(2)}`;
      const result = await runFerry(['mirror', source, to, ...NOARCH, flag, ...(way.args ?? [])], {
        env,
        ...(way.stdin === undefined ? {} : { input: way.stdin }),
      });
      expect(result).toMatchObject({ code: 0 });
      expectNoLeak(result, destination);
    }
    const tokens = destination.tokenRequests.filter(({ status }) => status === 200);
    expect(tokens.every(({ hasAuthorization }) => hasAuthorization)).toBe(true);
    expect(tokens.length).toBeGreaterThan(0);
    expect(attacker.requests.length).toBeGreaterThan(4);
  });

  test.each([
    ['asks for a password', () => challenge('Basic realm="me"')],
    ['names itself as a realm', () => challenge(`Bearer realm="${attacker.origin}/token",service="x"`)],
    ['refuses', () => ({ status: 403, body: 'no' })],
    ['leads around in circles', (path: string) => ({ status: 307, headers: { location: path } })],
  ])('that %s gets nothing, and its failure says nothing', async (_how, answer: (path: string) => Answer) => {
    const destination = await useDestination();
    const source = await serveAsAttacker((path) => (path.endsWith('.conda') ? answer(path) : undefined));
    const env = await environment(destination, VARIABLES);
    for (const flag of ['--verbose', '--json']) {
      const to = `oci://${destination.host}/${flag.slice(2)}`;
      const result = await runFerry(['mirror', source, to, ...NOARCH, flag], { env });
      expect(result.code).toBe(1);
      expectNoLeak(result, destination);
    }
  });

  test('that is a registry gets nothing, wherever its tokens are to come from', async () => {
    const destination = await useDestination();
    const env = await environment(destination, VARIABLES);
    for (const realm of [`${attacker.origin}/token`, `${destination.origin}/token`]) {
      attacker.answerWith(() =>
        challenge(`Bearer realm="${realm}",service="evil",scope="repository:x:pull"`),
      );
      const from = `oci://${attacker.host}/x`;
      const result = await runFerry(
        ['mirror', from, `oci://${destination.host}/ch`, ...NOARCH, '--verbose'],
        { env },
      );
      expect(result.code).toBe(3);
      expectNothingSaid(result);
    }
    // A token that anybody may have is nothing to hide; credentials are.
    const told = attacker.requests.map(({ url, headers }) => `${url} ${JSON.stringify(headers)}`).join();
    expect(told).not.toMatch(/Basic/i);
    expect(CANARIES.filter((canary) => holdsCanary(told, canary))).toEqual([]);
    const led = destination.tokenRequests.filter(({ service }) => service === 'evil');
    expect(led.filter(({ hasAuthorization }) => hasAuthorization)).toEqual([]);
  });
});

describe('a private source', () => {
  /** A channel behind a password whose files lead to the attacker. */
  async function usePrivateSource(isOpen: boolean) {
    const seen: string[] = [];
    const records = [archive('aaa'), archive('bbb')];
    const [first] = records;
    if (first === undefined) throw new Error('no record');
    const repodata = repodataOf('noarch', [
      { ...first, record: { url: `${attacker.origin}/ch/noarch/${first.filename}` } },
      ...records.slice(1),
    ]);
    const server = await serveChannel(channel, {
      intercept: (request, response) => {
        seen.push(`${request.url ?? ''} ${request.headers.authorization ?? ''}`);
        if (!isOpen)
          response.writeHead(403).end(JSON.stringify({ errors: [{ code: 'DENIED', message: 'no' }] }));
        else if (request.url?.endsWith('repodata.json') === true) response.end(JSON.stringify(repodata));
        else if (request.url?.endsWith('.zst') === true) response.writeHead(404).end();
        else if (request.url?.endsWith('.conda') === true) {
          const location = `${attacker.origin}/ch/noarch/bbb-1.0-0.conda`;
          response.writeHead(302, { location }).end();
        } else return false;
        return true;
      },
    });
    onTestFinished(async () => server[Symbol.asyncDispose]());
    await serveAsAttacker(() => undefined);
    return { seen, url: new URL(server.url) };
  }

  const sources: readonly (readonly [string, string, (url: URL) => string])[] = [
    ['user and password in its URL', CANARY.url, (url) => `http://me:${CANARY.url}@${url.host}/channel`],
    ['a token in its URL', CANARY.url, (url) => `http://${url.host}/t/${CANARY.url}/channel`],
    ['netrc', CANARY.netrc, (url) => url.href],
    ['rattler', CANARY.rattler, (url) => url.href.replace('127.0.0.1', 'localhost')],
  ];
  test.each(sources.flatMap((source) => [true, false].map((isOpen) => [source[0], isOpen, source] as const)))(
    'with %s (open: %s) leads nobody else to its secret',
    async (_how, isOpen, [, canary, locate]) => {
      const destination = await useDestination();
      const { seen, url } = await usePrivateSource(isOpen);
      const env = await environment(destination, VARIABLES);
      for (const flags of [['--verbose'], ['--json', '--verbose']]) {
        const to = `oci://${destination.host}/ch`;
        const result = await runFerry(['mirror', locate(url), to, ...NOARCH, ...flags], { env });
        expect(result.code).toBe(isOpen ? 0 : 3);
        expectNoLeak(result, destination);
      }
      const forms = [canary, Buffer.from(`me:${canary}`).toString('base64')];
      expect(seen.length).toBeGreaterThan(0);
      expect(seen.every((line) => forms.some((form) => line.includes(form)))).toBe(true);
      expect(seen.some((line) => holdsCanary(line, CANARY.destination))).toBe(false);
      for (const { headers } of destination.requests) {
        expect(forms.filter((form) => headers.authorization?.includes(form))).toEqual([]);
      }
      if (isOpen) expect(attacker.requests.length).toBeGreaterThan(1);
    },
  );
});

describe('a hostile destination', () => {
  const kinds: readonly (readonly [string, (origin: string) => RegistryDoubleOptions])[] = [
    [
      'has its tokens from',
      (origin) => ({ auth: { kind: 'token', users: [USER], realm: { at: `${origin}/token` } } }),
    ],
    [
      'has uploads go on at',
      (origin) => ({ auth: { kind: 'basic', ...USER }, singlePost: '202', location: { origin } }),
    ],
    [
      'gives its blobs out at',
      (origin) => ({ auth: { kind: 'basic', ...USER }, redirectBlobs: { to: origin } }),
    ],
  ];
  test.each(kinds)('that %s a stranger gives no secret away', async (_how, options) => {
    const destination = await useDestination(options(attacker.origin));
    const env = await environment(destination, VARIABLES);
    const args = ['mirror', channel, `oci://${destination.host}/ch`, ...NOARCH, '--verbose'];
    expectNoLeak(await runFerryProcess(args, { env }), destination);
    expectNoLeak(await runFerryProcess([...args, '--deep', '--json'], { env }), destination);
    expect(attacker.requests.length).toBeGreaterThan(0);
  });

  test('whose lists go on elsewhere gives no secret away', async () => {
    await writeChannel(channel, { noarch: [archive('aaa'), { ...archive('aaa', '2') }] });
    const destination = await useDestination({ auth: { kind: 'basic', ...USER } });
    const env = await environment(destination, VARIABLES);
    const args = ['mirror', channel, `oci://${destination.host}/ch`, ...NOARCH, '--verbose'];
    expect(await runFerry(args, { env })).toMatchObject({ code: 0 });
    destination.schedule = ({ route }) => (route.kind === 'tags' ? 'link-elsewhere' : undefined);
    const result = await runFerry([...args, '--deep'], { env });
    expect(destination.faults['link-elsewhere']).toBeGreaterThan(0);
    expectNoLeak(result, destination);
  });

  test('wrong credentials are refused without being named', async () => {
    const destination = await useDestination();
    const env = await environment(destination, {
      CONDA_FERRY_USERNAME: 'me',
      CONDA_FERRY_PASSWORD: CANARY.url,
    });
    for (const flag of ['--verbose', '--json']) {
      const result = await runFerryProcess(['mirror', channel, `oci://${destination.host}/ch`, flag], {
        env,
      });
      expect(result.code).toBe(3);
      expectNoLeak(result, destination);
    }
  });
});

test.each([
  `http://me:${CANARY.url}@[bad/x`,
  `http://[bad/t/${CANARY.url}/x`,
  `https://me:${CANARY.url}@127.0.0.1:9/x?y`,
  `me:${CANARY.url}@conda.example/x`,
  `conda.example/t/${CANARY.url}/x`,
  `http://127.0.0.1:9/t/${CANARY.url}/x`,
  `oci://me:${CANARY.url}@127.0.0.1:9/x`,
  `oci://me:${CANARY.url}/x`,
  `docker://me:${CANARY.url}@127.0.0.1:9`,
  `file://me:${CANARY.url}@elsewhere/x`,
  `https://conda.example/x?token=${CANARY.url}`,
])('a location that cannot be used is not repeated with its secret: %s', async (location) => {
  for (const args of [
    ['mirror', location, 'oci-layout:./m', ...NOARCH],
    ['mirror', './nowhere', location],
    ['inspect', `${location}:1-0`],
    ['login', location],
  ]) {
    const result = await runFerry(args[0] === 'mirror' ? [...args, '--verbose'] : args, {
      cwd: home,
      env: { HOME: home },
    });
    expect(result.code, args[0]).toBeGreaterThan(1);
    expectNoLeak(result);
  }
});

function challenge(text: string): Answer {
  return { status: 401, headers: { 'www-authenticate': text } };
}
