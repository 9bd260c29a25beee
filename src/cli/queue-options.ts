/** How commands are told which queue they work with; what Redis is spoken to with is loaded only then. */
import { X509Certificate } from 'node:crypto';
import type { Command } from 'commander';
import { FerryError } from '../errors.js';
import type { QueueRedis } from '../queue/queue-redis.js';
import type { CommandContext } from './context.js';
import { readPem } from './network.js';
import { say } from './output.js';

/** Flags that name a queue. */
export interface QueueFlags {
  readonly queue?: string | undefined;
  readonly queueName?: string | undefined;
  readonly queueCaFile?: string | undefined;
  readonly quiet?: boolean | undefined;
}

/** What help says of the variables, for commands that cannot do without a queue. */
export const QUEUE_HELP = `
The queue is --queue, or CONDA_FERRY_QUEUE. Keep the password of Redis out of
the command line, where others on the machine see it: put it into
CONDA_FERRY_QUEUE_PASSWORD. Messages never show it.`;

/** Adds the flags that name a queue. */
export function addQueueOptions(command: Command): Command {
  return command
    .option('--queue <url>', 'its Redis: redis://HOST:6379, or rediss://HOST with TLS')
    .option('--queue-name <name>', 'one of several queues in that Redis (mirror)')
    .option('--queue-ca-file <file>', 'certificate of an authority to trust, for rediss://');
}

/**
 * Opens the queue that the flags name, or the variables `CONDA_FERRY_QUEUE` and `CONDA_FERRY_QUEUE_PASSWORD`.
 * @throws FerryError `USAGE` for flags that name none; `CREDENTIALS_UNREADABLE` for a certificate that cannot be read;
 * `QUEUE_UNREACHABLE`, `QUEUE_REFUSED`, `QUEUE_UNFIT`, and without `allowFull` `QUEUE_FULL`
 */
export async function openQueue(
  flags: QueueFlags,
  { environment, output, signal }: Pick<CommandContext, 'environment' | 'output' | 'signal'>,
  { allowFull = false }: { readonly allowFull?: boolean } = {},
): Promise<QueueRedis> {
  const given = flags.queue ?? (environment['CONDA_FERRY_QUEUE'] || undefined);
  if (given === undefined) {
    throw new FerryError('USAGE', 'no queue is named', {
      hint: 'pass --queue redis://HOST:6379, or set CONDA_FERRY_QUEUE',
    });
  }
  if (flags.queueCaFile !== undefined && !/^(?:rediss|valkeys):/i.test(given))
    throw new FerryError('USAGE', '`--queue-ca-file` goes with a rediss:// URL');
  const ca =
    flags.queueCaFile === undefined
      ? undefined
      : readPem(flags.queueCaFile, (pem) => new X509Certificate(pem));
  const { openQueueRedis } = await import('../queue/queue-redis.js');
  return openQueueRedis({
    url: given,
    name: flags.queueName,
    ca,
    password: environment['CONDA_FERRY_QUEUE_PASSWORD'],
    allowFull,
    signal,
    onTrouble: (message) => {
      if (flags.quiet !== true) say(output, `warning: ${message}`);
    },
  });
}
