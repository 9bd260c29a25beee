import type { CheckReporter } from '../conformance/check-context.js';
import type { Output, OutputFlags } from './output.js';
import { TerminalBar } from './terminal-bar.js';

/** A reporter of `check` for people: a bar on a terminal, nothing elsewhere. `finish` takes the bar away. */
export interface CheckProgress extends CheckReporter {
  finish(): void;
}

/** Makes the reporter that the flags ask for. `what` stands behind the numbers. */
export function createCheckProgress(output: Output, flags: OutputFlags, what = 'checked'): CheckProgress {
  if (flags.quiet === true || output.stderr.isTTY !== true) return { finish: () => undefined };
  const bar = new TerminalBar(output, `{bar} {value}/{total} ${what}`);
  return {
    planned: (total) => {
      bar.start(total);
    },
    checked: () => {
      bar.step();
    },
    finish: () => {
      bar.stop();
    },
  };
}
