import type { Duplex } from 'node:stream';
import type { Connection } from './connection.js';

/**
 * Answers what is no request, and closes its connection.
 * @returns the status; `undefined` where there was nobody to answer
 */
export function refuseUnreadable(
  error: Error,
  socket: Duplex,
  connection: Connection | undefined,
  maxTargetLength: number,
): number | undefined {
  // In the middle of another answer it would be taken for a part of that; and TLS without a session cannot be written to.
  if (connection === undefined || !connection.isIdle || !socket.writable) {
    socket.destroy();
    return undefined;
  }
  const status = statusOf(error, maxTargetLength);
  if (status === undefined) {
    socket.destroy();
    return undefined;
  }
  const [code, reason] = status;
  const head = ['Connection: close', 'Content-Length: 0', 'X-Content-Type-Options: nosniff'].join('\r\n');
  socket.end(`HTTP/1.1 ${String(code)} ${reason}\r\n${head}\r\n\r\n`);
  connection.socket.destroySoon();
  return code;
}

function statusOf(error: Error, maxTargetLength: number): readonly [number, string] | undefined {
  const code = 'code' in error ? String(error.code) : '';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return [408, 'Request Timeout'];
  if (code === 'HPE_HEADER_OVERFLOW') {
    const packet =
      'rawPacket' in error && error.rawPacket instanceof Buffer ? error.rawPacket : Buffer.alloc(0);
    // A request line without an end: it is the URL that is too long.
    const line = packet.subarray(0, maxTargetLength);
    const isLine = /^[A-Z]+ \S+$/.test(line.toString('latin1')) && line.byteLength === maxTargetLength;
    return isLine ? [414, 'URI Too Long'] : [431, 'Request Header Fields Too Large'];
  }
  return code.startsWith('HPE_') ? [400, 'Bad Request'] : undefined;
}
