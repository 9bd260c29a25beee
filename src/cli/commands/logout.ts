import type { Command } from 'commander';
import { eraseCredential } from '../../http/credentials/save-credential.js';
import type { CommandContext } from '../context.js';
import { loginHelpers } from '../login-file.js';
import { parseRegistryHost } from '../locations.js';
import { Network } from '../network.js';
import type { ConnectionFlags } from '../options.js';
import { printLine } from '../output.js';

/** Adds `logout`. */
export function addLogoutCommand(program: Command, context: CommandContext): void {
  program
    .command('logout')
    .summary('forget the credentials of a registry')
    .description('Removes the credentials of a registry from every file that they are looked for in.')
    .argument('<registry>', 'host[:port], such as ghcr.io')
    .option('--registry-config <file>', "credential file instead of Docker's and Podman's")
    .addHelpText(
      'after',
      `
Examples:
  conda-ferry logout ghcr.io`,
    )
    .action(async (registry: string, flags: Pick<ConnectionFlags, 'registryConfig'>) => {
      const host = parseRegistryHost(registry);
      const network = new Network(context, flags);
      const helpers = loginHelpers(network);
      let hasErased = false;
      for (const file of network.authFiles()) {
        if (!(await eraseCredential(file, host, { helpers, signal: context.signal }))) continue;
        hasErased = true;
        printLine(context.output, `logged out of ${host}; removed from ${file}`);
      }
      if (!hasErased) printLine(context.output, `there were no credentials for ${host}`);
    });
}
