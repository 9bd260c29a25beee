/** The ledger of a subdir against what is published: whether the next run can rely on it. */
import { readLedger, type Ledger } from '../../artifact/ledger.js';
import { isFerryError, messageOf } from '../../errors.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { finding, isRefusal, type Finding, type FindingCode } from './findings.js';
import { faultOrThrow, type VerifyContext } from './verify-context.js';

/** A ledger with what is wrong about it. */
export interface LedgerAudit {
  /** `undefined` where there is none, or none that can be read. */
  readonly ledger: Ledger | undefined;
  readonly findings: readonly Finding[];
}

/** Reads a subdir's ledger and compares it with the manifest behind the repodata's `latest`. */
export async function checkLedger(
  subdir: string,
  latest: Descriptor | undefined,
  context: VerifyContext,
): Promise<LedgerAudit> {
  const findings: Finding[] = [];
  const add = (code: FindingCode, message: string): void => {
    findings.push(finding(code, { subdir, filename: 'ledger' }, message, true));
  };
  let ledger: Ledger | undefined;
  try {
    ledger = await readLedger(context.store, subdir, context);
  } catch (error) {
    if (!isRefusal(error)) {
      const fault = isFerryError(error, 'LEDGER_INVALID')
        ? error
        : await faultOrThrow(error, subdir, context);
      add('LEDGER_UNREADABLE', messageOf(fault));
      return { ledger: undefined, findings };
    }
  }
  if (ledger === undefined) {
    if (latest !== undefined) add('LEDGER_MISSING', 'none is there');
    return { ledger, findings };
  }
  const { running, schema, role } = ledger;
  if (schema !== context.store.schema.id) add('LEDGER_SCHEMA', `it speaks of schema \`${schema}\``);
  // Of a channel that is published to the repodata itself says what is in it.
  const isVouching = role.kind !== 'published';
  if (
    isVouching &&
    latest !== undefined &&
    latest.digest !== ledger.repodata &&
    latest.digest !== running?.publishing
  ) {
    add('LEDGER_STALE', `it speaks of ${ledger.repodata ?? 'none'}, published is ${latest.digest}`);
  }
  if (running !== undefined) add('LEDGER_RUNNING', `a run began ${running.started} and did not end`);
  const { against } = context;
  if (against !== undefined && isVouching && role.source !== against.url) {
    add('LEDGER_SOURCE', `it names \`${role.source}\`, compared was \`${against.url}\``);
  }
  return { ledger, findings };
}
