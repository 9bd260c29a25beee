import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { cp, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { sha256 } from '../support/audit.js';
import { FIXTURE_CHANNEL, MALFORMED_CHANNEL } from '../support/channels.js';
import { serveChannel } from '../support/channel-server.js';
import { ROOT, runFerry as runFerryProcess } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

test('--help names every verb, and each verb has its own with examples', async () => {
  const help = await runFerryProcess(['--help']);
  expect(help.code).toBe(0);
  const verbs = [...help.stdout.matchAll(/^ {2}([a-z]+) /gm)]
    .map((match) => match[1])
    .filter((verb) => verb !== 'help');
  expect(verbs).toEqual([
    'push',
    'yank',
    'mirror',
    'migrate',
    'index',
    'prune',
    'list',
    'inspect',
    'pull',
    'serve',
    'pack',
    'check',
    'verify',
    'login',
    'logout',
    'probe',
    'worker',
    'queue',
    'completion',
  ]);
  for (const verb of verbs) {
    const { code, stdout } = await runFerry([verb ?? '', '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Examples:\n {2}(?:echo .*)?conda-ferry/);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  }
});

test('help of every verb fits into a terminal of 80 columns', async () => {
  const { stdout } = await runFerry(['--help']);
  const verbs = [...stdout.matchAll(/^ {2}([a-z]+) </gm)].map(([, verb = '']) => verb);
  const pages = [
    stdout,
    ...(await Promise.all(verbs.map(async (verb) => (await runFerry([verb, '--help'])).stdout))),
  ];
  expect(pages.length).toBeGreaterThan(10);
  for (const page of pages) expect(page.split('\n').filter((line) => line.length > 80)).toEqual([]);
});

test.each([
  [['mirrr'], "error: unknown command 'mirrr' [USAGE]"],
  [['list'], "error: missing required argument 'channel' [USAGE]"],
  [['list', './channel', '--wid'], "error: unknown option '--wid' [USAGE]"],
  [['mirror', 'a', 'b', '--plan', '--apply', 'c'], 'error: --plan and --apply cannot go together [USAGE]'],
])('%j is refused with a code like all that is wrong', async (args, line) => {
  const { code, stderr } = await runFerry(args);
  expect({ code, line: stderr.split('\n', 1)[0] }).toEqual({ code: 2, line });
});

test('--version is that of the package', async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect((await runFerryProcess(['--version'])).stdout).toBe(`${version}\n`);
});

test('mirror, then again: what an operator sees', async () => {
  const cwd = await tempFolder();
  await cp(FIXTURE_CHANNEL, join(cwd, 'channel'), { recursive: true });
  const mirror = ['mirror', './channel', 'oci-layout:./mirror'];
  const first = await runFerryProcess(mirror, { cwd });
  expect(first.code).toBe(0);
  expect(first.stdout.replaceAll(cwd, '')).toMatchInlineSnapshot(`
    "subdir     listed  there  added  failed  withheld  repodata
    linux-64       24      0     24       0         0  the source's
    noarch          4      0      4       0         0  the source's
    osx-arm64       4      0      4       0         0  the source's

    mirrored to /mirror: 32 archives (71.2 kB) in 29 artifacts
    "
  `);
  expect(first.stderr).toMatchInlineSnapshot(`
    "to move: 32 archives, 71.2 kB
    published: linux-64 (the source's)
    published: noarch (the source's)
    published: osx-arm64 (the source's)
    "
  `);
  const second = await runFerryProcess(mirror, { cwd });
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(second.stdout.replaceAll(cwd, '')).toMatchInlineSnapshot(`
    "subdir     listed  there  added  failed  withheld  repodata
    linux-64       24     24      0       0         0  as it was
    noarch          4      4      0       0         0  as it was
    osx-arm64       4      4      0       0         0  as it was

    mirrored to /mirror: nothing new
    "
  `);
  for (const line of [first, second].flatMap(({ stdout }) => stdout.split('\n'))) {
    expect(line.replaceAll(cwd, '').length, line).toBeLessThanOrEqual(80);
  }
});

test('mirror --plan moves nothing and says what would be done', async () => {
  const cwd = await tempFolder();
  const plan = await runFerry(['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror', '--plan'], { cwd });
  expect(plan.code).toBe(0);
  expect(plan.stdout.replaceAll(cwd, '').replaceAll(FIXTURE_CHANNEL, '/fixtures')).toMatchInlineSnapshot(`
    "subdir     listed  there  to add     size  requests  withheld
    linux-64       24      0      24  22.6 kB         0         0
    noarch          4      0       4   4.3 kB         0         0
    osx-arm64       4      0       4  44.3 kB         0         0

    largest packages:
      ferry-noise        41.3 kB  1 archive
      ferry-lib           3.9 kB  4 archives
      ferry-tool          2.2 kB  2 archives
      ferry-long-names    2.1 kB  2 archives
      ferry-links         2.0 kB  2 archives
      ferry-duplicates    1.8 kB  2 archives
      ferry-relicensed    1.7 kB  2 archives
      ferry-zip64         1.2 kB  1 archive
      ferry-frames        1.2 kB  1 archive
      ferry-descriptor    1.1 kB  1 archive
      ferry.dotted_name   1.1 kB  1 archive
      _ferry_mutex        1.1 kB  1 archive
      ferry-data          1.0 kB  1 archive
      order-c             1.0 kB  1 archive
      order-f             1.0 kB  1 archive
      order-b             1.0 kB  1 archive
      order-e             1.0 kB  1 archive
      order-a             1.0 kB  1 archive
      order-d             1.0 kB  1 archive
      ferry-streams        772 B  1 archive

    32 archives, 71.2 kB, 0 requests
    from file:///fixtures
    to /mirror, schema v0; nothing was moved
    "
  `);
  expect(await readdir(cwd)).toEqual([]);
  const json = await runFerry(['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror', '--plan', '--json'], {
    cwd,
  });
  const document = JSON.parse(json.stdout) as { subdirs: { artifacts: number; add: unknown[] }[] };
  expect(document.subdirs.map(({ artifacts, add }) => [artifacts, add.length])).toEqual([
    ...[
      [22, 24],
      [3, 4],
      [4, 4],
    ],
  ]);
});

test('mirror exits with 1 when archives failed, and --json has their codes', async () => {
  const cwd = await tempFolder();
  const args = ['mirror', MALFORMED_CHANNEL, 'oci-layout:./mirror', '--json', '--quiet'];
  const result = await runFerry(args, { cwd });
  expect(result).toMatchObject({ code: 1, stderr: '' });
  const report = JSON.parse(result.stdout) as { subdirs: { failed: { code: string }[] }[]; requests: object };
  expect(report.subdirs.flatMap(({ failed }) => failed)).toHaveLength(81);
  expect(report.requests).toEqual({ source: 0, destination: 0 });
});

test('mirror says when filters take nothing, and takes no channel for its own source', async () => {
  const cwd = await tempFolder();
  const args = ['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror', '--include', 'misspelt', '--quiet'];
  for (const more of [['--plan'], []]) {
    const { stdout, code } = await runFerry([...args, ...more], { cwd });
    expect(stdout).toContain('\nfilters leave out all of 32 records\n');
    expect(code).toBe(0);
  }
  const into = ['mirror', 'oci-layout:./mirror', 'oci-layout:./x/../mirror'];
  expect(await runFerry(into, { cwd })).toMatchObject({
    code: 2,
    stderr: `error: \`${join(cwd, 'mirror')}\` is the source and the destination [USAGE]\n`,
  });
  const label = await runFerry([...into, '--source-label', 'dev', '--quiet'], { cwd });
  expect(label.stderr).toContain('CHANNEL_NOT_FOUND');
});

test('pull fetches by spec, file name and digest; what it cannot find is an error and writes nothing', async () => {
  const cwd = await tempFolder();
  expect((await runFerry(['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror', '--quiet'], { cwd })).code).toBe(
    0,
  );
  const tool = await readFile(join(FIXTURE_CHANNEL, 'noarch', 'ferry-tool-2.1.0-py_0.conda'));
  const specs = ['ferry-lib==3.0', 'ferry-data-1.0+abc-0.conda', sha256(tool)];
  const pulled = await runFerry(['pull', 'oci-layout:./mirror', ...specs, '--output', 'got'], { cwd });
  expect(pulled.code).toBe(0);
  expect((await readdir(join(cwd, 'got'))).sort()).toEqual([
    'ferry-data-1.0+abc-0.conda',
    'ferry-lib-3.0-h0_0.conda',
    'ferry-tool-2.1.0-py_0.conda',
  ]);
  expect(await readFile(join(cwd, 'got', 'ferry-tool-2.1.0-py_0.conda'))).toEqual(tool);
  const missing = await runFerry(
    ['pull', 'oci-layout:./mirror', 'ferry-tool', 'nonesuch', '--output', 'none'],
    { cwd },
  );
  expect(missing).toMatchObject({ code: 3, stdout: '' });
  expect(missing.stderr).toContain('`nonesuch` [NOT_FOUND]');
  expect(await readdir(cwd)).not.toContain('none');
});

test('pack puts archives and their twins where mirror would, and names the bad ones', async () => {
  const cwd = await tempFolder();
  const good = join(FIXTURE_CHANNEL, 'noarch', 'ferry-tool-2.1.0-py_0');
  const bad = join(MALFORMED_CHANNEL, 'linux-64', 'conda-bomb-1.0-0.conda');
  const packed = await runFerry(
    ['pack', `${good}.tar.bz2`, bad, `${good}.conda`, '--output', 'oci-layout:./store'],
    { cwd },
  );
  expect(packed.code).toBe(1);
  expect(packed.stderr).toContain('[ARCHIVE_LIMIT_EXCEEDED]');
  await runFerry(['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror', '--quiet'], { cwd });
  const digests = await Promise.all(
    ['store', 'mirror'].map(async (store) => {
      const result = await runFerry(
        ['inspect', `oci-layout:./${store}/noarch/ferry-tool:2.1.0-py_0`, '--json'],
        { cwd },
      );
      return (JSON.parse(result.stdout) as { descriptor: { digest: string } }).descriptor.digest;
    }),
  );
  expect(digests[0]).toBe(digests[1]);
});

test('v1/P6: pack of a .tar.bz2 beside its .conda fails in schema v1, and the .conda is stored', async () => {
  const cwd = await tempFolder();
  const tool = join(FIXTURE_CHANNEL, 'noarch', 'ferry-tool-2.1.0-py_0');
  const flags = ['--output', 'oci-layout:./store', '--schema', 'v1'];
  const packed = await runFerry(['pack', `${tool}.tar.bz2`, `${tool}.conda`, `${tool}.tar.bz2`, ...flags], {
    cwd,
  });
  expect(packed.code).toBe(1);
  expect(packed.stderr).toContain('[TWIN_UNREPRESENTABLE]');
  const stored = await runFerry(['inspect', 'oci-layout:./store/noarch/cferry-tool:2.1.0-py__0'], { cwd });
  expect(stored.stdout).toContain('application/vnd.conda.package.v2, 1.3 kB');
});

test.each([
  [['mirror', 'registry.example/x', 'oci-layout:./m'], 2, 'write oci://registry.example/x for a registry'],
  [['mirror', './nowhere', 'oci-layout:./m'], 3, 'CHANNEL_NOT_FOUND'],
  [['mirror', './nowhere', './m'], 3, 'CHANNEL_NOT_FOUND'],
  [['mirror', './nowhere', 'https://example.org/x'], 2, 'oci-layout:./dir'],
  [['pack', './x-1-0.conda', '--output', 'oci://127.0.0.1:1/x'], 2, 'oci-layout:./dir'],
  [['pack', './x-1-0.conda', '--output', './folder'], 2, 'is no folder of image layouts'],
  [['mirror', FIXTURE_CHANNEL, 'oci-layout:./m', '--schema', 'toString'], 2, 'no schema `toString`'],
  [['mirror', FIXTURE_CHANNEL, 'oci-layout:./m', '--temp-dir', './none'], 2, '--temp-dir'],
  [['list', 'file://elsewhere/x'], 2, 'names no folder of this machine'],
  [
    ['pull', FIXTURE_CHANNEL, 'ferry-lib', '--output', 'x'],
    2,
    'pass --subdir linux-64 or --subdir osx-arm64',
  ],
  [['mirror', './nowhere', 'oci://127.0.0.1:1'], 2, 'lacks the path of a channel'],
  [['mirror', FIXTURE_CHANNEL, 'oci://127.0.0.1:1/x', '--quiet'], 3, 'ECONNREFUSED'],
  [['mirror', FIXTURE_CHANNEL, 'oci-layout:./m', '--subdir', 'No Arch'], 2, 'is no subdir'],
  [['mirror', FIXTURE_CHANNEL, 'oci-layout:./m', '--concurrency', '0'], 2, 'from 1 to 1024'],
  [['mirror', FIXTURE_CHANNEL, 'oci-layout:./m', '--schema', 'v9'], 2, 'no schema `v9`'],
  [['mirror', FIXTURE_CHANNEL], 2, 'destination'],
  [['list', 'oci-layout:./nowhere'], 3, 'CHANNEL_NOT_FOUND'],
  [['inspect', 'oci-layout:./nowhere/noarch/x:1-0'], 3, 'NOT_FOUND'],
  [['inspect', 'oci://127.0.0.1:1/x'], 2, 'a tag or digest is missing'],
  [['pull', FIXTURE_CHANNEL, 'a[versoin=1]'], 2, 'MATCH_SPEC_INVALID'],
  [['pack', './nowhere.conda', '--output', 'oci-layout:./m'], 1, 'RECORD_INVALID'],
  [['pack', './nowhere-1-0.conda', '--output', 'oci-layout:./m'], 1, 'NOT_FOUND'],
  [['ferry'], 2, "unknown command 'ferry'"],
])('%j exits with %i and says why', async (args, code, text) => {
  const result = await runFerryProcess(args, { cwd: await tempFolder() });
  expect(result.stderr).toContain(text);
  expect(result.code).toBe(code);
  expect(result.stdout).toBe('');
});

test('a channel without the subdirs that were asked for is not called absent', async () => {
  const cwd = await tempFolder();
  const place = pathToFileURL(FIXTURE_CHANNEL).href.replace(/\/$/, '');
  for (const args of [
    ['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror'],
    ['mirror', FIXTURE_CHANNEL, './copy'],
    ['list', FIXTURE_CHANNEL],
  ]) {
    const { code, stderr } = await runFerry([...args, '--subdir', 'win-64'], { cwd });
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: `error: there is no repodata of \`win-64\` at \`${place}\` [CHANNEL_NOT_FOUND]\n`,
    });
  }
});

test('pull says which spec it cannot read, and that a digest is cut short', async () => {
  const pull = async (spec: string): Promise<string> =>
    (await runFerry(['pull', FIXTURE_CHANNEL, 'ferry-tool', spec], { cwd: await tempFolder() })).stderr;
  expect(await pull('ferry [')).toMatch(
    /^error: `ferry \[` is no match spec \[MATCH_SPEC_INVALID\]\n {2}because: /,
  );
  expect(await pull('sha256:f37ab49df6b7')).toContain('hint: a digest is `sha256:` and 64 digits');
  expect(await pull('nothing')).not.toContain('hint');
});

test('a password in a location is never shown', async () => {
  for (const location of [
    'oci://user:s3cret@127.0.0.1:1/x',
    'http://user:s3cret@[bad/x',
    'http://user:s3cret@127.0.0.1:1/x',
  ]) {
    const { stdout, stderr, code } = await runFerryProcess(['mirror', location, 'oci-layout:./m'], {
      cwd: await tempFolder(),
    });
    expect(code).toBeGreaterThan(1);
    expect(stdout + stderr).not.toContain('s3cret');
  }
});

test('a reader that goes away does not stop the work', async () => {
  const cwd = await tempFolder();
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  const shell = `"${process.execPath}" "${main}" mirror "${FIXTURE_CHANNEL}" oci-layout:./mirror --verbose 2> >(true) | true; exit "\${PIPESTATUS[0]}"`;
  const child = spawn('bash', ['-c', shell], { cwd, stdio: 'ignore' });
  await once(child, 'exit');
  expect(child.exitCode).toBe(0);
  const list = await runFerry(['list', 'oci-layout:./mirror', '--json'], { cwd });
  expect((JSON.parse(list.stdout) as { subdirs: unknown[] }).subdirs).toHaveLength(3);
});

test('SIGINT ends a run with 130, and the next one goes on', async () => {
  const cwd = await tempFolder();
  let requested: () => void = () => undefined;
  const underWay = new Promise<void>((resolve) => (requested = resolve));
  let stuck = true;
  await using server = await serveChannel(FIXTURE_CHANNEL, {
    intercept: (request) => {
      if (!stuck || request.url?.endsWith('.conda') !== true) return false;
      requested();
      return true;
    },
  });
  const args = ['mirror', server.url, 'oci-layout:./mirror', '--subdir', 'noarch', '--stop-grace', '0'];
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'cli', 'main.js'), ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  await underWay;
  child.kill('SIGINT');
  await once(child, 'exit');
  expect(child.exitCode).toBe(130);
  const [stdout, stderr] = await said;
  expect(stderr).toContain('stopping: what is under way is finished and published; a second signal');
  expect(stdout).toMatch(/\ninterrupted; at least 3 artifacts left; the next run goes on from here\n$/);
  stuck = false;
  expect(await runFerryProcess([...args, '--quiet'], { cwd })).toMatchObject({ code: 0, stderr: '' });
  await rm(join(cwd, 'mirror'), { recursive: true });
});
