import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A connection on which anything can be sent. */
export interface RawClient {
  readonly socket: Socket;
  send(text: string): void;
  /** Everything that came until the server closed the connection. */
  ended(): Promise<string>;
  /** Waits until that much text has come. */
  received(pattern: RegExp): Promise<string>;
}

/** Connects to `http://127.0.0.1:8000`; the connection goes away with the test. */
export async function connectRaw(url: string): Promise<RawClient> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = '';
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      resolve();
    }),
  );
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    text += chunk;
  });
  onTestFinished(() => {
    socket.destroy();
  });
  return {
    socket,
    send: (data) => {
      socket.write(data, 'latin1');
    },
    ended: async () => {
      await closed;
      return text;
    },
    received: async (pattern) => {
      while (!pattern.test(text)) {
        if (socket.destroyed)
          throw new Error(`the connection ended after ${JSON.stringify(text.slice(0, 500))}`);
        await Promise.race([once(socket, 'data'), closed]);
      }
      return text;
    },
  };
}
