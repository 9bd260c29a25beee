import type { ChannelStore } from '../../artifact/channel-store.js';
import { LATEST } from '../../artifact/metadata-artifact.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { ResponseError, type FerryError } from '../../errors.js';
import type { TempFolder } from '../../io/temp-folder.js';
import { contentFault } from './findings.js';
import type { VerifyDepth, VerifyReporter, VerifySample } from './report.js';

/** What all parts of an audit have at hand. */
export interface LookContext {
  readonly depth: VerifyDepth;
  readonly sample: VerifySample | undefined;
  readonly concurrency: number;
  readonly workers: WorkerPool;
  readonly temp: TempFolder;
  readonly reporter: VerifyReporter;
  readonly now: () => Date;
  readonly signal?: AbortSignal | undefined;
}

/** What the audit of a channel in a store has at hand. */
export interface VerifyContext extends LookContext {
  readonly store: ChannelStore;
  /** The source to compare with. */
  readonly against: ChannelSource | undefined;
}

/**
 * Sorts what a look failed with: the content's own fault is returned, and thrown is what no other content would fare
 * better with. A registry that answers 5xx is asked for something else before it is believed to be well.
 */
export async function faultOrThrow(
  error: unknown,
  subdir: string,
  { store, signal }: Pick<VerifyContext, 'store' | 'signal'>,
): Promise<FerryError> {
  const fault = contentFault(error);
  if (fault === undefined) throw error;
  if (fault instanceof ResponseError && fault.code === 'REGISTRY_REFUSED') {
    await store.metadataRepository(subdir, 'repodata.json').resolve(LATEST, { signal });
  }
  return fault;
}
