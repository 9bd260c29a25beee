import { join } from 'node:path';
import { FerryError } from '../../errors.js';
import type { Credential } from './credential.js';
import type { Environment } from './helper-process.js';

/** One `machine` of a netrc file. */
export interface NetrcEntry {
  /** Host name in lower case; `undefined` for `default`. */
  readonly machine: string | undefined;
  readonly login: string | undefined;
  readonly password: string | undefined;
}

/** Where netrc is: `$NETRC`, else `~/.netrc` (`~/_netrc` on Windows). */
export function netrcPath(environment: Environment, home: string): string {
  return environment['NETRC'] || join(home, process.platform === 'win32' ? '_netrc' : '.netrc');
}

/**
 * Parses a netrc file such as `machine conda.example login me password "top secret"`: words set apart by blanks or
 * lines, a backslash or quotes around what holds blanks, `#` where a keyword could stand up to the end of the line,
 * `macdef` up to an empty line. `name` is for messages, which say the line and never a word of the file.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 * @see Python's `netrc` module, by which conda reads it
 */
export function parseNetrc(source: string, name: string): readonly NetrcEntry[] {
  const words = new Words(source, name);
  const entries: NetrcEntry[] = [];
  let current: { -readonly [K in keyof NetrcEntry]: NetrcEntry[K] } | undefined;
  for (let keyword = words.next(); keyword !== undefined; keyword = words.next()) {
    switch (keyword) {
      case 'machine':
      case 'default': {
        const machine = keyword === 'default' ? undefined : words.value().toLowerCase();
        current = { machine, login: undefined, password: undefined };
        entries.push(current);
        break;
      }
      case 'login':
      case 'user':
      case 'account':
      case 'password': {
        if (current === undefined) throw words.error('has a word before the first `machine`');
        const value = words.value();
        if (keyword === 'password') current.password = value;
        else if (keyword !== 'account') current.login = value;
        break;
      }
      case 'macdef':
        words.skipMacro();
        break;
      default:
        if (!keyword.startsWith('#')) throw words.error('has a word that is no keyword');
        words.skipComment();
    }
  }
  return entries;
}

/** The credential of a host such as `conda.example`: of its last `machine`, else of `default`. */
export function findInNetrc(entries: readonly NetrcEntry[], host: string): Credential | undefined {
  const name = host.toLowerCase();
  // The last, as conda has it, though curl takes the first.
  const entry =
    entries.findLast(({ machine }) => machine === name) ??
    entries.findLast(({ machine }) => machine === undefined);
  if (entry?.password === undefined) return undefined;
  return { kind: 'basic', username: entry.login ?? '', password: entry.password };
}

/** The words of a file, one after the other. */
class Words {
  readonly #source: string;
  readonly #name: string;
  #position = 0;
  /** Where the last word began. */
  #start = 0;

  constructor(source: string, name: string) {
    this.#source = source;
    this.#name = name;
  }

  next(): string | undefined {
    while (/\s/.test(this.#peek())) this.#position += 1;
    this.#start = this.#position;
    if (this.#peek() === '') return undefined;
    const isQuoted = this.#peek() === '"';
    if (isQuoted) this.#position += 1;
    let word = '';
    for (;;) {
      let character = this.#take();
      if (isQuoted ? character === '"' : /^\s?$/.test(character)) break;
      if (character === '\\') character = this.#take();
      if (isQuoted && /^[\r\n]?$/.test(character)) throw this.error('has a quote without end');
      word += character;
    }
    // A blank belongs to no word, and the line that it ends may be a comment's.
    if (!isQuoted && this.#position <= this.#source.length) this.#position -= 1;
    return word;
  }

  value(): string {
    const word = this.next();
    if (word === undefined) throw this.error('ends after a keyword');
    return word;
  }

  skipComment(): void {
    this.#position = this.#start;
    while (!/^\n?$/.test(this.#peek())) this.#position += 1;
  }

  skipMacro(): void {
    this.value();
    const end = /\n[ \t\r]*\n/g;
    end.lastIndex = this.#position;
    this.#position = end.exec(this.#source) === null ? this.#source.length : end.lastIndex;
  }

  error(what: string): FerryError {
    const line = String(this.#source.slice(0, this.#start).split('\n').length);
    return new FerryError('CREDENTIALS_UNREADABLE', `netrc file \`${this.#name}\` ${what}, line ${line}`);
  }

  #peek(): string {
    return this.#source.charAt(this.#position);
  }

  #take(): string {
    const character = this.#peek();
    this.#position += 1;
    return character;
  }
}
