#!/usr/bin/env node
/** The command `conda-ferry`: the only place that knows the process it runs in. */
import { setMaxListeners } from 'node:events';
import { CommanderError } from 'commander';
import { isFerryError, type FerryErrorCode } from '../errors.js';
import { printError, say } from './output.js';
import { createProgram } from './program.js';

const EXIT_USAGE = 2;
const EXIT_FAILED = 3;
const EXIT_INTERRUPTED = 130;
const USAGE_CODES: ReadonlySet<FerryErrorCode> = new Set([
  'USAGE',
  'CHANNEL_INVALID',
  'REFERENCE_INVALID',
  'MATCH_SPEC_INVALID',
  'LOCK_FILE_INVALID',
]);

const interruption = new AbortController();
// Every transfer under way listens to it.
setMaxListeners(0, interruption.signal);
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // The second time somebody means it.
    if (interruption.signal.aborted) process.exit(EXIT_INTERRUPTED);
    interruption.abort(new Error(`interrupted by ${name}`));
  });
}
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that goes away (`| head`) changes nothing about the work to be done.
    if (error.code === 'EPIPE') return;
    if (stream === process.stdout) process.stderr.write(`error: cannot write the output: ${error.message}\n`);
    process.exit(EXIT_FAILED);
  });
}

const hints = new Map<FerryErrorCode, string>();
const output = { stdout: process.stdout, stderr: process.stderr };
const program = createProgram({
  output,
  environment: process.env,
  stdin: process.stdin,
  signal: interruption.signal,
  hints,
  setExitCode: (code) => {
    process.exitCode = code;
  },
});

try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (interruption.signal.aborted) {
    say(output, 'interrupted; the next run goes on from here');
    return EXIT_INTERRUPTED;
  }
  printError(output, error, { hint: isFerryError(error) ? hints.get(error.code) : undefined });
  if (!isFerryError(error) && error instanceof Error && process.env['CONDA_FERRY_DEBUG'] !== undefined) {
    for (const line of error.stack?.split('\n') ?? []) say(output, line);
  }
  return isFerryError(error) && USAGE_CODES.has(error.code) ? EXIT_USAGE : EXIT_FAILED;
}
