import { readFile } from 'node:fs/promises';
import { FerryError } from '../errors.js';
import type { CommandContext } from './context.js';
import type { ConnectionFlags } from './options.js';

/** Stands for stdin where a file is named. */
export const STDIN = '-';
const MAX_LIST_CHARACTERS = 64 * 1024 * 1024;

/** Makes sure that stdin is asked for one thing only. @throws FerryError `USAGE` */
export function checkStdin(
  paths: readonly (string | undefined)[],
  { passwordStdin = false }: Pick<ConnectionFlags, 'passwordStdin'>,
): void {
  const lists = paths.filter((path) => path === STDIN).length;
  if (lists > 1) throw new FerryError('USAGE', '`-` stands for stdin, which can be read once');
  if (lists === 0 || !passwordStdin) return;
  throw new FerryError('USAGE', '`-` and `--password-stdin` both read stdin', {
    hint: 'log in first with conda-ferry login, or put the list into a file',
  });
}

/** Reads a text file that the command line names. @throws FerryError `USAGE` where it cannot be read */
export async function readTextFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new FerryError('USAGE', `\`${path}\` cannot be read`, { cause });
  }
}

/** Reads the lines of a text file, or of stdin for `-`, without empty ones. @throws FerryError `USAGE` where that cannot be read */
export async function readLines(
  path: string,
  { stdin }: Pick<CommandContext, 'stdin'>,
): Promise<readonly string[]> {
  const text = path === STDIN ? await readStdin(stdin) : await readTextFile(path);
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

async function readStdin(stdin: CommandContext['stdin']): Promise<string> {
  if (stdin.isTTY) throw new FerryError('USAGE', '`-` reads a list from stdin, which is a terminal');
  let text = '';
  stdin.setEncoding('utf8');
  for await (const chunk of stdin as AsyncIterable<string>) {
    text += chunk;
    if (text.length > MAX_LIST_CHARACTERS) throw new FerryError('USAGE', 'the list on stdin is too long');
  }
  return text;
}
