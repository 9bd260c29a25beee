import { Option, type Command } from 'commander';
import type { CommandContext } from '../context.js';
import { parseShortDuration } from '../duration.js';
import { parseListen } from '../listen-address.js';
import { addQueueOptions, QUEUE_HELP, type QueueFlags } from '../queue-options.js';
import type { BoardFlags } from '../queue-board.js';
import type { DrainFlags, QueueVerbs, StatusFlags } from '../queue-verbs.js';

const DEFAULT_LISTEN = '127.0.0.1:8001';
const DEFAULT_TIMEOUT = '5m';

/** Adds `queue` with all that is below it. */
export function addQueueCommand(program: Command, context: CommandContext): void {
  const queue = program
    .command('queue')
    .summary('look after a mirror run that workers carry')
    .description('Looks after the run of mirror --queue: how it is, and what to do about it.')
    .addHelpText(
      'after',
      `${QUEUE_HELP}

Examples:
  conda-ferry queue status --queue redis://10.0.0.5:6379
  CONDA_FERRY_QUEUE=redis://10.0.0.5:6379 conda-ferry queue pause`,
    );
  // Loaded on use: no other command has anything to do with queues.
  const verbs = (): Promise<QueueVerbs> => import('../queue-verbs.js');

  add(queue, 'status', 'say how the run is, and what hinders it', examples('status', 'status --json'))
    .description('Says how the run of a queue is: progress, jobs, workers, budgets of registries, failures.')
    .option('--json', 'print it as JSON')
    .action(async (flags: StatusFlags) => (await verbs()).showStatus(flags, context));
  add(queue, 'pause', 'have workers take no more jobs', examples('pause', 'pause --queue-name nightly'))
    .description('Has workers take no more jobs, on all machines; what is under way is finished.')
    .action(async (flags: QueueFlags) => (await verbs()).pause(flags, context));
  add(queue, 'resume', 'have workers take jobs again', examples('resume', 'resume --queue-name nightly'))
    .description('Has workers take jobs again after pause or drain.')
    .action(async (flags: QueueFlags) => (await verbs()).resume(flags, context));
  add(queue, 'drain', 'pause, and wait until nothing is under way', examples('drain', 'drain --timeout 30m'))
    .description('Pauses a queue and waits until nothing is under way, such as before Redis is moved.')
    .addOption(
      new Option('--timeout <time>', 'how long to wait, such as 90s or 1h; exit status 3 then')
        .argParser(parseShortDuration)
        .default(parseShortDuration(DEFAULT_TIMEOUT), DEFAULT_TIMEOUT),
    )
    .action(async (flags: DrainFlags) => (await verbs()).drain(flags, context));
  add(
    queue,
    'cancel',
    'end the run; what is done is published',
    examples('cancel', 'cancel --queue-name nightly'),
  )
    .description(
      'Asks the coordinator to end the run in order: what is done is published. Where nobody coordinates it, the jobs that wait are removed.',
    )
    .action(async (flags: QueueFlags) => (await verbs()).cancel(flags, context));
  add(
    queue,
    'retry-failed',
    'try all that failed again',
    examples('retry-failed', 'retry-failed --queue-name nightly'),
  )
    .description('Has all archives tried again that failed for good and are not reported yet.')
    .action(async (flags: QueueFlags) => (await verbs()).retryAll(flags, context));
  add(queue, 'ui', 'show the jobs in a browser', examples('ui', 'ui --listen 127.0.0.1:9000'))
    .description('Shows the jobs of a queue in a browser, by bull-board, until it is stopped.')
    .addOption(
      new Option('--listen <host:port>', 'address to listen on; port 0 takes a free one')
        .argParser(parseListen)
        .default(parseListen(DEFAULT_LISTEN), DEFAULT_LISTEN),
    )
    .option('--allow-remote', 'let --listen name an address that others can reach')
    .action(async (flags: BoardFlags) => {
      const { showBoard } = await import('../queue-board.js');
      await showBoard(flags, context);
    });
}

function add(queue: Command, name: string, summary: string, help: string): Command {
  const command = queue.command(name).summary(summary).addHelpText('after', help);
  return addQueueOptions(command).option('--quiet', 'say nothing on stderr but errors');
}

/** The end of help; the first example names the queue, the second takes it from the variable. */
function examples(first: string, second: string): string {
  return `${QUEUE_HELP}

Examples:
  conda-ferry queue ${first} --queue redis://10.0.0.5:6379
  CONDA_FERRY_QUEUE=redis://10.0.0.5:6379 \\
    conda-ferry queue ${second} `.trimEnd();
}
