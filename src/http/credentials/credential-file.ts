import type { BigIntStats } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { FerryError, isFerryError, isSystemError } from '../../errors.js';
import { collect } from '../../io/bytes.js';

/** Credential files have a few kilobytes; more than this is not one. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Reads a file anew whenever it has changed; `undefined` where there is none. */
export type ReadCachedFile<T> = () => Promise<T | undefined>;

/**
 * Reads a credential file of at most 1 MiB; `undefined` where there is none.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 */
export async function readCredentialFile(path: string): Promise<string | undefined> {
  return (await readWithVersion(path))?.text;
}

/**
 * Makes a reader that reads and parses a credential file once, and again only when it has changed. `parse` gets the
 * file's text, and fails as its own error says.
 * @throws FerryError `CREDENTIALS_UNREADABLE`, from the reader
 */
export function cacheFile<T>(path: string, parse: (text: string) => T): ReadCachedFile<T> {
  let last: { readonly version: string; readonly value: T } | undefined;
  return async () => {
    if (last !== undefined && last.version === (await versionOf(path))) return last.value;
    const file = await readWithVersion(path);
    if (file === undefined) {
      last = undefined;
      return undefined;
    }
    const value = parse(file.text);
    last = { version: file.version, value };
    return value;
  };
}

/** A pipe, as `<(…)` of a shell makes one, gives its content only once, so it counts as unchanged for good. */
const NOT_A_FILE = 'not a regular file';

async function versionOf(path: string): Promise<string | undefined> {
  try {
    return describeVersion(await stat(path, { bigint: true }));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw unreadable(path, error);
  }
}

async function readWithVersion(path: string): Promise<{ text: string; version: string } | undefined> {
  try {
    await using file = await open(path, 'r');
    // Of the opened file, since another may stand under its name in the next moment.
    const version = describeVersion(await file.stat({ bigint: true }));
    const stream = file.createReadStream({ autoClose: false });
    const bytes = await collect(stream, MAX_FILE_BYTES, `credential file \`${path}\``);
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), version };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw unreadable(path, error);
  }
}

function describeVersion(stats: BigIntStats): string {
  if (!stats.isFile()) return NOT_A_FILE;
  return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].map(String).join(' ');
}

function isAbsent(error: unknown): boolean {
  return isSystemError(error, 'ENOENT', 'ENOTDIR');
}

function unreadable(path: string, cause: unknown): FerryError {
  const why = isSystemError(cause, 'ERR_ENCODING_INVALID_ENCODED_DATA')
    ? ': it is not UTF-8'
    : isFerryError(cause, 'SIZE_EXCEEDED')
      ? ': it is too large to be one'
      : '';
  return new FerryError('CREDENTIALS_UNREADABLE', `credential file \`${path}\` cannot be read${why}`, {
    cause,
  });
}
