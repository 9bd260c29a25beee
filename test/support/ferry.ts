import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** The repository's root. */
export const ROOT = join(import.meta.dirname, '..', '..');
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
/** What a program needs to run at all. */
const KEPT_VARIABLES = ['PATH', 'TMPDIR', 'TEMP', 'TMP', 'SystemRoot', 'NODE_OPTIONS', 'NODE_V8_COVERAGE'];

/** How a command ended. */
export interface FerryResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link runFerry}. */
export interface FerryOptions {
  /** Added to {@link testEnvironment}. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Program to run it with. @defaultValue this Node */
  readonly node?: readonly string[];
  /** What it finds on stdin. @defaultValue nothing */
  readonly input?: string | undefined;
}

let emptyHome: string | undefined;

/**
 * An environment in which nothing of this machine's user shows: no credentials, proxies or certificates. `home` is an
 * empty folder unless the test has one of its own.
 */
export function testEnvironment(home?: string): Record<string, string> {
  const kept = KEPT_VARIABLES.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const folder = home ?? (emptyHome ??= makeEmptyHome());
  return {
    ...Object.fromEntries(kept),
    HOME: folder,
    // Without it, Podman's file would be looked for outside of HOME.
    XDG_RUNTIME_DIR: join(folder, 'run'),
    NO_COLOR: '1',
  };
}

/** Runs the built command as a process of its own. */
export async function runFerry(args: readonly string[], options: FerryOptions = {}): Promise<FerryResult> {
  const [program = process.execPath, ...first] = options.node ?? [process.execPath];
  const child = spawn(program, [...first, MAIN, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...testEnvironment(), ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // A command that ends without reading it is within its rights.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  if (child.signalCode !== null) throw new Error(`the command was ended by ${child.signalCode}: ${stderr}`);
  return { code: child.exitCode, stdout, stderr };
}

function makeEmptyHome(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-home-'));
  process.once('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
