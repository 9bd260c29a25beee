import { readFile } from 'node:fs/promises';
import { FerryError } from '../errors.js';

/** Reads a text file that the command line names. @throws FerryError `USAGE` where it cannot be read */
export async function readTextFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new FerryError('USAGE', `\`${path}\` cannot be read`, { cause });
  }
}
