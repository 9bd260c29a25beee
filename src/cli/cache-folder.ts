import { homedir } from 'node:os';
import { join } from 'node:path';

/** The user's folder for what can be made anew, such as `~/.cache/conda-ferry`. */
export function cacheFolder(environment: NodeJS.ProcessEnv): string {
  const stated = environment['XDG_CACHE_HOME'];
  if (stated !== undefined && stated !== '') return join(stated, 'conda-ferry');
  if (process.platform === 'win32') {
    return join(environment['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local'), 'conda-ferry', 'cache');
  }
  const caches = process.platform === 'darwin' ? join('Library', 'Caches') : '.cache';
  return join(environment['HOME'] ?? homedir(), caches, 'conda-ferry');
}

/** Where commands that write to a channel keep each other out. */
export function lockFolder(environment: NodeJS.ProcessEnv): string {
  return join(cacheFolder(environment), 'locks');
}
