/**
 * Lock files of others: what an environment was solved to, read so that a mirror can take exactly that. All formats come
 * down to archives with their hashes; which format a file has shows in what stands in it, not in its name.
 */
import { isFerryError, ParseError } from '../../errors.js';
import { isExplicitList, parseExplicitList } from './explicit-list.js';
import type { LockedArchives } from './locked-archives.js';
import { readYamlLock, type Refuse } from './yaml-lock.js';

/** Ten times the largest that is known: some pixi.lock of many platforms have 6 MB. In UTF-16 code units. */
const MAX_LOCK_FILE_LENGTH = 64 * 1024 * 1024;

/** Writers share values by aliases at times, but never many, and never in one another. */
const MAX_ALIASES = 100;

/**
 * Reads a lock file: `conda-lock.yml` (version 1), `pixi.lock` and others of rattler-lock (versions 1 to 7), or an explicit
 * list (`@EXPLICIT`). What comes from PyPI, is built from source or lies in no channel is counted, not wanted.
 * @param name what messages call the file
 * @throws ParseError `LOCK_FILE_INVALID`
 */
export async function parseLockFile(name: string, text: string): Promise<LockedArchives> {
  const refuse: Refuse = (why, hint) =>
    // The text may hold URLs with tokens: the error names the file only.
    new ParseError('LOCK_FILE_INVALID', `\`${name}\` is no lock file that can be read: ${why}`, name, {
      hint,
    });
  if (text.length > MAX_LOCK_FILE_LENGTH) throw refuse('it is too large');
  if (isExplicitList(text)) return parseExplicitList(text, refuse);
  return readYamlLock(await parseYaml(text, refuse), refuse);
}

async function parseYaml(text: string, refuse: Refuse): Promise<unknown> {
  const { parseDocument } = await import('yaml');
  let value: unknown;
  try {
    // With any other schema a hash such as 1234…5678 or 12e45… is a number, and loses digits.
    const document = parseDocument(text, { schema: 'failsafe', merge: false, logLevel: 'silent' });
    const [error] = document.errors;
    if (error !== undefined) throw refuse(`${describePosition(error.linePos)}not valid YAML (${error.code})`);
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    if (isFerryError(error)) throw error;
    // Of the document's own errors the text could hold secrets; what is left are bombs.
    throw refuse('it has more aliases, or is nested deeper, than a lock file needs');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refuse(
      'it is neither YAML of conda-lock or pixi, nor an explicit list',
      'an explicit list has the line @EXPLICIT',
    );
  }
  return value;
}

function describePosition(position: readonly { readonly line: number }[] | undefined): string {
  const first = position?.[0];
  return first === undefined ? '' : `line ${String(first.line)} is `;
}
