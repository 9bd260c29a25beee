/**
 * Makes a fresh clone ready: installs the dependencies where they are missing or out of date, checks that the native
 * part loads, and builds with `--build`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { argv, execPath, exit, platform, stderr, version } from 'node:process';

const root = join(import.meta.dirname, '..');
const stamp = join(root, 'node_modules', '.conda-ferry-setup');

checkNode();
install();
checkZstd();
if (argv.includes('--build')) build();

function checkNode() {
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  fail(`conda-ferry needs Node 20.19 or later; this is ${version}`);
}

function install() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  stderr.write('installing dependencies\n');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, wanted);
}

/** zstd-napi is built from source where no built file can be had, which needs a compiler. */
function checkZstd() {
  try {
    createRequire(join(root, 'package.json'))('zstd-napi');
  } catch {
    stderr.write('building zstd-napi\n');
    try {
      run('npm', ['rebuild', 'zstd-napi', '--foreground-scripts', '--loglevel=error']);
      createRequire(join(root, 'package.json'))('zstd-napi');
    } catch {
      fail(
        'zstd-napi cannot be built: install a C++ compiler, make and Python 3 (Debian: apt-get install build-essential python3)',
      );
    }
  }
}

function build() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  execFileSync(
    execPath,
    [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json'],
    {
      cwd: root,
      stdio: 'inherit',
    },
  );
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 */
function run(command, args) {
  execFileSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: platform === 'win32',
  });
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  stderr.write(`${message}\n`);
  exit(1);
}
