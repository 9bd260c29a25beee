/**
 * The main jobs in a minute, without network and account: carry a channel into a folder of OCI image layouts, look at it, take
 * a package back out; then publish packages to a channel of one's own. Prints each command before it runs.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, execPath, stdout } from 'node:process';

const root = join(import.meta.dirname, '..');
const command = join(root, 'dist', 'cli', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'ferry-demo-'));

try {
  tell('A conda channel of 32 archives goes into a folder of OCI image layouts:');
  ferry('mirror', './fixtures/channel', 'oci-layout:./mirror');
  tell('Once more: everything is there, so nothing moves.');
  ferry('mirror', './fixtures/channel', 'oci-layout:./mirror');
  tell('What the mirror holds, read from the mirror alone:');
  ferry('list', 'oci-layout:./mirror', '--subdir', 'noarch', 'osx-arm64');
  tell('One artifact, with both archives of one build:');
  ferry('inspect', 'oci-layout:./mirror/noarch/ferry-tool:2.1.0-py_0');
  tell('And a package back out, checked against its digest:');
  ferry('pull', 'oci-layout:./mirror', 'ferry-tool', '--output', './archives');
  tell('Publishing: a package is checked, stored, and listed in a channel of its own.');
  ferry('push', './fixtures/channel/noarch/ferry-data-1.0+abc-0.conda', 'oci-layout:./channel');
  tell('The next release; any number of jobs may push at once.');
  ferry('push', './fixtures/channel/noarch/ferry-tool-2.1.0-py_0.conda', 'oci-layout:./channel');
  tell('And somebody else, who has nothing but the channel, gets both:');
  const stranger = join(folder, 'stranger');
  mkdirSync(join(stranger, 'tmp'), { recursive: true });
  const home = { HOME: stranger, XDG_CACHE_HOME: join(stranger, 'cache'), TMPDIR: join(stranger, 'tmp') };
  ferryAs(home, 'list', 'oci-layout:./channel');
  ferryAs(
    home,
    'pull',
    'oci-layout:./channel',
    'ferry-tool',
    'ferry-data',
    '--output',
    './stranger/archives',
  );
  tell('The same commands take oci://REGISTRY/PATH in place of oci-layout:DIR; see README.md.');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** @param {string} text */
function tell(text) {
  stdout.write(`\n# ${text}\n`);
}

/** @param {...string} args */
function ferry(...args) {
  ferryAs({}, ...args);
}

/**
 * @param {Record<string, string>} variables of somebody else's environment
 * @param {...string} args
 */
function ferryAs(variables, ...args) {
  stdout.write(`$ conda-ferry ${args.join(' ')}\n`);
  const inRoot = args.map((arg) => arg.replace('./fixtures', join(root, 'fixtures')));
  const options = { cwd: folder, env: { ...env, ...variables } };
  execFileSync(execPath, [command, ...inRoot], { ...options, stdio: ['ignore', 'inherit', 'ignore'] });
}
