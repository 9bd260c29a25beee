/**
 * Builds the programs of others that the interop tests talk to, once for each user and version, and says where they
 * are: in environment variables when imported, as `export NAME=path` lines when run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import { argv, env, exit, platform, stderr, stdout } from 'node:process';
import { bring } from './bring.mjs';

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {string} module
 * @property {string} command package of the program below the module
 * @property {string} version
 * @property {boolean} [isTest] whether the package holds tests, and the program runs them
 */

/** @type {readonly Peer[]} */
const PEERS = [
  { name: 'olareg', module: 'github.com/olareg/olareg', command: 'cmd/olareg', version: 'v0.2.2' },
  // Not 1.3.0: Go's checksum database, as the module proxy hands it on, has no entry for that, and code that nobody
  // vouches for is not run.
  { name: 'oras', module: 'oras.land/oras', command: 'cmd/oras', version: 'v1.2.3' },
  {
    name: 'distribution',
    module: 'github.com/distribution/distribution/v3',
    command: 'cmd/registry',
    version: 'v3.1.2',
  },
  {
    // The suite of the distribution specification. It has no releases; of the newest that module proxies hand out, Go's
    // checksum database knows this one.
    name: 'conformance',
    module: 'github.com/opencontainers/distribution-spec/conformance',
    command: '',
    version: 'v0.0.0-20230516164017-7fcdf80f3c8b',
    isTest: true,
  },
];

/** More compilers at once than this only take memory from others. */
const MAX_COMPILERS = 4;

if (argv[1] === import.meta.filename) {
  if (!bringPeers()) exit(1);
  for (const peer of PEERS) stdout.write(`export ${variableOf(peer)}='${env[variableOf(peer)] ?? ''}'\n`);
}

/**
 * Builds what is not there yet, and sets `CONDA_FERRY_PEER_…` for each; one that the caller has set stays. A peer that
 * cannot be had is said so, and the tests that need it fail.
 * @returns {boolean} whether all are there
 */
export function bringPeers() {
  const cache = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'conda-ferry', 'peers');
  let isComplete = true;
  for (const peer of PEERS) {
    const variable = variableOf(peer);
    if (env[variable] !== undefined) continue;
    try {
      env[variable] = bringPeer(peer, cache);
    } catch (error) {
      stderr.write(
        `${peer.name} ${peer.version} is not there: ${error instanceof Error ? error.message : String(error)}\n`,
      );
      isComplete = false;
    }
  }
  return isComplete;
}

/**
 * @param {Peer} peer
 * @param {string} cache
 */
function bringPeer(peer, cache) {
  const folder = join(cache, `${peer.name}-${peer.version}`);
  const program = join(folder, platform === 'win32' ? `${peer.name}.exe` : peer.name);
  if (existsSync(program)) return program;
  if (!bring('go', 'golang')) {
    throw new Error('it is built with Go; install Go 1.26 or later');
  }
  mkdirSync(cache, { recursive: true });
  const temporary = mkdtempSync(join(cache, '.building-'));
  try {
    const started = Date.now();
    build(peer, temporary);
    stderr.write(
      `built ${peer.name} ${peer.version} in ${((Date.now() - started) / 1000).toFixed(1)} s into ${folder}\n`,
    );
    publish(join(temporary, 'bin'), folder, program);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return program;
}

/**
 * Builds inside a module of our own that asks for one version. `go install module@version` would ask for the list of
 * all versions too, to warn of deprecated ones, and not every module proxy has such lists.
 * @param {Peer} peer
 * @param {string} folder
 */
function build(peer, folder) {
  go(folder, ['mod', 'init', 'peer']);
  go(folder, ['mod', 'edit', `-require=${peer.module}@${peer.version}`]);
  mkdirSync(join(folder, 'bin'));
  const output = join(folder, 'bin', platform === 'win32' ? `${peer.name}.exe` : peer.name);
  const goal = peer.command === '' ? peer.module : `${peer.module}/${peer.command}`;
  const verb = peer.isTest === true ? ['test', '-c'] : ['build'];
  go(folder, [...verb, '-mod=mod', '-trimpath', '-buildvcs=false', '-o', output, goal]);
}

/**
 * @param {string} folder
 * @param {readonly string[]} args
 */
function go(folder, args) {
  const compilers = String(Math.min(availableParallelism(), MAX_COMPILERS));
  const bounds = { CGO_ENABLED: '0', GOMAXPROCS: compilers, GOWORK: 'off' };
  const {
    error,
    status,
    stderr: said,
  } = spawnSync('go', args, {
    cwd: folder,
    env: { ...env, ...bounds },
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`go ${args[0] ?? ''} failed: ${said.trim().slice(-2000)}`);
}

/**
 * Puts a whole folder in its place at once; another run may have been faster.
 * @param {string} from
 * @param {string} folder
 * @param {string} program
 */
function publish(from, folder, program) {
  try {
    renameSync(from, folder);
  } catch (error) {
    if (!existsSync(program)) throw error;
  }
}

/** @param {Peer} peer */
function variableOf(peer) {
  return `CONDA_FERRY_PEER_${peer.name.toUpperCase()}`;
}
