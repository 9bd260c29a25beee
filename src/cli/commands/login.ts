import type { Command } from 'commander';
import { FerryError } from '../../errors.js';
import type { Credential } from '../../http/credentials/credential.js';
import { saveCredential } from '../../http/credentials/save-credential.js';
import type { CommandContext } from '../context.js';
import { loginFileFor } from '../login-file.js';
import { readSecret, type LoginWitness } from '../network.js';
import { addConnectionOptions, type ConnectionFlags } from '../options.js';
import { printLine, say } from '../output.js';
import { ask } from '../prompt.js';
import { parseRegistryHost } from '../locations.js';
import { Session } from '../session.js';

interface LoginFlags extends ConnectionFlags {
  readonly identityTokenStdin?: boolean | undefined;
}

/** Adds `login`. */
export function addLoginCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('login')
    .summary('keep the credentials of a registry')
    .description(
      'Checks credentials with a registry, and keeps them where docker, podman and oras find them too.',
    )
    .argument('<registry>', 'host[:port], such as ghcr.io')
    .option('--identity-token-stdin', 'read a refresh token from stdin instead of a password')
    .addHelpText(
      'after',
      `
Examples:
  conda-ferry login 127.0.0.1:5000
  echo "$TOKEN" | conda-ferry login ghcr.io --username me --password-stdin`,
    )
    .action(async (registry: string, flags: LoginFlags) => {
      const host = parseRegistryHost(registry);
      const credential = await readCredential(flags, context);
      await using session = new Session(context, { ...flags, username: undefined, passwordStdin: undefined });
      const witness: LoginWitness = { isAsked: false, isSent: false };
      const client = session.openRegistryWith(host, credential, witness);
      await client.ping({ signal: context.signal });
      if (witness.isAsked && !witness.isSent) {
        const message = `\`${host}\` gave access without these credentials, which it never got; nothing was kept`;
        throw new FerryError('REGISTRY_REFUSED', message);
      }
      const { file, helpers } = await loginFileFor(session.network, host);
      await saveCredential(file, host, credential, { helpers, signal: context.signal });
      if (!witness.isAsked)
        say(context.output, `warning: ${host} did not ask for credentials, so they are not checked`);
      printLine(context.output, `logged in to ${host}; kept in ${file}`);
    });
  addConnectionOptions(command);
}

async function readCredential(flags: LoginFlags, context: CommandContext): Promise<Credential> {
  if (flags.identityTokenStdin === true) {
    if (flags.username !== undefined || flags.passwordStdin === true) {
      const message = '`--identity-token-stdin` and `--username` with `--password-stdin` exclude each other';
      throw new FerryError('USAGE', message);
    }
    return { kind: 'refresh', token: await readSecret(context, 'token') };
  }
  if (flags.passwordStdin === true && flags.username === undefined) {
    throw new FerryError('USAGE', '`--password-stdin` needs `--username`');
  }
  const username = flags.username ?? (await ask('user name: ', context));
  const password =
    flags.passwordStdin === true
      ? await readSecret(context)
      : await ask('password or token: ', context, { secret: true });
  if (username === '' || password === '')
    throw new FerryError('USAGE', 'user name and password cannot be empty');
  // Neither the header nor the files have a place for it (RFC 7617, section 2).
  if (username.includes(':')) throw new FerryError('USAGE', 'a user name cannot hold a colon');
  return { kind: 'basic', username, password };
}
