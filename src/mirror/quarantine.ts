/** Archives that could not be mirrored: the ledger keeps them, and each run tries them again. */
import { isSameLedger, writeLedger, type Ledger, type Quarantined } from '../artifact/ledger.js';
import { parseArchiveFilename } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { isFerryError, messageOf, type FerryErrorCode } from '../errors.js';
import { forEachConcurrently } from '../io/pool.js';
import { receiveArchive } from './receive.js';
import type { Failure } from './report.js';
import type { RunContext } from './run-context.js';
import { fetchSidecar } from './sidecars/fetch-sidecar.js';
import { prepareOne } from './prepare.js';
import type { SubdirWork } from './subdir-work.js';

/** Looks whether archives that failed before can be had now, with one request each and without sending anything. */
export async function retryQuarantine(
  work: Extract<SubdirWork, { readonly status: 'retry' }>,
  context: RunContext,
): Promise<SubdirWork> {
  const { subdir, ledger } = work;
  const outcomes = new Map<string, Quarantined>();
  const recovered: string[] = [];
  await forEachConcurrently(ledger.quarantine, context, async (entry) => {
    const record = quarantinedRecord(entry, subdir);
    if (record === undefined) return;
    try {
      await tryAgain(entry, record, context);
      recovered.push(entry.filename);
    } catch (error) {
      if (!isFerryError(error) || error.code === 'DISK_FULL') throw error;
      outcomes.set(entry.filename, { ...entry, code: error.code, message: messageOf(error) });
    }
  });
  if (recovered.length > 0) return prepareOne(subdir, context);
  const quarantine = ledger.quarantine.map((entry) => outcomes.get(entry.filename) ?? entry);
  const updated: Ledger = { ...ledger, quarantine };
  if (!isSameLedger(updated, ledger)) await writeLedger(context.store, updated, context);
  return { ...work, ledger: updated };
}

/** Makes the ledger's entry for an archive that failed; without a record where that is unusable itself. */
export function quarantinedOf(
  failure: Failure,
  record?: RepodataRecord,
  attestationsSha256?: string,
): Quarantined {
  const { filename, code, message } = failure;
  if (record === undefined) return { filename, code, message };
  const { name, version, build, sha256, md5, size, url } = record;
  const entry = { filename, name, version, build, sha256, md5, size, url, code, message };
  return attestationsSha256 === undefined ? entry : { ...entry, attestations_sha256: attestationsSha256 };
}

/** Reads what failed before, whole: the archive, or the sidecar where that was what was wrong. */
async function tryAgain(entry: Quarantined, record: RepodataRecord, context: RunContext): Promise<void> {
  const { attestations_sha256: attestationsSha256 } = entry;
  if (attestationsSha256 !== undefined) {
    const { filename, url, listedIn: subdir } = record;
    await fetchSidecar({ filename, attestationsSha256, url }, { ...context, subdir });
    return;
  }
  await using _ = await receiveArchive(record, { ...context, uploadTo: undefined });
}

function quarantinedRecord(entry: Quarantined, subdir: string): RepodataRecord | undefined {
  const { filename, name, version, build, sha256, md5, size, url } = entry;
  if (name === undefined || version === undefined || build === undefined) return undefined;
  const { extension } = parseArchiveFilename(filename);
  return { filename, extension, listedIn: subdir, name, version, build, sha256, md5, size, url };
}

/** Reads a ledger's entry back. */
export function failureOf(entry: Pick<Quarantined, 'filename' | 'code' | 'message'>): Failure {
  return { filename: entry.filename, code: entry.code as FerryErrorCode, message: entry.message };
}
