/** `queue ui`: binds bull-board to a socket. */
import { once } from 'node:events';
import { hostname } from 'node:os';
import { isIP, isIPv6, type AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { FerryError } from '../errors.js';
import { isLoopback } from '../http/address.js';
import { quietSignal } from '../io/quiet-signal.js';
import { openBoard } from '../queue/board.js';
import type { CommandContext } from './context.js';
import type { ListenAddress } from './listen-address.js';
import { printLine } from './output.js';
import { openQueue, type QueueFlags } from './queue-options.js';
import { listenHint } from './serve-hints.js';

/** Flags of `queue ui`. */
export interface BoardFlags extends QueueFlags {
  readonly listen: ListenAddress;
  readonly allowRemote?: boolean | undefined;
}

/**
 * Serves the board until the command is asked to stop.
 * @throws FerryError `USAGE` for an address that others reach; `LISTEN_FAILED`; as `openQueue`
 */
export async function showBoard(flags: BoardFlags, context: CommandContext): Promise<void> {
  const { host } = flags.listen;
  if (flags.allowRemote !== true && !isLoopback(new URL(`http://${bracketed(host)}/`))) {
    throw new FerryError(
      'USAGE',
      `\`${host}\` can be reached from elsewhere, and the board asks for no password`,
      {
        hint: 'listen on 127.0.0.1, or pass --allow-remote where everybody who reaches it may pause and retry',
      },
    );
  }
  await using queue = await openQueue(flags, context, { allowFull: true });
  let names: ReadonlySet<string> = new Set();
  await using board = openBoard(queue, {
    isHost: (named) => names.has(named) || (flags.allowRemote === true && isAddress(named)),
  });
  // Plain HTTP, so it is no server of the other kinds.
  const server = createAdaptorServer({ fetch: (request) => board.fetch(request) }) as Server;
  const { port } = await listen(server, flags.listen);
  // What is no address of its own but leads here is a name that a site had its server say.
  names = new Set(
    [host, 'localhost', ...(flags.allowRemote === true ? [hostname()] : [])].flatMap((name) => {
      const shown = bracketed(name).toLowerCase();
      return port === 80 ? [shown, `${shown}:80`] : [`${shown}:${String(port)}`];
    }),
  );
  printLine(context.output, `the board is at http://${bracketed(host)}:${String(port)}/`);
  const signal = quietSignal(context.signal);
  if (!signal.aborted) await once(signal, 'abort');
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

async function listen(server: Server, { host, port }: ListenAddress): Promise<AddressInfo> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return server.address() as AddressInfo;
  } catch (cause) {
    const error = new FerryError('LISTEN_FAILED', `cannot listen on \`${host}\`, port ${String(port)}`, {
      cause,
    });
    throw new FerryError('LISTEN_FAILED', error.message, { cause, hint: listenHint(error) });
  }
}

/** Whether a `Host` is a bare address, which no site can have its own name lead to. */
function isAddress(host: string): boolean {
  return isIP(host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')) !== 0;
}

function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}
