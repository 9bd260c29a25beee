import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import type { BuiltArchive } from './v1-channel.js';

/** Gives an archive a sidecar; what is in it does not matter to a mirror. */
export function attested<Archive extends BuiltArchive>(archive: Archive, sidecar: Uint8Array): Archive {
  return Object.assign(
    { ...archive, record: { attestations_sha256: digestHex(digestOf(sidecar)) } },
    { sidecar },
  );
}

/** Writes the sidecars of archives beside them, in noarch of a channel's folder. */
export async function writeSidecars(folder: string, archives: readonly BuiltArchive[]): Promise<void> {
  for (const archive of archives) {
    if (!('sidecar' in archive) || !(archive.sidecar instanceof Uint8Array)) continue;
    const name = `${archive.filename}.sigs.${digestHex(digestOf(archive.sidecar))}`;
    await writeFile(join(folder, 'noarch', name), archive.sidecar);
  }
}
