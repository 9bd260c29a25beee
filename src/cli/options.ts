import { InvalidArgumentError, type Command } from 'commander';
import { FerryError } from '../errors.js';
import { isLoopback } from '../http/address.js';
import { parseSize } from '../mirror/filters/quantities.js';

/** Flags that say how to reach registries. */
export interface ConnectionFlags {
  readonly plainHttp?: boolean | undefined;
  readonly insecure?: boolean | undefined;
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly username?: string | undefined;
  readonly passwordStdin?: boolean | undefined;
  readonly registryConfig?: string | undefined;
  /** Base URL of GitHub's API. */
  readonly githubApi?: URL | undefined;
  /** Host whose profile holds for the registry too. */
  readonly profile?: string | undefined;
  readonly quiet?: boolean | undefined;
}

/** Flags that concern locations. */
export interface LocationFlags extends ConnectionFlags {
  readonly schema?: string | undefined;
  readonly label?: string | undefined;
  /** Where it differs from the destination's. */
  readonly sourceSchema?: string | undefined;
  readonly sourceLabel?: string | undefined;
}

const CREDENTIALS_HELP = `
Credentials come from --username, from DOCKER_AUTH_CONFIG, from the files that
docker, podman, oras and conda-ferry login write, and for ghcr.io from
GITHUB_TOKEN. CONDA_FERRY_USERNAME and CONDA_FERRY_PASSWORD (or ORAS_USER and
ORAS_PASS) go to a destination only. Private conda channels: user:password@ or
/t/TOKEN/ in the URL, rattler's credentials.json, or netrc.`;

/** Adds the flags on how to reach a registry, named as oras names them. */
export function addConnectionOptions(command: Command): Command {
  return command
    .optionsGroup('Reaching registries:')
    .option('--plain-http', 'speak http with registries (it is the default for loopback hosts)')
    .option('--no-plain-http', 'speak https, with loopback hosts too')
    .option('--insecure', 'do not check the certificate of the registry')
    .option('--ca-file <file>', 'certificate of an authority to trust besides the usual ones')
    .option('--cert-file <file>', 'client certificate for the registry')
    .option('--key-file <file>', 'key of the client certificate')
    .option('--username <name>', 'user name for the registry, with --password-stdin')
    .option('--password-stdin', 'read the password from stdin')
    .option('--profile <host>', 'take the registry for one like HOST, such as ghcr.io')
    .option('--registry-config <file>', "credential file instead of Docker's and Podman's")
    .addHelpText('after', CREDENTIALS_HELP);
}

/** Parses the value of a flag that counts, such as `--sample`. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a number from 1 on is wanted.');
  return value;
}

/** Parses the value of `--concurrency`. */
export function parseConcurrency(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1024)
    throw new InvalidArgumentError('a number from 1 to 1024 is wanted.');
  return value;
}

/** Parses the value of `--stop-grace` and its like, in seconds. */
export function parseSeconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0) || value > 86_400)
    throw new InvalidArgumentError('seconds are wanted, up to a day.');
  return value;
}

/** Parses the value of `--temp-limit`, such as `20GB` or `512MiB`, into bytes. */
export function parseTempLimit(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes < 1)
    throw new InvalidArgumentError('a size such as 20GB or 512MiB is wanted.');
  return bytes;
}

/**
 * Parses the value of `--github-api`, such as `https://github.example.com/api/v3/`.
 * @throws FerryError `USAGE`
 */
export function parseGithubApi(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new FerryError('USAGE', '`--github-api` takes a URL', {
      hint: 'write https://HOST/api/v3/ for GitHub Enterprise',
    });
  }
  if (url.protocol === 'http:' && !isLoopback(url)) {
    throw new FerryError('USAGE', `\`--github-api\` needs https, since a token is sent to ${url.host}`);
  }
  return url;
}
