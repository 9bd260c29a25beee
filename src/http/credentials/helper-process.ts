import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Readable } from 'node:stream';

/** Environment variables, handed down from whoever may read them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a program did. */
export interface ProgramResult {
  /** `undefined` where a signal ended it. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  /** The beginning of what it wrote there. */
  readonly stderr: string;
  /** Why it was killed, if it was. */
  readonly killed: 'time' | 'output' | undefined;
}

/** What to run, and how far it may go. */
export interface ProgramOptions {
  readonly environment: Environment;
  readonly input: string;
  readonly timeoutMs: number;
  /** More on stdout than this and the program is killed. */
  readonly maxOutputBytes: number;
  readonly signal?: AbortSignal | undefined;
}

const MAX_ERROR_BYTES = 8 * 1024;
/** A program may leave a child behind that keeps its pipes open; what it wrote itself is there long before. */
const PIPE_GRACE_MS = 1000;

/**
 * Finds a program on the `PATH` of that environment. Relative folders are passed over: what happens to lie in the
 * current folder must not be handed secrets.
 */
export async function findProgram(name: string, environment: Environment): Promise<string | undefined> {
  const isWindows = process.platform === 'win32';
  const file = isWindows ? `${name}.exe` : name;
  for (const folder of (pathVariable(environment, isWindows) ?? '').split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const path = join(folder, file);
    if (await isProgram(path)) return path;
  }
  return undefined;
}

/**
 * Runs a program without a shell and waits for its end. Only an abort and a program that cannot be started reject.
 * Its output is kept as text, never printed.
 */
export async function runProgram(
  path: string,
  parameters: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  const { signal, timeoutMs } = options;
  signal?.throwIfAborted();
  const child = spawn(path, parameters, {
    env: options.environment,
    stdio: ['pipe', 'pipe', 'pipe'],
    shell: false,
    windowsHide: true,
  });
  let killed: ProgramResult['killed'];
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => {
    killed ??= 'time';
    kill();
  }, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const stdout = gather(child.stdout, options.maxOutputBytes, () => {
      killed ??= 'output';
      kill();
    });
    const stderr = gather(child.stderr, MAX_ERROR_BYTES);
    // A program that ends without reading its input breaks the pipe, which is its right.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input);
    const exitCode = await ended(child);
    signal?.throwIfAborted();
    return { exitCode, stdout: stdout(), stderr: stderr(), killed };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}

/** Waits until the program has ended and its output is read. */
async function ended(child: ChildProcess): Promise<number | undefined> {
  const closed = once(child, 'close');
  // Failing to start rejects both of them; only one is waited for.
  closed.catch(() => undefined);
  const [code] = (await once(child, 'exit')) as [number | null];
  let grace: NodeJS.Timeout | undefined;
  await Promise.race([closed, new Promise((resolve) => (grace = setTimeout(resolve, PIPE_GRACE_MS)))]);
  clearTimeout(grace);
  child.stdout?.destroy();
  child.stderr?.destroy();
  return code ?? undefined;
}

/** Keeps the first `maxBytes` of a stream, reading the rest for nothing; `overflow` is told that there is a rest. */
function gather(stream: Readable, maxBytes: number, overflow?: () => void): () => string {
  const chunks: Buffer[] = [];
  let room = maxBytes;
  stream.on('data', (chunk: Buffer) => {
    if (chunk.length > room) overflow?.();
    if (room > 0) chunks.push(chunk.subarray(0, room));
    room -= Math.min(room, chunk.length);
  });
  stream.on('error', () => undefined);
  return () => Buffer.concat(chunks).toString('utf8');
}

function pathVariable(environment: Environment, isWindows: boolean): string | undefined {
  if (!isWindows) return environment['PATH'];
  // There the name is written in any case, and a plain record does not know.
  return Object.entries(environment).find(([name]) => name.toUpperCase() === 'PATH')?.[1];
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
