import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { PACKAGE_CONDA } from '../../artifact/media-types.js';
import { schemaV0 } from '../../artifact/schema-v0.js';
import { PROBE_SUBJECTS, probeRegistry, type ProbeReport } from '../../registry/probe.js';
import { parseRepositoryName } from '../../oci/reference.js';
import type { CommandContext } from '../context.js';
import { parseRegistryHost } from '../locations.js';
import { addConnectionOptions, parseGithubApi, type ConnectionFlags } from '../options.js';
import { formatTable, printJson, printLine, say, type Output, type OutputFlags } from '../output.js';
import { likeHost, Session } from '../session.js';

/** Adds `probe`. */
export function addProbeCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('probe')
    .summary('find out what a registry can do')
    .description(
      'Finds out what a registry can do. With a prefix it pushes a tiny artifact, tries everything on it, and deletes it again where that is possible, also after a failure; what stays is named.',
    )
    .argument('<registry>', 'host[:port][/prefix], such as ghcr.io/me/my-channel')
    .option('--github-api <url>', "base URL of GitHub's API, for ghcr.io and its like", parseGithubApi)
    .option('--json', 'print what was found as JSON')
    .addHelpText(
      'after',
      `
Exit status: 0 found out, 2 usage, 3 there is no registry, or it takes no push.

Examples:
  conda-ferry probe ghcr.io
  conda-ferry probe 127.0.0.1:5000/my-channel --json`,
    )
    .action(async (target: string, flags: ConnectionFlags & Pick<OutputFlags, 'json'>) => {
      const { host, prefix } = parseTarget(target);
      await using session = new Session(context, flags);
      const { baseUrl, send } = session.openSend(host, prefix === undefined ? 'only' : 'destination');
      const report = await probeRegistry({
        baseUrl,
        send,
        sendAnonymously: session.openAnonymousSend(host),
        prefix,
        profile: flags.profile === undefined ? undefined : likeHost(flags.profile),
        githubPackages:
          prefix === undefined ? undefined : session.openGithubPackages(host, prefix.split('/')[0] ?? ''),
        nonce: randomBytes(4).toString('hex'),
        mediaTypes: { config: schemaV0.config.mediaType, layer: PACKAGE_CONDA },
        signal: context.signal,
        onLeftBehind: (reference) => {
          say(context.output, `left behind: ${reference}`);
        },
      });
      if (flags.json === true) printJson(context.output, report);
      else printReport(context.output, report);
    });
  addConnectionOptions(command);
}

function parseTarget(target: string): { readonly host: string; readonly prefix: string | undefined } {
  const bare = target.replace(/^(?:oci|docker|https?):\/\//i, '').replace(/\/+$/, '');
  const slash = bare.indexOf('/');
  if (slash === -1) return { host: parseRegistryHost(bare), prefix: undefined };
  return {
    host: parseRegistryHost(bare.slice(0, slash)),
    prefix: parseRepositoryName(bare.slice(slash + 1)),
  };
}

function printReport(output: Output, report: ProbeReport): void {
  const { host, authentication, profile, repository } = report;
  printLine(
    output,
    `${host}, ${authentication === 'none' ? 'open to everybody' : `${authentication} authentication`}`,
  );
  const limit = profile.requestsPerMinute;
  if (limit !== undefined) printLine(output, `known to allow ${String(limit)} requests a minute`);
  if (profile.note !== undefined) printLine(output, `known: ${profile.note}`);
  printLine(output);
  const rows = report.findings.map(({ subject, result, detail }) => [
    `  ${PROBE_SUBJECTS[subject]}`,
    result === 'unknown' ? '?' : result,
    detail,
  ]);
  for (const line of formatTable(rows)) printLine(output, line);
  printLine(output);
  if (repository === undefined) {
    printLine(output, `nothing was written; conda-ferry probe ${host}/PREFIX tries a push`);
    return;
  }
  printLine(output, `tried in ${host}/${repository}`);
  for (const reference of report.leftBehind) printLine(output, `left behind: ${reference}`);
}
