/**
 * The main job in a minute, without network and account: carry a channel into a folder of OCI image layouts, look at
 * it, and take a package back out. Prints each command before it runs.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath, stdout } from 'node:process';

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
  stdout.write(`$ conda-ferry ${args.join(' ')}\n`);
  const inRoot = args.map((arg) => arg.replace('./fixtures', join(root, 'fixtures')));
  execFileSync(execPath, [command, ...inRoot], { cwd: folder, stdio: ['ignore', 'inherit', 'ignore'] });
}
