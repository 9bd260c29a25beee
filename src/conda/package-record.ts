import { z } from 'zod';
import { FerryError } from '../errors.js';
import { shorten } from './archive/member-path.js';
import { formatArchiveFilename, parseArchiveFilename, type ArchiveExtension } from './names.js';

/** The fields of a package record that this project needs; all others stay in the record's own bytes. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  readonly build: string;
  /** Lower-case hex, without an algorithm. */
  readonly sha256?: string | undefined;
  /** Lower-case hex. */
  readonly md5?: string | undefined;
  /** In bytes. */
  readonly size?: number | undefined;
  readonly subdir?: string | undefined;
  /** Where the archive lies if not beside the repodata. @see CEP draft, conda/ceps pull 151 */
  readonly url?: string | undefined;
}

/** A package record with where it stands. */
export interface RepodataRecord extends PackageRecord {
  /** Such as `zlib-1.2.11-h7b6447c_3.conda`: the record's key, and the archive's name. */
  readonly filename: string;
  readonly extension: ArchiveExtension;
  /** The channel's folder that lists the record, such as `linux-64`; the record's own field may be missing. */
  readonly listedIn: string;
}

const recordSchema = z.object({
  name: z.string(),
  version: z.string(),
  build: z.string(),
  sha256: hexField(64),
  md5: hexField(32),
  size: z.int().nonnegative().nullish(),
  subdir: z.string().nullish(),
  url: z.string().nullish(),
});

function hexField(length: number) {
  const pattern = new RegExp(`^[0-9a-fA-F]{${String(length)}}$`);
  return z.string().regex(pattern).nullish();
}

/**
 * Reads one record of repodata and checks it against its key.
 * @throws FerryError `RECORD_INVALID`
 * @see CEP 36, "Package record metadata"
 */
export function parseRepodataRecord(filename: string, value: unknown, listedIn: string): RepodataRecord {
  const archive = parseArchiveFilename(filename);
  const result = recordSchema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    const where = issue === undefined ? '' : `: \`${issue.path.join('.')}\` ${issue.message}`;
    throw new FerryError('RECORD_INVALID', `record of \`${filename}\` is not valid${where}`);
  }
  const { name, version, build, sha256, md5, size, subdir, url } = result.data;
  const said = formatArchiveFilename({ name, version, build, extension: archive.extension });
  if (said !== filename) {
    throw new FerryError('RECORD_INVALID', `record of \`${filename}\` describes \`${shorten(said)}\``);
  }
  return {
    filename,
    extension: archive.extension,
    listedIn,
    name,
    version,
    build,
    sha256: sha256?.toLowerCase(),
    md5: md5?.toLowerCase(),
    size: size ?? undefined,
    subdir: subdir ?? undefined,
    url: url ?? undefined,
  };
}

/** What tells two archives of one name apart: the sha256, or the md5 where old repodata has no more. */
export function archiveIdentity(record: Pick<PackageRecord, 'sha256' | 'md5'>): string | undefined {
  if (record.sha256 !== undefined) return `sha256:${record.sha256}`;
  return record.md5 === undefined ? undefined : `md5:${record.md5}`;
}
