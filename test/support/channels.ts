import { existsSync } from 'node:fs';
import { join } from 'node:path';
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

/** Repodata of 4,211 packages of 2018, beside the real channels. */
export const REAL_REPODATA = join(REAL_CHANNELS, 'r_linux-64.repodata.json');
export const HAS_REAL_REPODATA = existsSync(REAL_REPODATA);
