/**
 * Bytes between threads: pieces go over a message port, their memory moved and not copied, and only as many are under way as
 * the receiver has asked for.
 */
import type { MessagePort } from 'node:worker_threads';
import { FerryError, isFerryError, type FerryErrorCode } from '../errors.js';
import type { Bytes } from './bytes.js';

/** Pieces that may be under way: enough that neither side waits for the other's event loop. */
const PIECES_UNDER_WAY = 16;
/** Pieces are asked for in batches, since each message wakes the other thread. */
const BATCH = PIECES_UNDER_WAY / 2;

/** Copied pieces are sent together up to this size, for the same reason; those of a socket are small. */
const GATHERED_BYTES = 256 * 1024;

/** What is left of an error that crosses between threads, where it would lose its class. */
export interface SentFailure {
  readonly code: FerryErrorCode | undefined;
  readonly message: string;
}

/** An error as it crosses between threads. */
export function sentFailure(error: unknown): SentFailure {
  if (!(error instanceof Error)) return { code: undefined, message: String(error) };
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return { code: isFerryError(error) ? error.code : undefined, message: `${error.message}${cause}` };
}

/** From the sender. */
type PieceMessage =
  | { readonly kind: 'piece'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' }
  | { readonly kind: 'failure'; readonly failure: SentFailure };

/** From the receiver: so many more pieces are wanted. */
interface CreditMessage {
  readonly more: number;
}

/**
 * Sends all bytes as they are asked for, then their end or failure. Ends early, without an error, when the receiver wants
 * no more.
 * @param ownsPieces whether the pieces' memory may be given away; otherwise they are copied
 * @returns what the source failed with
 */
export async function sendBytes(
  source: Bytes,
  port: MessagePort,
  ownsPieces: boolean,
): Promise<{ readonly error: unknown } | undefined> {
  let credit = 0;
  let isClosed = false;
  let wake: (() => void) | undefined;
  port.on('message', ({ more }: CreditMessage) => {
    credit += more;
    wake?.();
  });
  port.on('close', () => {
    isClosed = true;
    wake?.();
  });
  try {
    for await (const piece of ownsPieces ? source : gather(source)) {
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the port's events
      while (credit === 0 && !isClosed) await new Promise<void>((resolve) => (wake = resolve));
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the port's events
      if (isClosed) return undefined;
      credit -= 1;
      const isWhole = piece.byteLength === piece.buffer.byteLength && piece.buffer instanceof ArrayBuffer;
      const bytes = isWhole ? piece : new Uint8Array(piece);
      port.postMessage({ kind: 'piece', bytes } satisfies PieceMessage, [bytes.buffer as ArrayBuffer]);
    }
    port.postMessage({ kind: 'end' } satisfies PieceMessage);
    return undefined;
  } catch (error) {
    port.postMessage({ kind: 'failure', failure: sentFailure(error) } satisfies PieceMessage);
    return { error };
  } finally {
    port.close();
  }
}

/** Copies all bytes into pieces of {@link GATHERED_BYTES}, which nobody else has. */
async function* gather(source: Bytes): Bytes {
  let gathered = new Uint8Array(GATHERED_BYTES);
  let used = 0;
  for await (const piece of source) {
    for (let rest = piece; rest.byteLength > 0;) {
      const part = rest.subarray(0, GATHERED_BYTES - used);
      gathered.set(part, used);
      used += part.byteLength;
      rest = rest.subarray(part.byteLength);
      if (used < GATHERED_BYTES) continue;
      yield gathered;
      gathered = new Uint8Array(GATHERED_BYTES);
      used = 0;
    }
  }
  if (used > 0) yield gathered.slice(0, used);
}

/**
 * Receives bytes that {@link sendBytes} sends. Leaving early closes the port.
 * @throws FerryError with the code that the sender failed with; `INTERNAL` where it has no code, or went away
 */
export async function* receiveBytes(
  port: MessagePort,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const messages: PieceMessage[] = [];
  let isClosed = false;
  let wake: (() => void) | undefined;
  const stir = (): void => wake?.();
  port.on('message', (message: PieceMessage) => {
    messages.push(message);
    stir();
  });
  port.on('close', () => {
    isClosed = true;
    stir();
  });
  signal?.addEventListener('abort', stir, { once: true });
  let taken = 0;
  try {
    port.postMessage({ more: PIECES_UNDER_WAY } satisfies CreditMessage);
    for (;;) {
      signal?.throwIfAborted();
      const message = messages.shift();
      if (message === undefined) {
        // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the port's events
        if (isClosed) throw new FerryError('INTERNAL', 'the thread that sends bytes has gone away');
        await new Promise<void>((resolve) => (wake = resolve));
      } else if (message.kind === 'piece') {
        taken += 1;
        if (taken % BATCH === 0) port.postMessage({ more: BATCH } satisfies CreditMessage);
        yield message.bytes;
      } else if (message.kind === 'failure') {
        throw new FerryError(message.failure.code ?? 'INTERNAL', message.failure.message);
      } else return;
    }
  } finally {
    signal?.removeEventListener('abort', stir);
    port.close();
  }
}
