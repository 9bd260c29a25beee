import type { FerryErrorCode } from '../errors.js';
import type { Output } from './output.js';

/** What a command gets from the process it runs in. */
export interface CommandContext {
  readonly output: Output;
  readonly environment: NodeJS.ProcessEnv;
  readonly stdin: NodeJS.ReadStream;
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** What to add to an error of that code, since the command knows more of it than the error does. */
  readonly hints: Map<FerryErrorCode, string>;
  /** Sets what the process exits with if nothing throws. */
  readonly setExitCode: (code: number) => void;
}
