#!/usr/bin/env node
/** The command `conda-ferry`: the only place that knows the process it runs in. */
import { setMaxListeners } from 'node:events';
import { letHeapGrow } from './heap-growth.js';
import { clearFoot } from './output.js';
import { EXIT_FAILED, EXIT_INTERRUPTED, runCommand } from './run-command.js';

letHeapGrow();
const interruption = new AbortController();
// Every transfer under way listens to it.
setMaxListeners(0, interruption.signal);
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // The second time somebody means it.
    if (interruption.signal.aborted) {
      clearFoot(process);
      process.exit(EXIT_INTERRUPTED);
    }
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

process.exitCode = await runCommand(process.argv.slice(2), {
  output: { stdout: process.stdout, stderr: process.stderr },
  environment: process.env,
  stdin: process.stdin,
  signal: interruption.signal,
});
