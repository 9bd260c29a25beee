/**
 * Prints the section of CHANGELOG.md on one version, for the page of its release: `node scripts/release-notes.mjs 0.1.0`.
 * Fails if there is none, or if it is not dated yet.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv, exit, stderr, stdout } from 'node:process';

const version = argv[2] ?? '';
const text = readFileSync(join(import.meta.dirname, '..', 'CHANGELOG.md'), 'utf8');
const section = text.split(/^(?=## )/m).find((part) => part.startsWith(`## [${version}] - `));
const [heading = '', ...lines] = section?.split('\n') ?? [];

if (section === undefined) fail(`CHANGELOG.md has no section on ${version}`);
if (!/ - \d{4}-\d{2}-\d{2}$/.test(heading)) fail(`CHANGELOG.md gives ${version} no date: ${heading}`);
stdout.write(`${lines.join('\n').trim()}\n`);

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  stderr.write(`${message}\n`);
  exit(1);
}
