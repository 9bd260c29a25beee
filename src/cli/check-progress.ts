import { SingleBar } from 'cli-progress';
import type { CheckReporter } from '../conformance/check-context.js';
import type { Output, OutputFlags } from './output.js';

/** A reporter of `check` for people: a bar on a terminal, nothing elsewhere. `finish` takes the bar away. */
export interface CheckProgress extends CheckReporter {
  finish(): void;
}

/** Makes the reporter that the flags ask for. */
export function createCheckProgress(output: Output, flags: OutputFlags): CheckProgress {
  if (flags.quiet === true || output.stderr.isTTY !== true) return { finish: () => undefined };
  const bar = new SingleBar({
    format: '{bar} {value}/{total} checked',
    stream: output.stderr,
    clearOnComplete: true,
    hideCursor: true,
    barsize: 24,
  });
  let active = false;
  return {
    planned: (total) => {
      if (active) bar.setTotal(total);
      else if (total > 0) bar.start(total, 0);
      active ||= total > 0;
    },
    checked: () => {
      if (active) bar.increment();
    },
    finish: () => {
      if (active) bar.stop();
      active = false;
    },
  };
}
