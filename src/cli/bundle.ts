/** `mirror --delta-from`, and a mirror whose source is a bundle. */
import { importBundle, planImport } from '../mirror/bundle/import-bundle.js';
import { readBundleManifest } from '../mirror/bundle/manifest.js';
import { planBundle, writeBundle } from '../mirror/bundle/write-bundle.js';
import { mirrorChannel, planMirror, type MirrorOptions } from '../mirror/mirror.js';
import type { MirrorPlan, MirrorReport } from '../mirror/report.js';
import { FerryError } from '../errors.js';
import { parseLocation, type Location } from './locations.js';
import type { Session } from './session.js';

/** What `mirror` does with its options: the plan of it, and itself. */
export interface MirrorRun {
  readonly plan: (options: MirrorOptions) => Promise<MirrorPlan>;
  readonly run: (options: MirrorOptions) => Promise<MirrorReport>;
}

/**
 * Chooses between a plain mirror, one that writes a bundle, and one that reads it.
 * @throws FerryError `USAGE` for a bundle that goes into anything but image layouts; `BUNDLE_INVALID`
 */
export async function chooseMirror(
  from: Location,
  to: Location,
  { deltaFrom }: { readonly deltaFrom?: string },
  session: Session,
): Promise<MirrorRun> {
  const bundle = from.kind === 'layout' ? await readBundleManifest(from.path) : undefined;
  if (deltaFrom === undefined) {
    if (to.kind === 'layout' && (await readBundleManifest(to.path)) !== undefined) {
      throw new FerryError('USAGE', `\`${to.path}\` is a bundle, which holds only a part of a channel`, {
        hint: 'choose another folder',
      });
    }
    if (bundle === undefined) return { plan: planMirror, run: mirrorChannel };
    return {
      plan: (options) => planImport({ ...options, bundle }),
      run: (options) => importBundle({ ...options, bundle }),
    };
  }
  if (to.kind !== 'layout' || bundle !== undefined) {
    throw new FerryError('USAGE', '`--delta-from` writes a bundle out of a whole channel', {
      hint: 'write oci-layout:./dir as the destination, and no bundle as the source',
    });
  }
  const more = { folder: to.path, previous: session.openChannel(parseLocation(deltaFrom)) };
  return {
    plan: (options) => planBundle({ ...options, ...more }),
    run: (options) => writeBundle({ ...options, ...more }),
  };
}
