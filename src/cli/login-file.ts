import { helperFor, keysFor, parseAuthFile } from '../http/credentials/auth-file.js';
import { readCredentialFile } from '../http/credentials/credential-file.js';
import { createCredentialHelpers, type CredentialHelpers } from '../http/credentials/credential-helper.js';
import { hostsOfOrigin } from '../http/credentials/registry-host.js';
import type { Network } from './network.js';

/**
 * Where a login is kept: the file that has one for this registry already, since files before the last would hide a
 * new one there; else Docker's, which is the last of them.
 */
export async function loginFileFor(
  network: Network,
  host: string,
): Promise<{ readonly file: string; readonly helpers: CredentialHelpers }> {
  const helpers = loginHelpers(network);
  const files = network.authFiles();
  const hosts = hostsOfOrigin(`https://${host}`);
  for (const file of files) {
    const text = await readCredentialFile(file);
    if (text === undefined) continue;
    const parsed = parseAuthFile(text, `credential file \`${file}\``);
    const isKept =
      helperFor(parsed, hosts) !== undefined || keysFor(parsed.auths, hosts, undefined).length > 0;
    if (isKept) return { file, helpers };
  }
  const last = files.at(-1);
  if (last === undefined) throw new RangeError('there is always a credential file');
  return { file: last, helpers };
}

/** The credential helpers that logins may be kept by. */
export function loginHelpers(network: Network): CredentialHelpers {
  return createCredentialHelpers({ environment: network.environment });
}
