import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { peer } from '../peers.js';
import { registryFolder } from './distribution.js';
import { startServer, type StartedRegistry } from './server-process.js';

/** Options of {@link startOlareg}. */
export interface OlaregOptions {
  /** `dir` keeps one OCI image layout for each repository. @defaultValue 'memory' */
  readonly store?: 'memory' | 'dir';
}

/** Starts olareg, a small registry that follows distribution-spec 1.1: referrers, pages of tags, ranges of chunks. */
export async function startOlareg(options: OlaregOptions = {}): Promise<StartedRegistry> {
  const program = peer('olareg');
  const folder = await registryFolder();
  const root = join(folder, 'data');
  await mkdir(root);
  const store = options.store === 'dir' ? ['--store-type', 'dir', '--dir', root] : ['--store-type', 'mem'];
  // Its garbage collection takes what has no tag; tests look at just that.
  const rules = ['--api-delete', '--api-blob-delete', '--gc-frequency', '-1s'];
  return startServer({
    what: 'olareg',
    folder,
    command: (_, port) =>
      Promise.resolve([
        program,
        'serve',
        ...['--addr', '127.0.0.1', '--port', String(port), ...store, ...rules, '--verbosity', 'trace'],
      ]),
    toLogLine,
  });
}

/** `… msg=ServeHTTP … method=GET url=/v2/ status=200 …` as other registries write it. */
function toLogLine(line: string): string {
  const [, method, url, status] = / method=(\w+) url="?([^ "]+)"? status=(\d+)/.exec(line) ?? [];
  return status === undefined ? line : `127.0.0.1 "${method ?? ''} ${url ?? ''} HTTP/1.1" ${status}`;
}
