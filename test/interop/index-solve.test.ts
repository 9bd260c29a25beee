import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { simpleSolve, type Platform } from '@conda-org/rattler';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { condaPackage, tarBz2Package, type PackageSpec } from '../../fixtures/build/archive.mjs';
import { serveChannel } from '../support/channel-server.js';
import { HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { runFerry, testEnvironment } from '../support/ferry.js';
import { pythonWithRattler, RUN_MAIN } from '../support/rattler.js';
import { tempFolder } from '../support/temp.js';

const run = promisify(execFile);

/** Solves each of the specs by itself, out of shards or not, and prints what is installed by file name and sha256. */
const SOLVER = `
import asyncio, json, sys, tempfile
from rattler import Channel, Gateway, MatchSpec, Platform, SourceConfig, solve

async def main():
    url, sharded, platforms, specs = sys.argv[1], sys.argv[2] == 'sharded', sys.argv[3].split(','), sys.argv[4:]
    config = SourceConfig(sharded_enabled=sharded)
    gateway = Gateway(cache_dir=tempfile.mkdtemp(), default_config=config)
    solutions = []
    for spec in specs:
        records = await solve([Channel(url)], [MatchSpec(spec)], gateway=gateway, platforms=[Platform(p) for p in platforms])
        solutions.append(sorted([record.file_name, record.sha256.hex()] for record in records))
    print(json.dumps(solutions))
${RUN_MAIN}`;

/** What a solver installs: file names, each with a sha256 where it tells that. */
type Solutions = readonly (readonly (readonly [filename: string, sha256?: string])[])[];

let home: string;
let python: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'ferry-solve-'));
  python = await pythonWithRattler(home);
  await writeFile(join(home, 'solver.py'), SOLVER);
});
afterAll(async () => rm(home, { recursive: true, force: true }));

const SPECS = ['app', 'app <2', 'lib', 'lib 1.*', 'data=1', 'plain', 'withdrawn'] as const;

const spec = (name: string, version: string, more: Partial<PackageSpec> = {}): PackageSpec => ({
  name,
  version,
  build: '0',
  subdir: 'linux-64',
  ...more,
});

const noarch = { subdir: 'noarch', index: { noarch: 'generic' } };

/** Two subdirs with dependencies across them, archives in both formats, one that is tracked, one that is withdrawn. */
async function fill(folder: string): Promise<void> {
  const built = [
    condaPackage(spec('app', '1.0', { index: { depends: ['lib >=1,<2', 'data'] } })),
    condaPackage(spec('app', '2.0', { index: { depends: ['lib >=2', 'data'], constrains: ['data <2'] } })),
    condaPackage(spec('lib', '1.5')),
    tarBz2Package(spec('lib', '1.9')),
    condaPackage(spec('lib', '2.0')),
    tarBz2Package(spec('lib', '2.0')),
    condaPackage(spec('lib', '2.0', { build: 'debug_0', index: { track_features: 'debug' } })),
    condaPackage(spec('data', '1.0', noarch)),
    condaPackage(spec('data', '2.0', noarch)),
    condaPackage(spec('plain', '1!0.1', noarch)),
    condaPackage(spec('plain', '9', noarch)),
    condaPackage(spec('withdrawn', '1', noarch)),
    condaPackage(spec('withdrawn', '2', noarch)),
  ];
  for (const { filename, bytes, index } of built) {
    const subdir = join(folder, String(index['subdir']));
    await mkdir(subdir, { recursive: true });
    await writeFile(join(subdir, filename), bytes);
  }
}

/** Solves the specs in every way there is, and tells what each way gave, and whether shards were asked for. */
async function solveAll(folder: string, platforms: readonly Platform[], specs: readonly string[]) {
  const paths: string[] = [];
  let hasShards = true;
  await using server = await serveChannel(folder, {
    intercept: (request, response) => {
      const path = request.url ?? '';
      paths.push(path);
      if (hasShards || !path.includes('shards')) return false;
      response.writeHead(404).end();
      return true;
    },
  });
  const byNode = async (): Promise<Solutions> => {
    const solutions: [string][][] = [];
    for (const text of specs) {
      const packages = await simpleSolve([text], [server.url], [...platforms], []);
      solutions.push(packages.map(({ filename }): [string] => [filename]).sort());
    }
    return solutions;
  };
  const byPython = async (way: string): Promise<Solutions> => {
    const args = [join(home, 'solver.py'), server.url, way, platforms.join(','), ...specs];
    const { stdout } = await run(python, args, { env: testEnvironment() });
    return JSON.parse(stdout) as Solutions;
  };
  const countShards = (): number =>
    paths.splice(0).filter((path) => /\/shards\/[0-9a-f]{64}/.test(path)).length;
  const sharded = {
    node: await byNode(),
    nodeShards: countShards(),
    python: await byPython('sharded'),
    pythonShards: countShards(),
  };
  const plainPython = await byPython('plain');
  const plainPythonShards = countShards();
  hasShards = false;
  const plain = { node: await byNode(), nodeShards: 0, python: plainPython, pythonShards: plainPythonShards };
  return { sharded, plain };
}

const filenames = (solutions: Solutions) => solutions.map((records) => records.map(([filename]) => filename));

function expectOneSolution({ sharded, plain }: Awaited<ReturnType<typeof solveAll>>): void {
  expect(sharded.nodeShards).toBeGreaterThan(0);
  expect(sharded.pythonShards).toBeGreaterThan(0);
  expect(plain.pythonShards).toBe(0);
  expect(plain.python).toEqual(sharded.python);
  expect(plain.node).toEqual(sharded.node);
  expect(filenames(sharded.python)).toEqual(filenames(sharded.node));
}

describe('solvers find one solution in the shards and the plain repodata of a folder', () => {
  test('that has all kinds of packages', async () => {
    const folder = await tempFolder();
    await fill(folder);
    const patches = join(folder, 'patches.json');
    await writeFile(patches, JSON.stringify({ noarch: { remove: ['withdrawn-2-0.conda'] } }));
    expect((await runFerry(['index', folder, '--patch', patches])).code).toBe(0);
    const solutions = await solveAll(folder, ['linux-64', 'noarch'], SPECS);
    expectOneSolution(solutions);
    expect(filenames(solutions.plain.python)).toEqual([
      ['app-2.0-0.conda', 'data-1.0-0.conda', 'lib-2.0-0.conda'],
      ['app-1.0-0.conda', 'data-2.0-0.conda', 'lib-1.9-0.tar.bz2'],
      ['lib-2.0-0.conda'],
      ['lib-1.9-0.tar.bz2'],
      ['data-1.0-0.conda'],
      ['plain-1!0.1-0.conda'],
      ['withdrawn-1-0.conda'],
    ]);
  });

  test.runIf(HAS_REAL_CHANNELS)('that holds a real channel', async () => {
    const folder = await tempFolder();
    const filter = (path: string): boolean => !path.endsWith('.json');
    await cp(realChannel('test-recipes'), folder, { recursive: true, filter });
    expect((await runFerry(['index', folder])).code).toBe(0);
    const specs = [
      'dependent',
      'dependent=1',
      'other_dependent',
      'another_dependent',
      'versioned <2',
      'track_feature',
    ];
    expectOneSolution(await solveAll(folder, ['noarch'], specs));
  });
});
