import { spawnSync } from 'node:child_process';
import { env, getuid, platform, stderr } from 'node:process';

/**
 * Installs a Debian package where its program is missing and that is possible.
 * @param {string} program
 * @param {string} debianPackage
 * @returns {boolean} whether the program is there now
 */
export function bring(program, debianPackage) {
  if (isThere(program)) return true;
  const mayInstall = platform === 'linux' && getuid?.() === 0 && isThere('apt-get');
  if (!mayInstall) return false;
  stderr.write(`installing ${debianPackage}\n`);
  const quiet = { stdio: 'ignore', env: { ...env, DEBIAN_FRONTEND: 'noninteractive' } };
  const install = () =>
    spawnSync('apt-get', ['install', '-y', '-q', debianPackage], /** @type {object} */ (quiet));
  if (install().status !== 0) {
    spawnSync('apt-get', ['update', '-q'], /** @type {object} */ (quiet));
    install();
  }
  return isThere(program);
}

/** @param {string} program */
function isThere(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
}
