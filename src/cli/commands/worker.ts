import type { Command } from 'commander';
import { DEFAULT_CONCURRENCY } from '../../mirror/mirror.js';
import type { CommandContext } from '../context.js';
import { addConnectionOptions, parseConcurrency, parseSeconds, parseTempLimit } from '../options.js';
import { addQueueOptions, QUEUE_HELP } from '../queue-options.js';
import type { WorkerFlags } from '../take-part.js';

/** Adds `worker`. */
export function addWorkerCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('worker')
    .summary('carry archives of mirror runs that others coordinate')
    .description(
      'Takes part in every run of mirror --queue, on any machine, until it is stopped. What source and destination are, the run says; credentials for them are those of this machine.',
    );
  addQueueOptions(command)
    .option('--concurrency <n>', 'archives under way at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--until-done', 'end with the run instead of waiting for the next one')
    .option('--temp-dir <dir>', 'where large archives lie while they pass through')
    .option(
      '--temp-limit <size>',
      'room for archives there at once, such as 20GB; without it, half of what is free',
      parseTempLimit,
    )
    .option('--stop-grace <seconds>', 'what is under way may take so long after SIGTERM (30)', parseSeconds)
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'say what happens to each archive')
    .addHelpText(
      'after',
      `${QUEUE_HELP}

Exit status: 0 the run is done (--until-done), 3 it cannot go on, 130 stopped.
After SIGTERM or SIGINT what is under way is finished, and the rest handed back
to the others; a second signal ends it at once, and the others take over.

Examples:
  conda-ferry worker --queue redis://10.0.0.5:6379
  CONDA_FERRY_QUEUE=rediss://redis.example.org conda-ferry worker --until-done`,
    )
    .action(async (flags: WorkerFlags) => {
      // Loaded on use: no other command has anything to do with queues.
      const { takePart } = await import('../take-part.js');
      await takePart(flags, context);
    });
  addConnectionOptions(command);
}
