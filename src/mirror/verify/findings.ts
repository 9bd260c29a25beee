/**
 * What an audit of a channel can find: `verify` compares what a channel lists with what is stored, and every difference
 * is a finding with a stable code.
 */
import { IntegrityError, isFerryError, ResponseError, type FerryError } from '../../errors.js';

/** What each code means; the table in `docs/verify.md` is checked against it. */
export const FINDING_CODES = {
  ARTIFACT_MISSING: 'a listed archive has no artifact: its tag names nothing',
  MANIFEST_UNREADABLE: 'the tag of a listed archive names what cannot be read as its artifact',
  LAYER_MISSING: 'the artifact does not hold the listed archive, as when a twin was lost',
  LAYER_DIFFERS: 'the artifact holds other bytes than are listed, by digest or size',
  INFO_MISSING: 'the artifact lacks its info or its index layer',
  BLOB_MISSING: 'the manifest is there, and a blob that it names is not',
  BLOB_DAMAGED: 'a blob is there, and its bytes are not those of its digest',
  ARCHIVE_WRONG: 'the bytes are as listed, and are not the archive that the record describes',
  FILE_MISSING: 'an ordinary channel lists an archive that it does not have',
  FILE_DIFFERS: 'an ordinary channel has an archive of other bytes than it lists',
  RECORD_UNUSABLE: 'a record that cannot be read, or that the schema has no place for, is listed',
  REPODATA_MISSING: 'the subdir has no published repodata',
  REPODATA_UNREADABLE: 'the published repodata, or one of its forms, cannot be read',
  REPODATA_FORMS_DIFFER: 'the plain and the compressed form of the repodata do not say the same',
  METADATA_UNREADABLE: 'a metadata file beside the repodata cannot be read',
  SIDECAR_MISSING: 'a record names attestations that are not there',
  SIDECAR_UNREADABLE: 'the attestations that a record names cannot be read, or are others',
  LEDGER_MISSING: 'there is no ledger: the next mirror run asks the registry about every archive',
  LEDGER_UNREADABLE: 'the ledger cannot be read: the next mirror run stops at it',
  LEDGER_STALE: 'the ledger speaks of another repodata than the published one',
  LEDGER_SCHEMA: 'the ledger says that the channel is laid out by another schema',
  LEDGER_SOURCE: 'the ledger says that the channel is the mirror of another source',
  LEDGER_KEPT: 'the ledger says that an unlisted archive is kept, and it is not there',
  LEDGER_RUNNING: 'a run began and did not end: it was killed, or is under way',
  NOT_MIRRORED: 'the source lists an archive that the channel does not',
  REPLACED_AT_SOURCE: 'the source lists other bytes under the same file name',
  ONLY_HERE: 'the channel lists an archive that the source does not',
} as const;

/** Stable code of a finding, such as `BLOB_MISSING`. */
export type FindingCode = keyof typeof FINDING_CODES;

/** What is no fault: it changes no exit status. */
const NOTES: ReadonlySet<FindingCode> = new Set(['LEDGER_SOURCE', 'ONLY_HERE']);

/** One thing that is not as it should be, or worth knowing. */
export interface Finding {
  readonly code: FindingCode;
  /** `fault`: clients or the next run suffer from it; `note`: they do not. */
  readonly severity: 'fault' | 'note';
  /** Empty for the channel's own files. */
  readonly subdir: string;
  /** The archive, or the metadata file, such as `repodata.json`. */
  readonly filename: string;
  /** What was found, in one line. */
  readonly message: string;
  /** Whether a repair can mend it, as long as a source has the bytes. */
  readonly repairable: boolean;
}

/** Makes a finding. */
export function finding(
  code: FindingCode,
  where: Pick<Finding, 'subdir' | 'filename'>,
  message: string,
  repairable: boolean,
): Finding {
  const severity = NOTES.has(code) ? 'note' : 'fault';
  return { code, severity, subdir: where.subdir, filename: where.filename, message, repairable };
}

/** Tells whether two findings are of the same thing, before and after a repair. */
export function isSameFinding(a: Finding, b: Finding): boolean {
  return a.code === b.code && a.subdir === b.subdir && a.filename === b.filename;
}

/**
 * Whether content is absent or not what it should be, rather than out of reach. Registries answer with a 5xx where
 * their own files are damaged, so an answer of that kind may be either: the caller asks whether the rest is well.
 */
export function contentFault(error: unknown): FerryError | undefined {
  if (error instanceof IntegrityError) return error;
  if (error instanceof ResponseError && error.code === 'REGISTRY_REFUSED') return error;
  const codes = ['NOT_FOUND', 'MANIFEST_INVALID', 'LAYOUT_INVALID', 'REPODATA_INVALID'] as const;
  return codes.some((code) => isFerryError(error, code)) ? (error as FerryError) : undefined;
}

/** Whether strangers are told so of what is absent and of what is private alike. @see ghcr/G5 */
export function isRefusal(error: unknown): error is FerryError {
  return isFerryError(error, 'DENIED') || isFerryError(error, 'UNAUTHORIZED');
}
