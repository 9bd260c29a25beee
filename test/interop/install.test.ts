/** What npm packs is what a stranger installs: into an empty prefix, with nothing of this checkout in reach. */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { ROOT, testEnvironment } from '../support/ferry.js';

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string; readonly mode: number }[];
}

let folder: string;
let packed: Packed;
let tarball: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ferry-install-'));
  await cp(FIXTURE_CHANNEL, join(folder, 'channel'), { recursive: true });
  const output = run('npm', ['pack', '--json', '--pack-destination', folder], ROOT);
  // Later versions of npm give an object with a key for each package.
  const document = JSON.parse(output) as readonly Packed[] | Readonly<Record<string, Packed>>;
  packed = Object.values(document)[0]!;
  tarball = join(folder, packed.filename);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Runs a program to its end. `env` is the environment of this process unless it is given: npm needs its settings. */
function run(
  program: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): string {
  const { error, status, stdout, stderr } = spawnSync(program, args, { cwd, env, encoding: 'utf8' });
  if (error !== undefined) throw error;
  expect(status, `${program} ${args.join(' ')}\n${stdout}\n${stderr}`).toBe(0);
  return stdout;
}

async function install(name: string, flags: readonly string[]): Promise<string> {
  const prefix = join(folder, name);
  // npm looks into it with some flags, and it is there under every prefix that is in use.
  await mkdir(join(prefix, 'lib'), { recursive: true });
  const cache = ['--cache', join(folder, 'cache')];
  run('npm', ['install', '--global', '--prefix', prefix, ...cache, ...flags, tarball], folder);
  return prefix;
}

/** Has the installed command do its main job, as somebody who has nothing but the prefix on the PATH. */
async function use(prefix: string): Promise<void> {
  const base = testEnvironment(join(folder, 'home'));
  const env = { ...base, PATH: `${join(prefix, 'bin')}:${base['PATH'] ?? ''}` };
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(run('conda-ferry', ['--version'], folder, env)).toBe(`${version}\n`);
  const mirror = `oci-layout:${prefix}-mirror`;
  expect(run('conda-ferry', ['mirror', './channel', mirror], folder, env)).toContain('32 archives');
  expect(run('conda-ferry', ['check', mirror], folder, env)).not.toBe('');
}

describe('the package', () => {
  test('holds what is built, the specification and its papers, and nothing else', () => {
    const paths = packed.files.map(({ path }) => path);
    const others = paths.filter((path) => !/^(?:dist\/.+\.(?:js|d\.ts)|spec\/.+\.(?:json|md))$/.test(path));
    expect(others.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']);
    for (const path of ['dist/cli/main.js', 'dist/index.d.ts', 'dist/oci.d.ts', 'spec/README.md'])
      expect(paths).toContain(path);
  });

  test('installs into an empty prefix and works, and then again without a network', async () => {
    await use(await install('online', []));
    await use(await install('offline', ['--offline']));
  });

  test('installs where npm runs no script that is not allowed', async () => {
    await use(
      await install('strict', [
        '--offline',
        '--strict-allow-scripts',
        '--allow-scripts=zstd-napi,msgpackr-extract',
      ]),
    );
  });

  test('has types that resolve, and entries that load', async () => {
    const project = join(folder, 'project');
    await mkdir(join(project, 'node_modules'), { recursive: true });
    await cp(await install('library', ['--offline', '--ignore-scripts']), join(project, 'prefix'), {
      recursive: true,
    });
    await cp(
      join(project, 'prefix', 'lib', 'node_modules', 'conda-ferry'),
      join(project, 'node_modules', 'conda-ferry'),
      { recursive: true },
    );
    await writeFile(join(project, 'package.json'), '{ "type": "module" }');
    const source = `import { mirrorChannel, parseMatchSpec, type MatchSpec } from 'conda-ferry';
import { openRegistry, type Registry } from 'conda-ferry/oci';
const spec: MatchSpec = parseMatchSpec('zlib >=1.2');
const open: (host: string) => Registry = (host) => openRegistry(host, { userAgent: 'test' });
if (spec.name === undefined || typeof mirrorChannel !== 'function' || typeof open !== 'function') process.exit(1);
`;
    await writeFile(join(project, 'use.mts'), source);
    const options = ['--module', 'nodenext', '--target', 'es2023', '--strict', '--types', 'node'];
    const types = ['--typeRoots', join(ROOT, 'node_modules', '@types')];
    run(
      process.execPath,
      [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), ...options, ...types, 'use.mts'],
      project,
    );
    run(process.execPath, ['use.mjs'], project);
  });
});
