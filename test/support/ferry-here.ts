import { setMaxListeners } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { runCommand } from '#ferry/cli/run-command.js';
import { ROOT, testEnvironment, type FerryOptions, type FerryResult } from './ferry.js';

let turn: Promise<unknown> = Promise.resolve();

/**
 * Runs the command in this process, one run at a time: to start Node takes longer than most commands do. Tests of what
 * needs a process (signals, pipes, a terminal, warnings of Node, several at once) take `runFerry` of `ferry.js`.
 */
export async function runFerry(
  args: readonly string[],
  options: Omit<FerryOptions, 'node'> = {},
): Promise<FerryResult> {
  const result = turn.then(async () => runHere(args, options));
  turn = result.catch(() => undefined);
  return result;
}

async function runHere(
  args: readonly string[],
  { env, cwd = ROOT, input = '' }: Omit<FerryOptions, 'node'>,
): Promise<FerryResult> {
  const before = process.cwd();
  const [stdout, stderr] = [new Heard(), new Heard()];
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  process.chdir(cwd);
  try {
    const code = await runCommand(args, {
      output: { stdout, stderr },
      environment: { ...testEnvironment(), ...env },
      stdin: Readable.from([Buffer.from(input)]) as unknown as NodeJS.ReadStream,
      signal,
    });
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    process.chdir(before);
  }
}

/** Keeps what is written. */
class Heard extends Writable {
  readonly #pieces: Buffer[] = [];

  override _write(piece: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#pieces.push(piece);
    done();
  }

  text(): string {
    return Buffer.concat(this.#pieces).toString();
  }
}
