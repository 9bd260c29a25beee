import { CommanderError } from 'commander';
import { isFerryError, type FerryErrorCode } from '../errors.js';
import type { CommandContext } from './context.js';
import { printError, say } from './output.js';
import { createProgram } from './program.js';

const EXIT_USAGE = 2;
export const EXIT_FAILED = 3;
export const EXIT_INTERRUPTED = 130;
const USAGE_CODES: ReadonlySet<FerryErrorCode> = new Set([
  'USAGE',
  'CHANNEL_INVALID',
  'REFERENCE_INVALID',
  'MATCH_SPEC_INVALID',
  'LOCK_FILE_INVALID',
]);

/** Commands whose next run takes up what one left. */
const GOES_ON: ReadonlySet<string> = new Set(['mirror', 'migrate', 'pull']);

/** Runs one command line, such as `['list', './channel']`, and gives the exit code; what fails is said on stderr. */
export async function runCommand(
  args: readonly string[],
  context: Omit<CommandContext, 'hints' | 'setExitCode'>,
): Promise<number> {
  const hints: CommandContext['hints'] = new Map();
  let exitCode = 0;
  const setExitCode = (code: number): void => {
    exitCode = code;
  };
  try {
    await createProgram({ ...context, hints, setExitCode }).parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return exitCodeOf(error, { ...context, hints, goesOn: GOES_ON.has(args[0] ?? '') });
  }
}

function exitCodeOf(
  error: unknown,
  {
    output,
    environment,
    signal,
    hints,
    goesOn,
  }: Omit<CommandContext, 'setExitCode' | 'stdin'> & { readonly goesOn: boolean },
): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (signal.aborted) {
    say(output, goesOn ? 'interrupted; the next run goes on from here' : 'interrupted');
    return EXIT_INTERRUPTED;
  }
  printError(output, error, { hint: isFerryError(error) ? hints.get(error.code) : undefined });
  if (!isFerryError(error) && error instanceof Error && environment['CONDA_FERRY_DEBUG'] !== undefined) {
    for (const line of error.stack?.split('\n') ?? []) say(output, line);
  }
  return isFerryError(error) && USAGE_CODES.has(error.code) ? EXIT_USAGE : EXIT_FAILED;
}
