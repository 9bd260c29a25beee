import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import type { ChannelSource } from '../../conda/channel-source.js';
import { FerryError } from '../../errors.js';
import { DEFAULT_CONCURRENCY } from '../../mirror/mirror.js';
import {
  isWell,
  type VerifyDepth,
  type VerifyReport,
  type VerifyReporter,
} from '../../mirror/verify/report.js';
import { verifyChannel, type VerifyLook } from '../../mirror/verify/verify.js';
import { verifyOrdinaryChannel } from '../../mirror/verify/verify-ordinary.js';
import { createCheckProgress } from '../check-progress.js';
import { lockFolder } from '../cache-folder.js';
import type { CommandContext } from '../context.js';
import { parseLocation, type Location } from '../locations.js';
import { addConnectionOptions, parseConcurrency, parseCount, type LocationFlags } from '../options.js';
import { count, printJson, say, type OutputFlags } from '../output.js';
import { Session } from '../session.js';
import { printVerifyReport } from '../verify-report.js';

const EXIT_FINDINGS = 1;

interface VerifyFlags extends LocationFlags, OutputFlags {
  readonly against?: string;
  readonly subdir?: readonly string[];
  readonly full?: boolean;
  readonly deep?: boolean;
  readonly sample?: number;
  readonly seed?: string;
  readonly repair?: boolean;
  readonly dropMissing?: boolean;
  readonly concurrency: number;
  readonly tempDir?: string;
}

/** Adds `verify`. */
export function addVerifyCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('verify')
    .summary('tell whether all that a channel lists is there, and mend it')
    .description(
      'Looks at every artifact that a channel lists: whether it is there, and holds what\n' +
        'is listed. Looks at the repodata, its companions and the ledger too.',
    )
    .argument('<channel>', 'any channel: oci://host/path, oci-layout:./dir, URL, ./folder, channel name')
    .option('--against <source>', 'compare with what this channel lists, and repair out of it')
    .option('--full', 'ask for every blob too')
    .option('--deep', 'read every byte')
    .option('--sample <n>', 'look at so many artifacts of each subdir only, chosen at random', parseCount)
    .option('--seed <text>', 'choose the same sample again')
    .option('--repair', 'fetch and push again what is missing or wrong; implies --full')
    .option('--drop-missing', 'with --repair: no longer list what is not to be had')
    .option('--subdir <name...>', 'only these subdirs')
    .option('--concurrency <n>', 'artifacts under way at once', parseConcurrency, DEFAULT_CONCURRENCY)
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--source-schema <id>', 'layout of a source in a registry, if it is another')
    .option('--source-label <label>', 'label of a source in a registry, if it is another')
    .option('--temp-dir <dir>', 'where large archives lie while they are read')
    .option('--json', 'print the report as JSON')
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'name every finding, and notes')
    .addHelpText(
      'after',
      `
Without --against, a repair takes the source that the ledger names.

Exit status: 0 all is well, 1 faults are left, 2 usage, 3 could not verify,
130 interrupted.

Examples:
  conda-ferry verify oci://127.0.0.1:5000/my-channel
  conda-ferry verify ghcr.io/me/my-channel --deep --sample 50
  conda-ferry verify oci-layout:./mirror --against ./channel --repair`,
    )
    .action(async (text: string, flags: VerifyFlags) => {
      checkFlags(flags);
      await using session = new Session(context, flags);
      const location = parseLocation(text);
      const isStored = location.kind === 'registry' || location.kind === 'layout';
      if (flags.repair === true && !isStored) {
        throw new FerryError('USAGE', 'an ordinary channel cannot be repaired, only looked at');
      }
      const progress = createCheckProgress(context.output, flags);
      const seed = flags.seed ?? randomBytes(4).toString('hex');
      const look: VerifyLook = {
        subdirs: flags.subdir,
        against: flags.against === undefined ? undefined : session.openChannel(parseLocation(flags.against)),
        depth: depthOf(flags),
        sample: flags.sample === undefined ? undefined : { size: flags.sample, seed },
        concurrency: flags.concurrency,
        tempDir: flags.tempDir,
        reporter: { ...progress, ...talk(context, flags) },
        signal: context.signal,
      };
      let report: VerifyReport;
      try {
        report = isStored
          ? await verifyStored(location, look, session, {
              ...flags,
              lockFolder: lockFolder(context.environment),
            })
          : await verifyOther(location, look, session);
      } finally {
        progress.finish();
      }
      if (flags.json === true) printJson(context.output, { ...report, requests: session.requests });
      else printVerifyReport(context.output, report, flags);
      if (!isWell(report)) context.setExitCode(EXIT_FINDINGS);
    });
  addConnectionOptions(command);
}

async function verifyStored(
  location: Location,
  look: VerifyLook,
  session: Session,
  flags: VerifyFlags & { readonly lockFolder: string },
): Promise<VerifyReport> {
  const isRepair = flags.repair === true;
  return verifyChannel({
    ...look,
    channel: session.openStore(location, isRepair ? 'destination' : 'only'),
    repair: isRepair
      ? {
          openSource: (name) => openNamed(name, session),
          dropMissing: flags.dropMissing,
          lockFolder: flags.lockFolder,
        }
      : undefined,
  });
}

async function verifyOther(location: Location, look: VerifyLook, session: Session): Promise<VerifyReport> {
  return verifyOrdinaryChannel({ ...look, channel: session.openChannel(location, 'only') });
}

/** @throws FerryError `USAGE` for a name that is no location here */
function openNamed(name: string, session: Session): ChannelSource {
  try {
    return session.openNamedChannel(parseLocation(name));
  } catch (cause) {
    throw new FerryError('USAGE', 'the source that the ledger names cannot be opened', {
      cause,
      hint: 'pass --against SOURCE',
    });
  }
}

/** @throws FerryError `USAGE` */
function checkFlags({ repair, dropMissing, seed, sample }: VerifyFlags): void {
  if (dropMissing === true && repair !== true) {
    throw new FerryError('USAGE', '`--drop-missing` is part of a repair', { hint: 'pass --repair too' });
  }
  if (seed !== undefined && sample === undefined) {
    throw new FerryError('USAGE', '`--seed` chooses a sample', { hint: 'pass --sample N too' });
  }
}

function depthOf({ full, deep }: VerifyFlags): VerifyDepth {
  if (deep === true) return 'deep';
  return full === true ? 'full' : 'manifests';
}

/** Lines between what a bar shows: that something is written is worth one even where nobody watches. */
function talk({ output }: CommandContext, { quiet, verbose }: OutputFlags): VerifyReporter {
  if (quiet === true) return {};
  return {
    repairing: (subdir, artifacts, source) => {
      say(output, `repairing ${subdir}: ${count(artifacts, 'artifact')}, out of ${source}`);
    },
    done: ({ subdir, checked }) => {
      if (verbose === true) say(output, `verified ${subdir}: ${count(checked, 'archive')}`);
    },
  };
}
