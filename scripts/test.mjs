/**
 * Runs a group of tests (`unit` by default, `interop`, `long`) after bringing what they need, and closes with the
 * line `N passed, N failed`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argv, env, execPath, exit, stdout } from 'node:process';
import { bring } from './bring.mjs';
import { bringPeers } from './peers.mjs';

const root = join(import.meta.dirname, '..');
const project = argv[2] ?? 'unit';
const filters = argv.slice(3);

const container = bringRegistry();
if (project !== 'unit') bring('redis-server', 'redis-server');
if (project === 'interop') {
  bring('skopeo', 'skopeo');
  bring('chromium', 'chromium');
  // Completion is tested in the shells that are there.
  for (const shell of ['zsh', 'fish']) bring(shell, shell);
  bringPeers();
}
if (project === 'long') bring('/usr/bin/time', 'time');
let code = 1;
try {
  code = runTests();
} finally {
  if (container !== undefined) spawnSync('docker', ['rm', '--force', container]);
}
exit(code);

function runTests() {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-test-'));
  const results = join(folder, 'results.json');
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile=${results}`,
  ];
  const { status } = spawnSync(execPath, [vitest, ...args, ...filters], { cwd: root, stdio: 'inherit' });
  /** @type {{ numPassedTests: number, numFailedTests: number, numFailedTestSuites: number, testResults: { status: string, assertionResults: unknown[] }[] }} */
  const summary = JSON.parse(readFileSync(results, 'utf8'));
  rmSync(folder, { recursive: true, force: true });
  // A file that cannot even be loaded has failed too.
  const broken = summary.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  const counted = summary.numFailedTests + broken.length;
  // A rejection that nobody caught belongs to no test, and is a failure all the same.
  const failed = counted === 0 && status !== 0 ? 1 : counted;
  stdout.write(`\n${String(summary.numPassedTests)} passed, ${String(failed)} failed\n`);
  return status === 0 && failed === 0 && summary.numPassedTests > 0 ? 0 : 1;
}

/**
 * A real registry: one that the caller brings, Debian's, or a container. Where none can be had, the tests that need
 * one say so and fail.
 * @returns {string | undefined} the container to remove afterwards
 */
function bringRegistry() {
  if (env['CONDA_FERRY_TEST_REGISTRY'] !== undefined) return undefined;
  if (bring('docker-registry', 'docker-registry')) return undefined;
  if (spawnSync('docker', ['info'], { stdio: 'ignore' }).status !== 0) return undefined;
  const options = [
    '--detach',
    '--publish',
    '127.0.0.1::5000',
    '--env',
    'REGISTRY_STORAGE_DELETE_ENABLED=true',
  ];
  const started = spawnSync('docker', ['run', ...options, 'registry:3'], { encoding: 'utf8' });
  if (started.status !== 0) return undefined;
  const id = started.stdout.trim();
  const port =
    execFileSync('docker', ['port', id, '5000'], { encoding: 'utf8' }).trim().split(':').pop() ?? '';
  env['CONDA_FERRY_TEST_REGISTRY'] = `http://127.0.0.1:${port}`;
  return id;
}
