import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { testEnvironment } from './ferry.js';
import { PY_RATTLER } from './rattler.js';

const run = promisify(execFile);

/** The release of conda-index that tests run. */
const CONDA_INDEX = 'conda-index==0.13.0';

/**
 * What conda-index takes from conda, which is on no index of Python packages: the order of versions, here that of rattler, and
 * the names of platforms. Only `current_repodata.json` would need more, a whole solver.
 */
const STAND_IN: Readonly<Record<string, string>> = {
  'conda/__init__.py': '',
  'conda/base/__init__.py': '',
  'conda/base/constants.py': 'PLATFORM_DIRECTORIES = ("noarch", "linux-64", "osx-arm64", "win-64")\n',
  'conda/models/__init__.py': '',
  'conda/models/version.py': 'from rattler import Version as VersionOrder\n',
};

/** Makes a Python with conda-index, and rattler, in a folder. @returns the interpreter's path */
export async function pythonWithCondaIndex(folder: string): Promise<string> {
  const python = join(folder, 'conda-index');
  await run('python3', ['-m', 'venv', python]);
  await run(join(python, 'bin', 'pip'), ['install', '--quiet', CONDA_INDEX, PY_RATTLER]);
  for (const [path, text] of Object.entries(STAND_IN)) {
    await mkdir(dirname(join(python, 'stand-in', path)), { recursive: true });
    await writeFile(join(python, 'stand-in', path), text);
  }
  return join(python, 'bin', 'python');
}

/** Options of {@link runCondaIndex}. */
export interface CondaIndexOptions {
  readonly python: string;
  readonly subdirs: readonly string[];
  /** A package of patch instructions. */
  readonly patches?: string | undefined;
}

/** Lets conda-index write all that it can of a channel in a folder, but for `current_repodata.json`. */
export async function runCondaIndex(folder: string, options: CondaIndexOptions): Promise<void> {
  const { python, subdirs, patches } = options;
  const args = ['-m', 'conda_index', '--threads', '1', '--channeldata', '--no-rss', '--run-exports'];
  // The pass that writes shards puts a file in the place of the patch instructions that nobody can read as such, so it is the last.
  const passes = [
    ['--no-write-shards'],
    ['--no-write-monolithic', '--no-channeldata', '--no-run-exports', '--write-shards'],
  ];
  for (const pass of passes) {
    await run(
      python,
      [
        ...args,
        '--no-current-repodata',
        ...pass,
        ...subdirs.flatMap((subdir) => ['--subdir', subdir]),
        ...(patches === undefined ? [] : ['--patch-generator', patches]),
        folder,
      ],
      {
        env: { ...testEnvironment(), PYTHONPATH: join(dirname(dirname(python)), 'stand-in') },
        maxBuffer: 64 * 1024 * 1024,
      },
    );
  }
}
