import { describe, expect, test } from 'vitest';
import { startRegistry } from '../support/docker-registry.js';
import { useGhcrDouble } from '../support/double/ghcr.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';
import { startScriptedServer } from '../support/scripted-server.js';

interface Report {
  readonly repository?: string;
  readonly authentication: string;
  readonly findings: readonly {
    readonly subject: string;
    readonly result: string;
    readonly detail: string;
  }[];
  readonly leftBehind: readonly string[];
}

const ME = { username: 'me', password: 'a-token', owners: ['me'] } as const;

async function probe(args: readonly string[], env: Record<string, string> = {}): Promise<Report> {
  const HOME = await tempFolder();
  const { code, stdout, stderr } = await runFerry(['probe', ...args, '--json'], { env: { HOME, ...env } });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

function resultsOf({ findings }: Report): Record<string, string> {
  return Object.fromEntries(findings.map(({ subject, result }) => [subject, result]));
}

describe('probe', () => {
  test('without a prefix writes nothing', async () => {
    const double = await useRegistryDouble();
    const report = await probe([double.host]);
    expect(resultsOf(report)).toEqual({ registry: 'yes' });
    expect(double.lines).toEqual(['GET /v2/']);
  });

  test('finds everything on a registry that can do everything, and leaves nothing', async () => {
    const double = await useRegistryDouble({ anonymousMount: true });
    const report = await probe([`${double.host}/me/channel`]);
    const results = resultsOf(report);
    expect(Object.keys(results)).toHaveLength(18);
    expect(new Set(Object.values(results))).toEqual(new Set(['yes']));
    expect(report.leftBehind).toEqual([]);
    expect(double.openUploads).toBe(0);
    expect(double.repositories.get('me/channel/noarch/conda-ferry-probe')?.manifests.size).toBe(0);
  });

  test('tells what docker-registry cannot', async () => {
    await using registry = await startRegistry();
    const report = await probe([`${registry.host}/${registry.prefix}`]);
    const missing = report.findings.filter(({ result }) => result === 'no').map(({ subject }) => subject);
    expect(missing).toEqual(['single-post', 'anonymous-mount', 'referrers', 'delete-tag']);
    expect(report.leftBehind).toEqual([]);
  });

  test.each([
    ['depth', { maxPathDepth: 4 }],
    ['chunked', { patch: false }],
    ['ranges', { ranges: false }],
    ['mount', { mount: 405 }],
    ['digest-header', { digestHeader: 'absent' }],
  ] as const)('tells that %s is missing', async (subject, options) => {
    const double = await useRegistryDouble(options);
    const { findings } = await probe([`${double.host}/me/channel`]);
    expect(findings.find((finding) => finding.subject === subject)).toMatchObject({ result: 'no' });
  });

  test('ends with one clear error where nothing may be pushed', async () => {
    const double = await useRegistryDouble({ readOnly: true });
    const { code, stdout, stderr } = await runFerry(['probe', `${double.host}/me/channel`], {
      env: { HOME: await tempFolder() },
    });
    expect(code).toBe(3);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error: .*405.*\[UNSUPPORTED\]\n/);
  });

  test('tells a person what it found', async () => {
    const double = await useRegistryDouble({ delete: { manifests: false }, patch: false });
    const HOME = await tempFolder();
    const { stdout, stderr } = await runFerry(
      ['probe', `${double.host}/me/channel`, '--profile', 'registry.gitlab.com'],
      { env: { HOME } },
    );
    expect(stderr).toBe('');
    const plain = stdout.replaceAll(double.host, 'HOST').replace(/@sha256:[0-9a-f]{64}/g, '@DIGEST');
    expect(plain).toMatchInlineSnapshot(`
      "HOST, open to everybody
      known: image names go two levels below the path of a project

        answers as a registry           yes
        takes pushes                    yes
        makes repositories by itself    yes
        takes paths two levels deeper   yes
        takes names with . - and _      yes
        keeps media types of conda      yes
        takes a blob in one request     yes
        takes blobs in chunks           no   405 UNSUPPORTED
        mounts from other repositories  yes
        finds blobs wherever they are   no   202
        gives parts of blobs            yes
        tells digests of manifests      yes
        lists tags                      yes
        lists referrers itself          yes
        deletes tags                    yes
        deletes manifests               no   405 UNSUPPORTED
        deletes blobs                   yes
        makes new packages public       yes

      tried in HOST/me/channel/noarch/conda-ferry-probe
      left behind: HOST/me/channel/noarch/conda-ferry-probe@DIGEST
      "
    `);
  });

  test('says what stays when it fails in its middle', async () => {
    const double = await useRegistryDouble({ delete: { tags: false, manifests: false } });
    double.faultNext(({ method }) => method === 'PATCH', 'reset-before');
    const { code, stdout, stderr } = await runFerry(['probe', `${double.host}/me/channel`], {
      env: { HOME: await tempFolder() },
    });
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    const [tag = ''] = double.repositories.get('me/channel/noarch/conda-ferry-probe')?.tags.keys() ?? [];
    expect(stderr).toContain(`left behind: ${double.host}/me/channel/noarch/conda-ferry-probe:${tag}\n`);
    expect(stderr).toContain('[NETWORK]');
  });

  test('says where there is no registry', async () => {
    const server = await startScriptedServer(['GET /v2/', { status: 404, body: '<html>' }]);
    const { code, stderr } = await runFerry(['probe', server.host], { env: { HOME: await tempFolder() } });
    expect(code).toBe(3);
    expect(stderr).toContain(`there is no registry at \`${server.host}\``);
  });
});

test.each([
  ['nonsense', 'takes a URL'],
  ['api.github.com', 'takes a URL'],
  ['ftp://api.github.com/', 'takes a URL'],
  ['http://github.example.com/api/v3/', 'needs https, since a token is sent to github.example.com'],
])('--github-api %s is refused before anything is sent', async (url, why) => {
  const double = await useRegistryDouble();
  const { code, stdout, stderr } = await runFerry(
    ['probe', `${double.host}/me/channel`, '--profile', 'ghcr.io', '--github-api', url],
    { env: { HOME: await tempFolder() } },
  );
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(`error: \`--github-api\` ${why} [USAGE]\n`);
  expect(double.lines).toEqual([]);
});

describe('ghcr/G7, ghcr/G8: probe of GHCR', () => {
  async function probeGhcr(options: Parameters<typeof useGhcrDouble>[0]): Promise<Report> {
    const double = await useGhcrDouble(options);
    const like = ['--profile', 'ghcr.io', '--github-api', double.apiUrl];
    return probe([`${double.host}/me/channel`, ...like], {
      CONDA_FERRY_USERNAME: ME.username,
      CONDA_FERRY_PASSWORD: ME.password,
    });
  }

  test('tells that new packages are private and linked to nothing', async () => {
    const report = await probeGhcr({ users: [ME] });
    expect(resultsOf(report)).toMatchObject({
      push: 'yes',
      public: 'no',
      linked: 'no',
      'delete-manifest': 'no',
      referrers: 'no',
    });
    expect(report.authentication).toBe('bearer');
    expect(report.findings.find(({ subject }) => subject === 'linked')?.detail).toBe(
      'private, and linked to no repository',
    );
  });

  test('tells that new packages are public', async () => {
    const report = await probeGhcr({ users: [ME], newPackages: 'public' });
    expect(resultsOf(report)).toMatchObject({ public: 'yes' });
  });
});
