/** Opens HTTP clients with all that the environment and the flags say about proxies, trust and credentials. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { FerryError } from '../errors.js';
import { openHttpClient, type HttpClient } from '../http/client.js';
import {
  createChannelCredentialFinder,
  credentialOfUrl,
  withoutUserinfo,
} from '../http/credentials/channel-credential.js';
import {
  authFilePaths,
  createCredentialFinder,
  type CredentialSources,
} from '../http/credentials/credential-chain.js';
import type { Credential, FindCredential } from '../http/credentials/credential.js';
import { netrcPath } from '../http/credentials/netrc.js';
import { rattlerAuthPaths } from '../http/credentials/rattler-auth.js';
import { HostLimits } from '../http/limit.js';
import type { HttpRequest } from '../http/send.js';
import { readCertsFolder, type TlsSettings } from '../http/tls.js';
import type { ProxySettings } from '../http/transport.js';
import { profileOf } from '../registry/host-profile.js';
import type { CommandContext } from './context.js';
import type { ConnectionFlags } from './options.js';
import { say } from './output.js';
import { VERSION } from './version.js';

/** Where Docker and Podman keep the certificates of single hosts. */
const CERTS_FOLDERS = ['/etc/containers/certs.d', '/etc/docker/certs.d'];

/** What a command does with a registry: `only` where it has to do with one alone and need not write. */
export type RegistryRole = 'source' | 'destination' | 'only';

/** The network as one command sees it. */
export class Network {
  readonly #context: CommandContext;
  readonly #flags: ConnectionFlags;
  readonly #limits: HostLimits;
  readonly #trusted: readonly string[];
  readonly #registries = new Set<string>();
  #ofFlags: Promise<Credential | undefined> | undefined;

  /** @throws FerryError `CREDENTIALS_UNREADABLE` for certificate files that cannot be read */
  constructor(context: CommandContext, flags: ConnectionFlags) {
    this.#context = context;
    this.#flags = flags;
    this.#limits = new HostLimits({
      statedLimit: (origin) => {
        const { host } = new URL(origin);
        const isRegistry = this.#registries.has(origin);
        return profileOf((isRegistry ? flags.profile : undefined) ?? host).requestsPerMinute;
      },
      onPause: ({ origin, ms }) => {
        this.#talk(`${new URL(origin).host} asks for a pause of ${String(Math.ceil(ms / 1000))} s`);
      },
    });
    this.#trusted = flags.caFile === undefined ? [] : [readPem(flags.caFile)];
  }

  /**
   * Opens a client for a registry. What flags say is for the registry that a command is about, or the destination where
   * there are two; what variables say without naming a host is for a destination alone.
   */
  openRegistryClient(options: {
    readonly origin: string;
    readonly role: RegistryRole;
    readonly onRequest?: (request: HttpRequest) => void;
  }): HttpClient {
    const { origin, role, onRequest } = options;
    this.#registries.add(origin);
    let finding: Promise<FindCredential> | undefined;
    return this.#open({
      origin,
      onRequest,
      role,
      findCredential: async (place, signal) => {
        finding ??= this.credentialSources(origin, role).then(createCredentialFinder);
        return (await finding)(place, signal);
      },
    });
  }

  /** Opens a client for a registry with this credential and no other; `undefined` for an anonymous one. */
  openClientWith(origin: string, credential: Credential | undefined): HttpClient {
    const findCredential: FindCredential = (place) =>
      Promise.resolve(place.origin === origin ? credential : undefined);
    return this.#open({ origin, role: 'only', findCredential });
  }

  /** Opens a client for GitHub's API, which takes the token that the registry takes as a password. */
  openGithubClient(apiUrl: URL, registryOrigin: string): HttpClient {
    return this.#open({
      origin: apiUrl.origin,
      role: 'source',
      findChannelCredential: async (url, signal) => {
        if (url.origin !== apiUrl.origin) return undefined;
        const sources = await this.credentialSources(registryOrigin, 'destination');
        const found = await createCredentialFinder(sources)({ origin: registryOrigin }, signal);
        return found?.kind === 'basic' ? { kind: 'bearer', token: found.password } : undefined;
      },
    });
  }

  /** Opens a client for an ordinary conda channel. Its URL may hold user name and password, or a token. */
  openChannelClient(channel: URL, onRequest: (request: HttpRequest) => void): HttpClient {
    const { environment } = this.#context;
    const home = homeOf(environment);
    const ofFiles = createChannelCredentialFinder({
      rattlerAuthFiles: rattlerAuthPaths(environment, home),
      netrcFile: netrcPath(environment, home),
    });
    const own = credentialOfUrl(channel);
    const { origin } = channel;
    return this.#open({
      origin,
      onRequest,
      role: 'source',
      findChannelCredential: async (url, signal) => {
        if (url.origin !== origin) return undefined;
        return own ?? (await ofFiles(withoutUserinfo(url), signal));
      },
    });
  }

  /** What programs that are started get to see. */
  get environment(): NodeJS.ProcessEnv {
    return this.#context.environment;
  }

  /** Where credentials for a registry are looked for. */
  async credentialSources(origin: string, role: RegistryRole): Promise<CredentialSources> {
    const { environment } = this.#context;
    const { GITHUB_TOKEN: token, GITHUB_ACTOR: username, DOCKER_AUTH_CONFIG } = environment;
    const ofFlags = role === 'source' ? undefined : await (this.#ofFlags ??= this.#readFlags());
    const credential = ofFlags ?? (role === 'destination' ? ofVariables(environment) : undefined);
    return {
      explicit: credential === undefined ? undefined : { origin, credential },
      authConfigText: this.#flags.registryConfig === undefined ? DOCKER_AUTH_CONFIG : undefined,
      authFiles: this.authFiles(),
      ghcrToken: token === undefined ? undefined : { token, username },
      helperEnvironment: environment,
    };
  }

  /** The credential files, in their order: the one that was named, or those that others use too. */
  authFiles(): readonly string[] {
    const { environment } = this.#context;
    const { registryConfig } = this.#flags;
    return registryConfig === undefined
      ? authFilePaths(environment, homeOf(environment), process.getuid?.())
      : [registryConfig];
  }

  async #readFlags(): Promise<Credential | undefined> {
    const { username, passwordStdin } = this.#flags;
    if (passwordStdin !== true && username === undefined) return undefined;
    if (passwordStdin !== true || username === undefined) {
      throw new FerryError('USAGE', '`--username` and `--password-stdin` belong together');
    }
    return { kind: 'basic', username, password: await readSecret(this.#context) };
  }

  #open(
    options: { readonly origin: string; readonly role: RegistryRole } & Pick<
      Parameters<typeof openHttpClient>[0],
      'findCredential' | 'findChannelCredential' | 'onRequest'
    >,
  ): HttpClient {
    return openHttpClient({
      ...options,
      userAgent: `conda-ferry/${VERSION}`,
      limits: this.#limits,
      proxy: proxiesOf(this.#context.environment),
      findTlsSettings: (origin) =>
        this.#tlsFor(origin, options.role === 'source' ? undefined : options.origin),
      onWarning: (warning) => {
        this.#talk(warning);
      },
    });
  }

  /** A client certificate and blind trust are for the host that was named; an authority may be trusted by all. */
  #tlsFor(origin: string, named: string | undefined): TlsSettings {
    const host = new URL(origin).host;
    const ofHost = readCertsFolder(this.#certsFolders(), host);
    const ca = [...this.#trusted, ...(ofHost?.ca ?? [])];
    if (origin !== named) return { ca, client: ofHost?.client };
    const { certFile, keyFile, insecure } = this.#flags;
    if ((certFile === undefined) !== (keyFile === undefined)) {
      throw new FerryError('USAGE', '`--cert-file` and `--key-file` belong together');
    }
    const client =
      certFile === undefined || keyFile === undefined
        ? ofHost?.client
        : { cert: readPem(certFile), key: readPem(keyFile) };
    if (insecure === true) this.#talk(`${host} is not checked to be who it says (--insecure)`);
    return { ca, client, insecure };
  }

  #certsFolders(): readonly string[] {
    const home = homeOf(this.#context.environment);
    return [join(home, '.config/containers/certs.d'), ...CERTS_FOLDERS];
  }

  #talk(warning: string): void {
    if (this.#flags.quiet !== true) say(this.#context.output, `warning: ${warning}`);
  }
}

/** Reads a secret that is piped in; a newline at its end is no part of it. @throws FerryError `USAGE` */
export async function readSecret({ stdin }: Pick<CommandContext, 'stdin'>): Promise<string> {
  const secret = (await text(stdin)).replace(/\r?\n$/, '');
  if (secret === '') throw new FerryError('USAGE', 'no password came on stdin');
  return secret;
}

/** The user's folder, as the environment says it. */
function homeOf(environment: NodeJS.ProcessEnv): string {
  return environment['HOME'] ?? homedir();
}

function ofVariables(environment: NodeJS.ProcessEnv): Credential | undefined {
  const { CONDA_FERRY_USERNAME, CONDA_FERRY_PASSWORD, ORAS_USER, ORAS_PASS } = environment;
  const pairs = [
    [CONDA_FERRY_USERNAME, CONDA_FERRY_PASSWORD],
    [ORAS_USER, ORAS_PASS],
  ] as const;
  for (const [username, password] of pairs) {
    if (username !== undefined && password !== undefined) return { kind: 'basic', username, password };
  }
  return undefined;
}

/** Both spellings, as Go reads them. */
function proxiesOf(environment: NodeJS.ProcessEnv): ProxySettings {
  const any = environment['all_proxy'] ?? environment['ALL_PROXY'];
  return {
    httpProxy: environment['http_proxy'] ?? environment['HTTP_PROXY'] ?? any,
    httpsProxy: environment['https_proxy'] ?? environment['HTTPS_PROXY'] ?? any,
    noProxy: environment['no_proxy'] ?? environment['NO_PROXY'],
  };
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new FerryError('CREDENTIALS_UNREADABLE', `\`${path}\` cannot be read`, { cause });
  }
}
