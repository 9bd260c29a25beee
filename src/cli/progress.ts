import type { Failure, MirrorReporter } from '../mirror/report.js';
import { PUBLISHED_WORDS } from '../mirror/reports/words.js';
import { count, formatBytes, printable, say, type Output, type OutputFlags } from './output.js';
import { TerminalBar } from './terminal-bar.js';

const BAR_FORMAT = '{bar} {value}/{total} archives, {bytes}  {name}';
const MAX_NAME_WIDTH = 30;

/** A reporter for people: a bar on a terminal, plain lines elsewhere. `finish` takes the bar away. */
export interface Progress extends MirrorReporter {
  finish(): void;
}

/** Makes the reporter that the flags ask for. `verb` says what happens to the archives. */
export function createProgress(output: Output, flags: OutputFlags, verb = 'move'): Progress {
  if (flags.quiet === true) return { finish: () => undefined };
  return output.stderr.isTTY === true && flags.verbose !== true
    ? barProgress(output)
    : lineProgress(output, flags, verb);
}

function lineProgress(output: Output, flags: OutputFlags, verb: string): Progress {
  return {
    planned: ({ archives, bytes }) => {
      const size = bytes === 0 ? '' : `, ${formatBytes(bytes)}`;
      if (archives > 0) say(output, `to ${verb}: ${count(archives, 'archive')}${size}`);
    },
    archive: ({ subdir, filename, bytes, failure }) => {
      // The report at the end names the failures again, so only who wants every line gets them here too.
      if (flags.verbose !== true) return;
      if (failure !== undefined) say(output, failureLine(subdir, failure));
      else say(output, `done: ${subdir}/${filename} (${formatBytes(bytes)})`);
    },
    warning: (message) => {
      say(output, `warning: ${message}`);
    },
    published: (subdir, as) => {
      if (flags.verbose === true || as !== 'kept')
        say(output, `published: ${subdir} (${PUBLISHED_WORDS[as]})`);
    },
    finish: () => undefined,
  };
}

function barProgress(output: Output): Progress {
  const bar = new TerminalBar(output, BAR_FORMAT);
  let bytesDone = 0;
  return {
    planned: ({ archives }) => {
      bar.start(archives, { bytes: formatBytes(0), name: '' });
    },
    archive: ({ filename, bytes, failure }) => {
      if (failure === undefined) bytesDone += bytes;
      bar.step({ bytes: formatBytes(bytesDone), name: printable(filename).slice(0, MAX_NAME_WIDTH) });
    },
    warning: (message) => {
      say(output, `warning: ${message}`);
    },
    finish: () => {
      bar.stop();
    },
  };
}

/** One line on an archive that failed: `failed: noarch/x-1-0.conda: why [CODE]`. */
export function failureLine(subdir: string, failure: Failure): string {
  return `failed: ${subdir}/${failure.filename}: ${failure.message} [${failure.code}]`;
}
