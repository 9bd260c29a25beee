import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { FerryError } from '../errors.js';
import { createAccessControl, type AccessControl } from '../serve/access-control.js';
import { createAccessLog, type AccessLog } from '../serve/access-log.js';
import type { Output } from './output.js';
import { readTextFile } from './text-file.js';

/** Files that `serve` is told of. */
export interface ServeFiles {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly userFile?: string;
  readonly tokenFile?: string;
}

/** Reads certificate and key, if there are any. @throws FerryError `USAGE` */
export async function readTls({
  tlsCert,
  tlsKey,
}: ServeFiles): Promise<{ readonly cert: string; readonly key: string } | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new FerryError('USAGE', '`--tls-cert` and `--tls-key` belong together', {
      hint: 'pass the certificate with its chain, and its key; both as PEM files',
    });
  return { cert: await readTextFile(tlsCert), key: await readTextFile(tlsKey) };
}

/** Reads who is let in; `undefined` where everybody is. @throws FerryError `USAGE`, without what stands in the files */
export async function readAccessControl({
  userFile,
  tokenFile,
}: ServeFiles): Promise<AccessControl | undefined> {
  if (userFile === undefined && tokenFile === undefined) return undefined;
  const users = userFile === undefined ? [] : await readLines(userFile);
  const tokens = tokenFile === undefined ? [] : await readLines(tokenFile);
  const basic = users.map((line, index) => {
    const colon = line.indexOf(':');
    if (colon < 1 || colon === line.length - 1)
      throw new FerryError(
        'USAGE',
        `entry ${String(index + 1)} of \`${userFile ?? ''}\` is not name:password`,
        { hint: 'write one entry a line; lines that begin with # are skipped' },
      );
    return { username: line.slice(0, colon), password: line.slice(colon + 1) };
  });
  const odd = tokens.findIndex((token) => !/^[\w.~+/=-]+$/.test(token));
  if (odd >= 0)
    throw new FerryError('USAGE', `entry ${String(odd + 1)} of \`${tokenFile ?? ''}\` is no token`, {
      hint: 'write one a line, of letters, digits and -._~+/=',
    });
  return createAccessControl({ basic, tokens });
}

/** A log that is written out and closed when it is disposed of. */
export interface OpenAccessLog extends AccessLog, AsyncDisposable {}

/**
 * Opens the access log, if there is to be one.
 * @param file `-` for stderr
 * @throws FerryError `OUTPUT_UNWRITABLE`
 */
export async function openAccessLog(
  file: string | undefined,
  { stderr }: Output,
): Promise<OpenAccessLog | undefined> {
  if (file === undefined) return undefined;
  const sink = file === '-' ? stderr : createWriteStream(file, { flags: 'a', mode: 0o640 });
  if (sink !== stderr) {
    await new Promise<void>((resolve, reject) => {
      sink.once('ready', resolve);
      sink.once('error', (cause: unknown) => {
        reject(new FerryError('OUTPUT_UNWRITABLE', `\`${file}\` cannot be written`, { cause }));
      });
    });
  }
  const log = createAccessLog(sink);
  return {
    write: (event) => {
      log.write(event);
    },
    get dropped() {
      return log.dropped;
    },
    close: () => log.close(),
    [Symbol.asyncDispose]: async () => {
      await log.close();
      if (sink === stderr) return;
      sink.end();
      await finished(sink).catch(() => undefined);
    },
  };
}

/** Lines that say something; those with a `#` in front say nothing. @throws FerryError `USAGE` where there are none */
async function readLines(file: string): Promise<readonly string[]> {
  const lines = (await readTextFile(file))
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
  if (lines.length === 0)
    throw new FerryError('USAGE', `\`${file}\` lets nobody in`, { hint: 'write one entry a line' });
  return lines;
}
