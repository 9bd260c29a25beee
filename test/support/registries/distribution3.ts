import { join } from 'node:path';
import { peer } from '../peers.js';
import { IN_MEMORY, registryFolder, startDistribution } from './distribution.js';
import type { StartedRegistry } from './server-process.js';

/** Options of {@link startDistribution3}. */
export interface Distribution3Options {
  /** @defaultValue false: memory */
  readonly onDisk?: boolean;
}

/** Starts release 3 of distribution, what the image `registry:3` holds. */
export async function startDistribution3(options: Distribution3Options = {}): Promise<StartedRegistry> {
  const program = peer('distribution');
  const folder = await registryFolder();
  const onDisk = { filesystem: { rootdirectory: join(folder, 'data') } };
  return startDistribution(program, folder, { storage: options.onDisk === true ? onDisk : IN_MEMORY });
}

/** Starts release 3 of distribution in front of another registry; takes no pushes. */
export async function startPullThrough3(upstream: Pick<StartedRegistry, 'origin'>): Promise<StartedRegistry> {
  const program = peer('distribution');
  const proxy = { remoteurl: upstream.origin };
  return startDistribution(program, await registryFolder(), { storage: IN_MEMORY, proxy });
}
