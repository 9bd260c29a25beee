import type { Writable } from 'node:stream';
import { ZodError } from 'zod';
import { isFerryError } from '../errors.js';

export { formatBytes } from '../io/figures.js';

/** As Node writes it: `ENOTDIR: not a directory, lstat './file/x'`. */
const SYSTEM_ERROR = /^(?<code>E[A-Z\d]+): (?<why>.+), \w+ '(?<path>[^']+)'$/;

/** How much a command says. */
export interface OutputFlags {
  readonly json?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly verbose?: boolean | undefined;
}

/** Where a command writes: data to stdout, talk to stderr. */
export interface Output {
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
}

/** Writes one line of data. */
export function printLine(output: Output, line = ''): void {
  output.stdout.write(`${printable(line)}\n`);
}

/** Writes the one JSON document of a command with `--json`. */
export function printJson(output: Output, document: unknown): void {
  output.stdout.write(`${JSON.stringify(document, jsonValue, 2)}\n`);
}

/** What stands at the foot of a terminal, below all that is said: a progress bar. */
export interface Foot {
  hide(): void;
  show(): void;
}

const feet = new WeakMap<Output['stderr'], Foot>();

/** Keeps something at the foot of the terminal; `undefined` where it is gone. */
export function setFoot({ stderr }: Output, foot: Foot | undefined): void {
  if (foot === undefined) feet.delete(stderr);
  else feet.set(stderr, foot);
}

/** Takes away what stands at the foot, and gives the terminal its cursor back, before the process ends early. */
export function clearFoot({ stderr }: Pick<Output, 'stderr'>): void {
  feet.get(stderr)?.hide();
  feet.delete(stderr);
}

/** Writes one line of talk. */
export function say({ stderr }: Output, line: string): void {
  const foot = feet.get(stderr);
  foot?.hide();
  stderr.write(`${printable(line)}\n`);
  foot?.show();
}

/** What {@link printError} adds to an error. */
export interface ErrorContext {
  /** Names what it concerns, where the error itself does not. */
  readonly about?: string | undefined;
  /** Another hint. */
  readonly hint?: string | undefined;
}

/** Writes an error with its causes, then the hints of all of them. */
export function printError(output: Output, error: unknown, { about, hint }: ErrorContext = {}): void {
  let said = describeError(error);
  say(output, `error: ${about === undefined ? '' : `${about}: `}${said}`);
  const hints = new Set([hintOf(error)]);
  let above = error;
  for (let cause = causeOf(error); cause !== undefined; cause = causeOf(cause)) {
    const why = describeError(cause, above);
    // Some layers say all that the one below said.
    if (!said.includes(why)) say(output, `  because: ${why}`);
    [said, above] = [why, cause];
    hints.add(hintOf(cause));
  }
  hints.add(hint);
  const known = [...hints].filter((text) => text !== undefined);
  if (known.length > 0) say(output, '');
  for (const text of known) say(output, `hint: ${text}`);
}

/** Aligns columns; the last one is not padded. Columns named in `right` are right-aligned. */
export function formatTable(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => {
        if (right.includes(i)) return cell.padStart(widths[i] ?? 0);
        return i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0);
      })
      .join('  ')
      .trimEnd(),
  );
}

/** `1 archive`, `2 archives`. */
export function count(number: number, noun: string): string {
  return `${String(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** A code that was said of the error `above` is not said again. */
function describeError(error: unknown, above?: unknown): string {
  if (isFerryError(error)) {
    return isFerryError(above, error.code) ? error.message : `${error.message} [${error.code}]`;
  }
  if (error instanceof ZodError) return describeIssue(error);
  const message = error instanceof Error ? error.message : String(error);
  // Nobody knows the temporary file that is renamed in the end. Some libraries write documents into their messages.
  const line = message.replace(/[/\\]\.tmp-[\da-f-]{36}(?=')/, '').split('\n', 1)[0] ?? '';
  // In front of what a user is told first stands what is wrong, not what the system calls it.
  const { code, why, path } = above === undefined ? (SYSTEM_ERROR.exec(line)?.groups ?? {}) : {};
  return code === undefined || path === undefined
    ? line.replace(/:$/, '')
    : `\`${path}\`: ${why ?? ''} [${code}]`;
}

/** The first fault of a document, such as `` `plan_version`: Invalid input: expected 1 ``. */
function describeIssue({ issues: [issue] }: ZodError): string {
  if (issue === undefined) return 'unknown fault';
  return issue.path.length === 0 ? issue.message : `\`${issue.path.join('.')}\`: ${issue.message}`;
}

function hintOf(error: unknown): string | undefined {
  return isFerryError(error) ? error.hint : undefined;
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

function jsonValue(_key: string, value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(value);
  return value instanceof Set ? [...value] : value;
}

/** Names come from channels and registries: what would steer the terminal is shown as its number instead. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
