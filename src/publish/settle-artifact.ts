import type { OperationEntry } from '../artifact/operation-log.js';
import { listOperations, readOperation } from '../artifact/operation-log.js';
import type { ChannelStore } from '../artifact/channel-store.js';
import type { CallOptions } from '../oci/storage.js';
import type { Head } from './head.js';
import type { PreparedArchive } from './prepare-archive.js';
import { findArchive, restoreArtifact } from './restore-artifact.js';

/** What lists an archive. */
type Listed = Exclude<OperationEntry, { readonly kind: 'remove' }>;

/**
 * Makes the artifact of an archive that was just published hold what is listed: of two writers who published other bytes
 * under one name at the same moment the later one has put its own under the tag, and of two who published one twin each it has
 * maybe taken the other's layer away. Whoever commits last sees what all have listed. Costs a request for each twin.
 * @param entry what was wanted of it
 */
export async function settleArtifact(
  { subdir, layer }: PreparedArchive,
  entry: Listed,
  { listing }: Head,
  options: CallOptions & { readonly store: ChannelStore },
): Promise<void> {
  const { store } = options;
  const stem = layer.filename.slice(0, -layer.extension.length);
  const twin = `${stem}${layer.extension === 'conda' ? 'tar.bz2' : 'conda'}`;
  const wanted = store.schema.holdsTwins ? [layer.filename, twin] : [layer.filename];
  let isOther = false;
  for (const filename of wanted) {
    const sha256 = listing.get(filename)?.['sha256'];
    // One's own was looked at when it was stored.
    if (typeof sha256 !== 'string' || (filename === entry.filename && sha256 === entry.record.sha256))
      continue;
    if ((await findArchive(store, subdir, filename, sha256, options)) !== undefined) continue;
    const listed = await findLoggedEntry(subdir, filename, sha256, options);
    if (listed === undefined) continue;
    await restoreArtifact(store, subdir, listed, options);
    isOther = true;
  }
  const isListed = listing.get(entry.filename)?.['sha256'] === entry.record.sha256;
  if (isOther && isListed) await restoreArtifact(store, subdir, entry, options);
}

/** What listed an archive with these bytes: its operation knows the artifact that it had then. */
async function findLoggedEntry(
  subdir: string,
  filename: string,
  sha256: string,
  { store, signal }: CallOptions & { readonly store: ChannelStore },
): Promise<Listed | undefined> {
  const tags = await listOperations(store, subdir, { signal });
  for (const tag of tags.toReversed()) {
    const operation = await readOperation(store, subdir, tag, { signal });
    for (const entry of operation?.entries ?? []) {
      if (entry.kind === 'remove' || entry.filename !== filename || entry.manifest === undefined) continue;
      if (entry.record.sha256 === sha256) return entry;
    }
  }
  return undefined;
}
