/** The audit of an ordinary channel, in a folder or on a web server: every listed archive is there. */
import type { ChannelSource } from '../../conda/channel-source.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { chooseSample } from '../../conformance/sample.js';
import { isFerryError } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import { Resources } from '../../io/resources.js';
import { readChannelRecords } from '../read-channel.js';
import { takeRoom } from '../archive-room.js';
import { receiveArchive } from '../receive.js';
import { compareWithSource, readSource } from './compare-source.js';
import { finding, type Finding } from './findings.js';
import type { SubdirAudit, VerifyReport } from './report.js';
import type { LookContext } from './verify-context.js';
import { openLook, type VerifyLook } from './verify.js';

/** Options of {@link verifyOrdinaryChannel}. */
export interface VerifyOrdinaryOptions extends VerifyLook {
  readonly channel: ChannelSource;
}

/**
 * Audits an ordinary channel. Each archive is asked for without reading it, one request each; `deep` reads them all.
 * @returns what was found; faults do not throw
 * @throws FerryError `CHANNEL_NOT_FOUND`, `USAGE`, `DISK_FULL`; what the channel throws where it cannot be asked
 */
export async function verifyOrdinaryChannel(options: VerifyOrdinaryOptions): Promise<VerifyReport> {
  await using resources = new Resources();
  const context = await openLook(options, resources);
  const { channel, against, sample, subdirs } = options;
  const { workers, signal } = context;
  const audits: SubdirAudit[] = [];
  for await (const { subdir, records: listing } of readChannelRecords(channel, {
    subdirs,
    workers,
    signal,
  })) {
    const records = [...listing];
    const chosen = sample === undefined ? records : chooseSample(records, sample.size, sample.seed);
    context.reporter.planned?.(chosen.length);
    const findings: Finding[] = [];
    await forEachConcurrently(chosen, context, async (record) => {
      const found = await checkArchive(channel, record, context);
      if (found !== undefined) findings.push(found);
      context.reporter.checked?.();
    });
    if (against !== undefined) {
      const source = (await readSource(against, subdir, context)) ?? new Map<string, never>();
      const listed = new Map(records.map((record) => [record.filename, record]));
      findings.push(...compareWithSource({ subdir, listed, source, ledger: undefined, store: undefined }));
    }
    const counts = { listed: records.length, checked: chosen.length, artifacts: chosen.length };
    const audit = { subdir, ...counts, findings, repaired: [], unrepaired: [], dropped: [] };
    context.reporter.done?.(audit);
    audits.push(audit);
  }
  return {
    channel: channel.url,
    schema: undefined,
    against: against?.url,
    depth: context.depth,
    sample,
    subdirs: audits,
    findings: [],
  };
}

async function checkArchive(
  channel: ChannelSource,
  record: RepodataRecord,
  context: LookContext,
): Promise<Finding | undefined> {
  const { filename, listedIn: subdir, size } = record;
  const where = { subdir, filename };
  if (context.depth !== 'deep' && channel.statArchive !== undefined) {
    const found = await channel.statArchive({ ...record, subdir }, context);
    if (found === undefined) return finding('FILE_MISSING', where, 'the channel does not have it', false);
    if (found.size === undefined || size === undefined || found.size === size) return undefined;
    const message = `it has ${String(found.size)} bytes, listed are ${String(size)}`;
    return finding('FILE_DIFFERS', where, message, false);
  }
  try {
    using _ = await takeRoom(context.temp, [record], context);
    await using received = await receiveArchive(record, { ...context, source: channel, uploadTo: undefined });
    const { md5 } = received.packed.layer;
    if (record.md5 === undefined || record.md5 === md5) return undefined;
    return finding('ARCHIVE_WRONG', where, `its md5 is ${md5}, where ${record.md5} is listed`, false);
  } catch (error) {
    if (!isFerryError(error)) throw error;
    if (error.code === 'ARCHIVE_ABSENT') return finding('FILE_MISSING', where, error.message, false);
    if (/^(?:DIGEST_MISMATCH|SIZE_MISMATCH|SIZE_EXCEEDED)$/.test(error.code)) {
      return finding('FILE_DIFFERS', where, error.message, false);
    }
    if (!/^(?:ARCHIVE_|RECORD_INVALID)/.test(error.code)) throw error;
    return finding('ARCHIVE_WRONG', where, `${error.message} (${error.code})`, false);
  }
}
