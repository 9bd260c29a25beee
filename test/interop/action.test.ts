import { execFileSync } from 'node:child_process';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { startRegistry } from '../support/docker-registry.js';
import { ROOT, runFerry } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';
import { ACTION, ACTION_TEXT, openJob } from '../support/action-runner.js';

const RUN = 'Run conda-ferry';
const BUILT = `exec '${process.execPath}' '${join(ROOT, 'dist', 'cli', 'main.js')}' "$@"`;
/** Writes down what it is called with, one JSON text a line, and prints the document that the test put there. */
const RECORDER = `'${process.execPath}' -e '
const { writeFileSync, readFileSync, existsSync } = require("node:fs");
writeFileSync("words.json", JSON.stringify(process.argv.slice(1)));
writeFileSync("environment.json", JSON.stringify(process.env));
if (existsSync("document.json")) process.stdout.write(readFileSync("document.json"));
' -- "$@"`;
const HOSTILE = [
  '$(touch pwned)',
  '`touch pwned`',
  '"; touch pwned; "',
  "'; touch pwned; '",
  '--config=pwned.yml',
  '* ? [a-z] ~ $HOME ${IFS}',
  '&& touch pwned || true # |',
];

describe('action.yml', () => {
  test('uses the inputs that it declares, each of them', () => {
    const used = new Set([...ACTION_TEXT.matchAll(/\binputs\.([a-z-]+)/g)].map(([, name]) => name));
    expect([...used].sort()).toEqual(Object.keys(ACTION.inputs).sort());
  });

  test('has outputs that its steps write', async () => {
    const ids = new Set(ACTION.runs.steps.map(({ id }) => id));
    const script = await readFile(join(ROOT, 'action', 'summary.mjs'), 'utf8');
    for (const [name, { value }] of Object.entries(ACTION.outputs)) {
      const [, id = '', output = ''] = /^\$\{\{ steps\.([a-z]+)\.outputs\.([a-z]+) \}\}$/.exec(value) ?? [];
      expect(ids).toContain(id);
      expect(output).toBe(name);
      expect(script).toContain(`${output}=`);
    }
  });

  test('lets no input into the text of a script', () => {
    const scripts = ACTION.runs.steps.flatMap(({ run }) => run ?? []);
    expect(scripts).toHaveLength(2);
    for (const script of scripts) {
      expect(script).not.toContain('${{');
      expect(script).toMatch(/^bash "\$GITHUB_ACTION_PATH\/action\/[a-z]+\.sh"$/);
    }
  });

  test('says of every input what it is for', () => {
    for (const { description } of Object.values(ACTION.inputs)) expect(description).toMatch(/^[A-Za-z].+\.$/);
    expect(ACTION.runs.using).toBe('composite');
  });
});

describe('what the action runs', () => {
  const wordsOf = async (inputs: Readonly<Record<string, string>>): Promise<readonly string[]> => {
    const job = await openJob(await tempFolder(), RECORDER);
    const { code, log } = await job.run(RUN, inputs);
    expect({ code, log }).toMatchObject({ code: 0 });
    const words = JSON.parse(await readFile(join(job.workspace, 'words.json'), 'utf8')) as string[];
    expect((await readdir(job.workspace)).sort()).toEqual(['environment.json', 'words.json']);
    return words.map((word) => word.replace(/^(--report=).*/, '$1FILE'));
  };

  test('of push, is one word for each line', async () => {
    const words = await wordsOf({
      channel: 'ghcr.io/me/ch',
      archives: '  dist/a b-1-0.conda\r\n\ndist/*.conda  \n',
      label: 'dev',
      'source-repo': 'https://github.com/me/x',
      args: '--annotation=a=b c\n--replace\n',
    });
    expect(words).toEqual([
      'push',
      '--json',
      '--schema=v0',
      '--label=dev',
      '--annotation=a=b c',
      '--replace',
      '--source-repo=https://github.com/me/x',
      '--',
      'dist/a b-1-0.conda',
      'dist/*.conda',
      'ghcr.io/me/ch',
    ]);
  });

  test('of mirror, needs nothing but source and channel', async () => {
    expect(
      await wordsOf({ command: 'mirror', channel: 'ghcr.io/me/ch', source: './ch', schema: '' }),
    ).toEqual(['mirror', '--report=FILE', '--', './ch', 'ghcr.io/me/ch']);
  });

  test.each(HOSTILE)('is not changed by %s', async (text) => {
    const push = { channel: text, archives: text, label: text, schema: text, 'source-repo': text };
    expect(await wordsOf(push)).toEqual([
      'push',
      '--json',
      `--schema=${text}`,
      `--label=${text}`,
      `--source-repo=${text}`,
      '--',
      text,
      text,
    ]);
    expect(await wordsOf({ command: 'mirror', channel: text, source: text })).toEqual([
      'mirror',
      '--report=FILE',
      '--schema=v0',
      '--',
      text,
      text,
    ]);
    expect(await wordsOf({ channel: 'c', archives: 'a', args: text })).toContain(text);
  });

  test.each([
    [{ command: 'push; touch pwned', channel: 'c' }, 'command is push or mirror'],
    [{ channel: 'c', archives: ' \n' }, 'archives is empty'],
    [{ command: 'mirror', channel: 'c' }, 'source is missing'],
    [{ archives: 'a', channel: '' }, 'channel is missing'],
  ])('is nothing for %j', async (inputs, message) => {
    const job = await openJob(await tempFolder(), RECORDER);
    const { code, log } = await job.run(RUN, inputs);
    expect(code).toBe(2);
    expect(log).toContain(`::error::${message}`);
    expect(await readdir(job.workspace)).toEqual([]);
  });

  test('gets the token and the credentials by the environment alone', async () => {
    const job = await openJob(await tempFolder(), RECORDER);
    await job.run(RUN, { channel: 'c', archives: 'a', username: 'me', password: 'se cret' });
    const environment: unknown = JSON.parse(await readFile(join(job.workspace, 'environment.json'), 'utf8'));
    expect(environment).toMatchObject({
      GITHUB_TOKEN: 'token-of-the-job',
      CONDA_FERRY_USERNAME: 'me',
      CONDA_FERRY_PASSWORD: 'se cret',
    });
  });
});

describe('the summary of push', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const entry = { subdir: 'noarch', filename: 'x-1-0.conda', digest, manifest: digest, status: 'added' };
  const published = [{ ...entry, repository: 'me/ch/noarch/x', tag: '1-0' }];

  test('names what was published and what failed', async () => {
    const job = await openJob(await tempFolder(), `${RECORDER}\nexit 1`);
    const failed = [{ filename: 'bad.conda', code: 'ARCHIVE_EMPTY', message: 'it is <b>empty</b>' }];
    const document = { channel: 'ghcr.io/me/ch', schema: 'v0', published, failed };
    await writeFile(join(job.workspace, 'document.json'), JSON.stringify(document));
    const { code, summary, outputs, log } = await job.run(RUN, { channel: 'ghcr.io/me/ch', archives: 'a' });
    expect(code).toBe(1);
    expect(outputs).toEqual({
      published: '1',
      failed: '1',
      report: expect.stringContaining(job.temp) as string,
    });
    expect(JSON.parse(await readFile(outputs['report'] ?? '', 'utf8'))).toEqual(document);
    expect(log).toContain(`noarch/x-1-0.conda: published, ${digest}\n`);
    expect(summary.replaceAll(/a{64}/g, 'DIGEST')).toMatchInlineSnapshot(`
      "### 1 archive published to <code>ghcr.io/me/ch</code>, 1 failed

      | archive | status | sha256 | artifact |
      | --- | --- | --- | --- |
      | <code>noarch/x-1-0.conda</code> | published | <code>DIGEST</code> | <code>me/ch/noarch/x&#58;1-0</code> |

      | failed | code | why |
      | --- | --- | --- |
      | <code>bad.conda</code> | <code>ARCHIVE&#95;EMPTY</code> | it is &#60;b&#62;empty&#60;/b&#62; |

      "
    `);
  });

  test('has no markup and no commands of others', async () => {
    const job = await openJob(await tempFolder(), RECORDER);
    const text = '::set-output name=x::y\n::error::z | <img src=x> [a](b) `c` **d** @me \u202e';
    const hostile = {
      ...published[0],
      subdir: text,
      filename: text,
      repository: text,
      tag: text,
      status: text,
    };
    const failed = [{ filename: text, code: text, message: text }];
    await writeFile(
      join(job.workspace, 'document.json'),
      JSON.stringify({ channel: text, published: [hostile], failed }),
    );
    const { summary, log } = await job.run(RUN, { channel: 'c', archives: 'a' });
    const bare = summary.replaceAll(/<\/?code>|&#\d+;|^### |^\|[-| ]+\|$/gm, '');
    expect(bare.replaceAll(/^\|.*\|$/gm, (row) => row.replaceAll('|', ''))).not.toMatch(
      /[<>&|`*_[\]#\\:@!\u202e]/,
    );
    // Whatever it prints stands between these two.
    const [, token = ''] = /^::stop-commands::([0-9a-f]{32})\n/.exec(log) ?? [];
    expect(log.trimEnd().endsWith(`::${token}::`)).toBe(true);
    expect(log.split('\n').filter((line) => line.startsWith('::'))).toEqual([
      `::stop-commands::${token}`,
      `::${token}::`,
    ]);
  });

  test('of a run that could not begin is none', async () => {
    const job = await openJob(await tempFolder(), 'echo "error: no [USAGE]" >&2; exit 2');
    const { code, summary, outputs } = await job.run(RUN, { channel: 'c', archives: 'a' });
    expect({ code, summary }).toEqual({ code: 2, summary: '' });
    expect(outputs).toMatchObject({ published: '0', failed: '0' });
  });
});

describe('the action', () => {
  test('mirrors into an image layout, from a folder with a space', async () => {
    const job = await openJob(await tempFolder(), BUILT);
    await cp(FIXTURE_CHANNEL, join(job.workspace, 'my channel'), { recursive: true });
    const inputs = { command: 'mirror', source: './my channel', channel: 'oci-layout:./my mirror' };
    const first = await job.run(RUN, inputs);
    expect(first).toMatchObject({ code: 0, outputs: { published: '32', failed: '0' } });
    expect(first.summary).toContain('| <code>noarch</code> |');
    expect((await job.run(RUN, { ...inputs, args: '--subdir\nnoarch\n--deep' })).outputs).toMatchObject({
      published: '0',
    });
    const list = await runFerry(['list', 'oci-layout:./my mirror', '--json'], { cwd: job.workspace });
    expect(list.code).toBe(0);
  });

  test('says with its status that a mirror failed', async () => {
    const job = await openJob(await tempFolder(), BUILT);
    const inputs = { command: 'mirror', source: './nothing', channel: 'oci-layout:./mirror' };
    const { code, summary } = await job.run(RUN, inputs);
    expect(code).toBe(3);
    expect(summary).toContain('CHANNEL&#95;NOT&#95;FOUND');
  });

  test('pushes archives into a registry', async () => {
    await using registry = await startRegistry();
    const job = await openJob(await tempFolder(), BUILT);
    await mkdir(join(job.workspace, 'out put'));
    const files = ['ferry-tool-2.1.0-py_0.conda', '_ferry_mutex-1.0-main.conda'];
    const archives = files.map((file) => `out put/${file}`).join('\n');
    for (const file of files)
      await cp(join(FIXTURE_CHANNEL, 'noarch', file), join(job.workspace, 'out put', file));
    const channel = `oci://${registry.host}/${registry.prefix}/ch`;
    const { code, log, outputs, summary } = await job.run(RUN, { channel, archives });
    expect({ code, log }).toMatchObject({ code: 0 });
    expect(outputs).toMatchObject({ published: '2', failed: '0' });
    expect(summary).toContain('ferry-tool-2.1.0-py&#95;0.conda');
    const again = await job.run(RUN, { channel, archives: 'out put' });
    expect(again.outputs).toMatchObject({ published: '2', failed: '0' });
    expect(again.summary).toContain('| there already |');
    const list = await runFerry(['list', channel, '--json']);
    expect(list.stdout).toContain('ferry-tool-2.1.0-py_0.conda');
  });
});

test('scripts of the action are what bash can read, and may be run', async () => {
  for (const script of ['install.sh', 'run.sh']) {
    execFileSync('bash', ['-n', join(ROOT, 'action', script)]);
    expect(await readFile(join(ROOT, 'action', script), 'utf8')).toMatch(/^#!\/usr\/bin\/env bash\n/);
  }
});

test('the version that is installed cannot be another package', async () => {
  for (const version of ['npm:other@1', '../folder', 'https://example.org/x.tgz', '$(touch pwned)', 'a b']) {
    const folder = await tempFolder();
    const job = await openJob(folder, RECORDER);
    const { code, log } = await job.run('Install conda-ferry', { version });
    expect(code, version).toBe(2);
    expect(log).toContain('::error::version is neither');
    expect(await readdir(job.workspace)).toEqual([]);
  }
});
