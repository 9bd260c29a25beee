import { connect } from 'node:net';

/** What a client that minds no rules does. */
export interface RawRequest {
  /** What it sends, piece by piece. */
  readonly pieces: readonly Buffer[];
  /** Between two pieces. @defaultValue 0 */
  readonly pauseMs?: number;
  /** What it does when everything is sent. @defaultValue it waits */
  readonly then?: 'wait' | 'half-close' | 'reset';
  /** How many answers it waits for. @defaultValue 1 */
  readonly answers?: number;
  /** Methods of the requests, where answers have no body for it. @defaultValue GET */
  readonly isHead?: boolean;
}

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: Buffer;
}

/** What came of it. */
export interface RawResult {
  readonly answers: readonly RawAnswer[];
  /** How it ended: all answers were there, the server closed, or neither within the time. */
  readonly end: 'answered' | 'closed' | 'hung';
  readonly ms: number;
}

/** Sends bytes as they are over a connection of its own. */
export async function sendRaw(origin: string, request: RawRequest, maxMs = 30_000): Promise<RawResult> {
  const { hostname, port } = new URL(origin);
  const { pieces, pauseMs = 0, then = 'wait', answers: wanted = 1, isHead = false } = request;
  const started = performance.now();
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    const received: Buffer[] = [];
    let answers: RawAnswer[] = [];
    const settle = (end: RawResult['end']): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ answers, end, ms: performance.now() - started });
    };
    const timer = setTimeout(() => {
      settle('hung');
    }, maxMs);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      settle('closed');
    });
    socket.on('end', () => {
      answers = answersIn(Buffer.concat(received), isHead);
      settle('closed');
    });
    socket.on('data', (chunk) => {
      received.push(chunk);
      answers = answersIn(Buffer.concat(received), isHead);
      if (answers.length >= wanted) settle('answered');
    });
    const send = async (): Promise<void> => {
      for (const [index, piece] of pieces.entries()) {
        if (index > 0 && pauseMs > 0) await new Promise((go) => setTimeout(go, pauseMs));
        if (socket.destroyed) return;
        socket.write(piece);
      }
      if (then === 'half-close') socket.end();
      if (then === 'reset') setImmediate(() => socket.resetAndDestroy());
    };
    socket.on('connect', () => void send());
  });
}

/** All answers that are there whole. */
function answersIn(bytes: Buffer, isHead: boolean): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let start = 0; start < bytes.byteLength;) {
    const headEnd = bytes.indexOf('\r\n\r\n', start);
    if (headEnd < 0) break;
    const head = bytes.subarray(start, headEnd).toString('latin1');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? 0);
    const bodyStart = headEnd + 4;
    const length = /^content-length: (\d+)$/im.exec(head)?.[1];
    let end = bodyStart;
    if (status >= 200 && status !== 204 && status !== 304 && !isHead) {
      if (length !== undefined) end = bodyStart + Number(length);
      else if (/^transfer-encoding: chunked$/im.test(head)) {
        const last = bytes.indexOf('0\r\n\r\n', bodyStart);
        if (last < 0) break;
        end = last + 5;
      }
    }
    if (end > bytes.byteLength) break;
    answers.push({ status, head, body: bytes.subarray(bodyStart, end) });
    start = end;
  }
  return answers;
}
