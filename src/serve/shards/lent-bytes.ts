/**
 * Bytes that pass to another thread in a few buffers, which come back to be filled again: new memory for each piece of a large
 * text would pile up in both threads, since neither collects what it hardly notices.
 */
import type { MessagePort } from 'node:worker_threads';
import { FerryError } from '../../errors.js';
import type { Bytes } from '../../io/bytes.js';
import { sentFailure, type SentFailure } from '../../io/port-bytes.js';

const BUFFERS = 8;
const BUFFER_BYTES = 256 * 1024;

type LentMessage =
  | { readonly kind: 'piece'; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: 'end' }
  | { readonly kind: 'failure'; readonly failure: SentFailure };

/**
 * Sends all bytes as fast as buffers come back, then their end or failure. Ends early, without an error, when the other side
 * has gone.
 * @returns what the source failed with
 */
export async function lendBytes(
  source: Bytes,
  port: MessagePort,
): Promise<{ readonly error: unknown } | undefined> {
  const free = Array.from({ length: BUFFERS }, () => new ArrayBuffer(BUFFER_BYTES));
  let isClosed = false;
  let wake: (() => void) | undefined;
  port.on('message', (buffer: ArrayBuffer) => {
    free.push(buffer);
    wake?.();
  });
  port.on('close', () => {
    isClosed = true;
    wake?.();
  });
  const send = (message: LentMessage, transfer: ArrayBuffer[] = []): void => {
    port.postMessage(message, transfer);
  };
  let filled = 0;
  const lend = (): void => {
    const buffer = free.shift();
    if (buffer !== undefined && filled > 0) send({ kind: 'piece', buffer, length: filled }, [buffer]);
    filled = 0;
  };
  try {
    for await (const chunk of source) {
      for (let rest = chunk; rest.byteLength > 0;) {
        // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the port's events
        while (free.length === 0 && !isClosed) await new Promise<void>((resolve) => (wake = resolve));
        const [buffer] = free;
        // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the port's events
        if (isClosed || buffer === undefined) return undefined;
        const part = rest.subarray(0, BUFFER_BYTES - filled);
        new Uint8Array(buffer).set(part, filled);
        filled += part.byteLength;
        rest = rest.subarray(part.byteLength);
        if (filled === BUFFER_BYTES) lend();
      }
    }
    lend();
    send({ kind: 'end' });
    return undefined;
  } catch (error) {
    send({ kind: 'failure', failure: sentFailure(error) });
    return { error };
  } finally {
    port.close();
  }
}

/**
 * Receives bytes that {@link lendBytes} sends; each piece is good until the next one is taken.
 * @throws FerryError with the code that the source failed with; `INTERNAL` where it has none, or the sender went away
 */
export async function* borrowBytes(port: MessagePort, signal?: AbortSignal): Bytes {
  const messages: LentMessage[] = [];
  let isClosed = false;
  let wake: (() => void) | undefined;
  const stir = (): void => wake?.();
  port.on('message', (message: LentMessage) => {
    messages.push(message);
    stir();
  });
  port.on('close', () => {
    isClosed = true;
    stir();
  });
  signal?.addEventListener('abort', stir, { once: true });
  try {
    for (;;) {
      signal?.throwIfAborted();
      const message = messages.shift();
      if (message === undefined) {
        // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the port's events
        if (isClosed) throw new FerryError('INTERNAL', 'the thread that sends bytes has gone away');
        await new Promise<void>((resolve) => (wake = resolve));
      } else if (message.kind === 'piece') {
        yield new Uint8Array(message.buffer, 0, message.length);
        port.postMessage(message.buffer, [message.buffer]);
      } else if (message.kind === 'failure') {
        throw new FerryError(message.failure.code ?? 'INTERNAL', message.failure.message);
      } else return;
    }
  } finally {
    signal?.removeEventListener('abort', stir);
    port.close();
  }
}
