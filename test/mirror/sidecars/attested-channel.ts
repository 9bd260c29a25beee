import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import type { AttestedRecord } from '#ferry/mirror/sidecars/attested-records.js';
import { condaPackage } from '../../../fixtures/build/archive.mjs';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { bundleOf, sidecarOf, statementOf } from '../../support/attestations.js';
import { tempFolder } from '../../support/temp.js';

/** A channel with attested packages. */
export interface Attested {
  readonly folder: string;
  readonly records: readonly AttestedRecord[];
  /** By file name of the archive. */
  readonly sidecars: ReadonlyMap<string, Uint8Array>;
}

/** A channel with attested packages of these names. */
export async function attestedChannel(...names: readonly string[]): Promise<Attested> {
  const folder = await tempFolder();
  const sidecars = new Map<string, Uint8Array>();
  const archives = names.map((name) => {
    const index = { noarch: 'generic' };
    const archive = condaPackage({ name, version: '1.0', build: '0', subdir: 'noarch', index });
    const bytes = sidecarOf(bundleOf(statementOf(archive.filename, digestHex(digestOf(archive.bytes)))));
    sidecars.set(archive.filename, bytes);
    return { ...archive, record: { attestations_sha256: digestHex(digestOf(bytes)) } };
  });
  await writeChannel(folder, { noarch: archives });
  const records: AttestedRecord[] = [];
  for (const [filename, bytes] of sidecars) {
    const sha256 = digestHex(digestOf(bytes));
    records.push({ filename, attestationsSha256: sha256 });
    await writeFile(join(folder, 'noarch', `${filename}.sigs.${sha256}`), bytes);
  }
  return { folder, records, sidecars };
}
