import { afterAll } from 'vitest';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { CheckContext, type CheckOptions } from '#ferry/conformance/check-context.js';
import { checkFiles } from '#ferry/conformance/check-files.js';
import { CheckLog, type Finding } from '#ferry/conformance/check-log.js';
import { Expander } from '#ferry/conformance/expander.js';
import type { Unchecked } from '#ferry/conformance/report.js';
import { TempFolder } from '#ferry/io/temp-folder.js';

// One for all tests of a file: threads take longer to start than most checks.
const expander = new Expander();
afterAll(async () => expander[Symbol.asyncDispose]());

/** What a check of a channel came to. */
export interface CheckedChannel {
  /** What was found, by clause, once for each finding, in order. What only informs is left out. */
  readonly clauses: readonly string[];
  readonly findings: readonly Finding[];
  /** Clauses that were looked at. */
  readonly looked: readonly string[];
  readonly unchecked: readonly Unchecked[];
}

/** A context of its own for one check, with all that lies there. */
export async function withContext(
  options: Partial<CheckOptions>,
  work: (context: CheckContext) => Promise<void>,
): Promise<CheckedChannel> {
  await using temp = await TempFolder.create();
  const log = new CheckLog();
  const now = (): Date => new Date();
  const context = new CheckContext(log, {
    expander,
    temp,
    concurrency: 4,
    index: true,
    deep: true,
    now,
    ...options,
  });
  await work(context);
  return {
    clauses: log.findings
      .filter(({ severity }) => severity !== 'info')
      .map(({ clause }) => clause)
      .sort(),
    findings: log.findings,
    looked: log.results.map(({ clause }) => clause.id),
    unchecked: context.unchecked,
  };
}

/** Checks an ordinary channel: a folder, or what a source leads to. */
export async function checkFolder(
  channel: string | ChannelSource,
  options: Partial<CheckOptions> = {},
): Promise<CheckedChannel> {
  const source = typeof channel === 'string' ? new DirectoryChannel(channel) : channel;
  return withContext(options, async (context) => checkFiles(source, context));
}
