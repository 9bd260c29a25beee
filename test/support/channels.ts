import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { incompressible } from '../../fixtures/build/bytes.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { ROOT } from './ferry.js';

/** The committed fixture channels. */
export const FIXTURE_CHANNEL = join(ROOT, 'fixtures', 'channel');
export const MALFORMED_CHANNEL = join(ROOT, 'fixtures', 'malformed');

/** Real channels that lie beside the checkout on some machines; tests of them run where they are there. */
const REAL_CHANNELS = join(ROOT, '..', 'shared', 'channels');
export const HAS_REAL_CHANNELS = existsSync(REAL_CHANNELS);

/** Folder of a real channel. */
export function realChannel(name: 'conda-format' | 'test-recipes'): string {
  return join(REAL_CHANNELS, name);
}

/** Options of {@link writeManyPackages}. */
export interface ManyPackagesOptions {
  readonly archives: number;
  /** Builds under one name. @defaultValue 3 */
  readonly perName?: number;
  /** Incompressible payload of each archive. @defaultValue 1000 */
  readonly bytes?: number;
}

/** Writes a channel of many small `.conda` archives, noarch only. */
export async function writeManyPackages(folder: string, options: ManyPackagesOptions): Promise<void> {
  const { archives, perName = 3, bytes = 1000 } = options;
  const packages = Array.from({ length: archives }, (_, i) =>
    condaPackage({
      name: `many-${Math.floor(i / perName)}`,
      version: '1.0',
      build: String(i % perName),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/noise': incompressible(bytes, i + 1) },
      zip: { level: 1 },
    }),
  );
  await writeChannel(folder, { noarch: packages });
}
