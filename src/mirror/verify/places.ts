/** Where the archives of a subdir should stand: what is to be looked at, repository by repository. */
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { Ledger } from '../../artifact/ledger.js';
import type { PackagePlace } from '../../artifact/schema.js';
import { formatArchiveFilename, parseArchiveFilename } from '../../conda/names.js';
import { archiveIdentity, type RepodataRecord } from '../../conda/package-record.js';
import type { ReadRecord } from '../../conda/repodata/repodata.js';
import { FerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { finding, type Finding } from './findings.js';

/** An archive that should be in an artifact. */
export interface PlacedArchive {
  readonly record: RepodataRecord;
  /** Whether the repodata lists it; else the ledger says that it is kept. */
  readonly isListed: boolean;
}

/** One tag with the archives that should be under it, one or two. */
export interface Place {
  readonly subdir: string;
  readonly place: PackagePlace;
  readonly archives: readonly PlacedArchive[];
}

/** What is to be looked at in a subdir. */
export interface SubdirPlaces {
  /** Ordered by repository, so that one token serves all tags of each. */
  readonly places: readonly Place[];
  /** Records that have none. */
  readonly findings: readonly Finding[];
  readonly listed: number;
}

/**
 * Groups what is listed, and what the ledger says is kept, by where it has to stand. Held in memory are the fields of
 * each record that the audit needs, and nothing of its text.
 */
export function placesOf(
  store: ChannelStore,
  subdir: string,
  records: Iterable<ReadRecord>,
  kept: Ledger['kept'],
): SubdirPlaces {
  const findings: Finding[] = [];
  const places = new Map<string, { readonly place: PackagePlace; readonly archives: PlacedArchive[] }>();
  let listed = 0;
  const add = (archive: PlacedArchive): void => {
    const place = store.schema.placeOf(archive.record);
    store.packageRepository(subdir, place);
    const key = `${place.repository}:${place.tag}`;
    const known = places.get(key);
    if (known === undefined) places.set(key, { place, archives: [archive] });
    else known.archives.push(archive);
  };
  const names = new Set<string>();
  for (const read of records) {
    listed += 1;
    const { filename } = read;
    names.add(filename);
    try {
      if ('error' in read) throw read.error;
      if (archiveIdentity(read.record) === undefined) {
        throw new FerryError('RECORD_INVALID', `record of \`${filename}\` has neither sha256 nor md5`);
      }
      add({ record: read.record, isListed: true });
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      findings.push(finding('RECORD_UNUSABLE', { subdir, filename }, error.message, false));
    }
  }
  for (const [filename, identity] of Object.entries(kept)) {
    if (names.has(filename)) continue;
    try {
      add({ record: keptRecord(filename, identity, subdir), isListed: false });
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      findings.push(finding('LEDGER_KEPT', { subdir, filename }, error.message, true));
    }
  }
  return {
    places: [...places.values()]
      .map(({ place, archives }) => ({ subdir, place, archives }))
      .sort(
        (a, b) =>
          compareText(a.place.repository, b.place.repository) || compareText(a.place.tag, b.place.tag),
      ),
    findings,
    listed,
  };
}

/** What the ledger keeps of an archive is its name and its identity, such as `sha256:…`. */
function keptRecord(filename: string, identity: string, listedIn: string): RepodataRecord {
  const [kind = '', hex] = identity.split(':');
  return { ...parseArchiveFilename(filename), filename, listedIn, [kind === 'md5' ? 'md5' : 'sha256']: hex };
}

/** File name of the other archive of the same build. */
export function twinOf(record: RepodataRecord): string {
  return formatArchiveFilename({ ...record, extension: record.extension === 'conda' ? 'tar.bz2' : 'conda' });
}
