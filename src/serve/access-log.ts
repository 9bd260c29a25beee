import type { Writable } from 'node:stream';
import { redactUrl } from '../io/redact.js';
import type { Answered } from './listen/listen-reporter.js';

/** Options of {@link createAccessLog}. */
export interface AccessLogOptions {
  /** Longest time until a line is written, in milliseconds. @defaultValue 100 */
  readonly flushMs?: number | undefined;
  /** How much may wait for a sink that is slow, in bytes; lines beyond are dropped, and counted. @defaultValue 4 MiB */
  readonly maxBytes?: number | undefined;
}

/** One line of JSON for each request. */
export interface AccessLog {
  write(event: Answered): void;
  /** Lines there was no room for. */
  readonly dropped: number;
  /** Writes what is left. The sink stays open; whoever made it ends it. */
  close(): Promise<void>;
}

const FLUSH_MS = 100;
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_TARGET = 2000;
const MAX_USER_AGENT = 200;

// JSON leaves these as they are, and terminals may obey them, or show the line in another order.
const UNSEEN = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/**
 * Writes a line for each request, without ever making one wait. Shape:
 * `{"time":"2026-01-02T03:04:05.678Z","id":"m1-1","remote":"127.0.0.1","method":"GET","path":"/conda-forge/noarch/repodata.json","status":200,"bytes":81,"ms":1.5,"agent":"conda/25.1","cache":"hit","route":"repodata"}`;
 * `"broken":true` where the client did not get all of it; tokens and credentials are masked. A line
 * `{"time":…,"dropped":3}` tells of lines that are missing before it.
 */
export function createAccessLog(sink: Writable, options: AccessLogOptions = {}): AccessLog {
  const { flushMs = FLUSH_MS, maxBytes = MAX_BYTES } = options;
  let lines: string[] = [];
  let waitingBytes = 0;
  let dropped = 0;
  let droppedTold = 0;
  let timer: NodeJS.Timeout | undefined;
  // A log that cannot be written must not end the service.
  sink.on('error', () => undefined);

  const flush = (done?: () => void): void => {
    clearTimeout(timer);
    timer = undefined;
    if (dropped > droppedTold) {
      lines.push(`${JSON.stringify({ time: new Date().toISOString(), dropped: dropped - droppedTold })}\n`);
      droppedTold = dropped;
    }
    const text = lines.join('');
    lines = [];
    waitingBytes = 0;
    if (!sink.writable) done?.();
    else if (text !== '' || done !== undefined) sink.write(text, () => done?.());
  };

  return {
    write: (event) => {
      const line = formatLine(event);
      if (!sink.writable || sink.writableLength + waitingBytes + line.length > maxBytes) {
        dropped += 1;
        return;
      }
      lines.push(line);
      waitingBytes += line.length;
      timer ??= setTimeout(flush, flushMs).unref();
    },
    get dropped() {
      return dropped;
    },
    close: () =>
      new Promise((resolve) => {
        // A sink that breaks meanwhile calls nobody back.
        sink.once('close', resolve);
        flush(() => {
          sink.off('close', resolve);
          resolve();
        });
      }),
  };
}

function formatLine(event: Answered): string {
  const { id, remote, method, target, status, bytes, ms, userAgent, cache, route, isWhole } = event;
  const line = JSON.stringify({
    time: new Date().toISOString(),
    id,
    remote,
    method,
    path: redactTarget(target),
    status,
    bytes,
    ms: Math.round(ms * 10) / 10,
    agent: userAgent.slice(0, MAX_USER_AGENT),
    cache,
    route,
    ...(isWhole ? {} : { broken: true }),
  });
  return `${line.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}

/** Most targets hold nothing to mask, and parsing a URL is most of the cost of a line. */
function redactTarget(target: string): string {
  if (!/[?@%]|\/t\//i.test(target)) return target.slice(0, MAX_TARGET);
  if (!target.startsWith('/')) return '[url]';
  // What is written `%74/` must not pass for anything else than `t/`.
  const plain = target.replace(/%(?:2f|54|74)/gi, (escape) => decodeURIComponent(escape));
  const redacted = redactUrl(`http://localhost${plain.replace(/\/+t\//gi, '/t/')}`);
  return redacted.replace('http://localhost', '').slice(0, MAX_TARGET);
}
