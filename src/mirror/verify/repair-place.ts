/** Writes one artifact again, out of what the source has and what is right already. */
import { formatArchiveFilename } from '../../conda/names.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { digestHex } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { PlanItem } from '../plan.js';
import { transferItem, type TransferOutcome } from '../transfer.js';
import type { PlaceAudit } from './check-place.js';
import type { VerifyContext } from './verify-context.js';

/** Tells whether writing the artifact again would change anything for the better. */
export function isRepairable({ place, bad, isBare, good }: PlaceAudit): boolean {
  const needsListed = place.archives.some(({ record, isListed }) => isListed && bad.has(record.filename));
  return needsListed || (isBare && good.size > 0);
}

/**
 * Fetches what is missing or wrong, and pushes the artifact. Archives that are right are not sent again; they are read
 * where info and index have to be taken out of them.
 * @param sourceRecords what the source says of the archives, by file name: it may have them elsewhere
 * @throws as {@link transferItem}
 */
export async function repairPlace(
  audit: PlaceAudit,
  source: ChannelSource,
  sourceRecords: ReadonlyMap<string, RepodataRecord> | undefined,
  context: VerifyContext,
): Promise<readonly TransferOutcome[]> {
  const { place, bad, good, lost, damaged } = audit;
  const { store } = context;
  const repository = store.packageRepository(place.subdir, place.place);
  const here = archivesHere(audit);
  const fetched = place.archives
    .filter(({ record, isListed }) => isListed && bad.has(record.filename))
    .map(({ record }) => ({ ...record, url: sourceRecords?.get(record.filename)?.url }));
  // Info and index are those of the `.conda`: where they are lost, every archive is looked at again.
  const add = audit.isBare ? [...fetched, ...[...here.values()].map(({ record }) => record)] : fetched;
  const [twin] = audit.isBare || !store.schema.holdsTwins ? [] : here.values();
  const item: PlanItem = {
    subdir: place.subdir,
    place: place.place,
    add: add.slice(0, store.schema.holdsTwins ? undefined : 1),
    replaces: true,
    displaced: undefined,
    twin: twin === undefined ? undefined : { filename: twin.record.filename, record: twin.record },
  };
  const right = new Set([...good.values()].map(({ digest }) => digest as string));
  const outcomes = await transferItem(item, {
    ...context,
    store,
    source: {
      url: source.url,
      origin: source.origin,
      subdirs: (options) => source.subdirs(options),
      openMetadata: (path, options) => source.openMetadata(path, options),
      openArchive: (archive, options) => {
        const own = here.get(archive.filename);
        return own === undefined
          ? source.openArchive(archive, options)
          : repository.fetch(own.layer, { signal: options?.signal });
      },
    },
    isSuspect: () => true,
    known: {
      has: (digest) => (right.has(digest) ? true : lost.has(digest) ? false : undefined),
      damaged,
    },
  });
  // What was only read again was never wrong.
  return outcomes.filter(({ record }) => bad.has(record.filename));
}

interface ArchiveHere {
  readonly record: RepodataRecord;
  readonly layer: Descriptor;
}

/** Archives of the artifact that are as they should be, those that no record points to among them. */
function archivesHere({ place, good, strangers }: PlaceAudit): ReadonlyMap<string, ArchiveHere> {
  const here = new Map<string, ArchiveHere>();
  for (const { record } of place.archives) {
    const layer = good.get(record.filename);
    if (layer !== undefined) here.set(record.filename, { record, layer });
  }
  const [known] = place.archives;
  for (const { extension, descriptor: layer } of known === undefined ? [] : strangers) {
    const { record } = known ?? {};
    if (record === undefined) continue;
    const { name, version, build, listedIn } = record;
    const filename = formatArchiveFilename({ name, version, build, extension });
    const { digest, size } = layer;
    const stands = { filename, extension, name, version, build, listedIn };
    here.set(filename, { record: { ...stands, sha256: digestHex(digest), size }, layer });
  }
  return here;
}
