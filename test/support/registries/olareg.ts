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

/** An olareg whose image layouts others may read. */
export interface OlaregFolder extends StartedRegistry {
  readonly rootFolder: string;
}

/** Starts olareg, a small registry that follows distribution-spec 1.1: referrers, pages of tags, ranges of chunks. */
export async function startOlareg(options: OlaregOptions = {}): Promise<OlaregFolder> {
  const folder = await registryFolder();
  const rootFolder = join(folder, 'data');
  await mkdir(rootFolder);
  const store =
    options.store === 'dir' ? ['--store-type', 'dir', '--dir', rootFolder] : ['--store-type', 'mem'];
  return { ...(await start(folder, [...store, '--api-delete', '--api-blob-delete'])), rootFolder };
}

/** Starts olareg on a folder of OCI image layouts, one for each repository, to be read only. */
export async function startOlaregView({
  rootFolder,
}: Pick<OlaregFolder, 'rootFolder'>): Promise<StartedRegistry> {
  const store = ['--store-type', 'dir', '--dir', rootFolder, '--store-ro'];
  return start(await registryFolder(), [...store, '--api-push=false']);
}

async function start(folder: string, options: readonly string[]): Promise<StartedRegistry> {
  const program = peer('olareg');
  // Its garbage collection takes what has no tag; tests look at just that.
  const others = ['--gc-frequency', '-1s', '--verbosity', 'trace'];
  return startServer({
    what: 'olareg',
    folder,
    command: (_, port) =>
      Promise.resolve([
        program,
        'serve',
        ...['--addr', '127.0.0.1', '--port', String(port), ...options, ...others],
      ]),
    toLogLine,
  });
}

/** `… msg=ServeHTTP … method=GET url=/v2/ status=200 …` as other registries write it. */
function toLogLine(line: string): string {
  const [, method, url, status] = / method=(\w+) url="?([^ "]+)"? status=(\d+)/.exec(line) ?? [];
  return status === undefined ? line : `127.0.0.1 "${method ?? ''} ${url ?? ''} HTTP/1.1" ${status}`;
}
