import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Delivery } from './send-response.js';

/** A request that waits for its turn. */
export interface Turn {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/**
 * One client's connection. Its requests are answered one after the other: Node hands out as many as are in the packet, and
 * whoever sends a thousand at once would have a thousand files opened.
 */
export class Connection {
  readonly socket: Socket;
  readonly remote: string;
  /** The answer that is under way. */
  delivery: Delivery | undefined;
  isBusy = false;
  readonly waiting: Turn[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    // Asked for now: a socket that is gone does not know it any more.
    this.remote = socket.remoteAddress ?? '';
  }

  /** Whether no request is being answered. */
  get isIdle(): boolean {
    return !this.isBusy && this.waiting.length === 0;
  }

  /** Whether an answer is awaited that the client can do nothing about. */
  get isWaitingForUs(): boolean {
    return this.isBusy && this.delivery?.isWaiting !== true;
  }

  /** Tells the answer under way that there is nobody left. */
  end(): void {
    this.waiting.length = 0;
    const outgoing = this.delivery?.outgoing;
    // An answer whose turn on the wire has not come is not told by Node.
    if (outgoing === undefined || outgoing.socket !== null) return;
    outgoing.destroy();
    outgoing.emit('close');
  }
}
