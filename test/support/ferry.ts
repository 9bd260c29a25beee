import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** The repository's root. */
export const ROOT = join(import.meta.dirname, '..', '..');
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

/** How a command ended. */
export interface FerryResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link runFerry}. */
export interface FerryOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What it reads from stdin. @defaultValue nothing */
  readonly stdin?: string;
  /** Program to run it with. @defaultValue this Node */
  readonly node?: readonly string[];
}

/** Runs the built command as a process of its own. */
export async function runFerry(args: readonly string[], options: FerryOptions = {}): Promise<FerryResult> {
  const [program = process.execPath, ...first] = options.node ?? [process.execPath];
  const child = spawn(program, [...first, MAIN, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    stdio: 'pipe',
  });
  child.stdin.end(options.stdin);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  if (child.signalCode !== null) throw new Error(`the command was ended by ${child.signalCode}: ${stderr}`);
  return { code: child.exitCode, stdout, stderr };
}
