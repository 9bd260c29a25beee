/** Opens HTTP clients with all that the environment and the flags say about proxies, trust and credentials. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createSecureContext } from 'node:tls';
import { FerryError, isSystemError } from '../errors.js';
import { openHttpClient, type HttpClient } from '../http/client.js';
import {
  createChannelCredentialFinder,
  credentialOfUrl,
  withoutUserinfo,
  type FindChannelCredential,
} from '../http/credentials/channel-credential.js';
import {
  authFilePaths,
  createCredentialLocator,
  describeLookup,
  type CredentialSources,
  type ExplicitCredential,
  type LocateCredential,
} from '../http/credentials/credential-chain.js';
import type { Credential, FindCredential } from '../http/credentials/credential.js';
import { netrcPath } from '../http/credentials/netrc.js';
import { rattlerAuthPaths } from '../http/credentials/rattler-auth.js';
import type { HostLimitOptions } from '../http/host-limiter.js';
import { HostLimits } from '../http/limit.js';
import type { HttpRequest } from '../http/send.js';
import { readCertsFolder, type TlsSettings } from '../http/tls.js';
import type { ProxySettings } from '../http/transport.js';
import { profileOf } from '../registry/host-profile.js';
import { adviseOnChannel, adviseOnLogin, adviseOnRegistry } from './advice.js';
import type { CommandContext } from './context.js';
import type { ConnectionFlags } from './options.js';
import { say } from './output.js';
import { VERSION } from './version.js';

/** Where Docker and Podman keep the certificates of single hosts. */
const CERTS_FOLDERS = ['/etc/containers/certs.d', '/etc/docker/certs.d'];

/** What a command does with a registry: `only` where it has to do with one alone and need not write. */
export type RegistryRole = 'source' | 'destination' | 'only';

/** What became of a credential that is to be checked. */
export interface LoginWitness {
  /** Whether the registry wanted it. */
  isAsked: boolean;
  /** Whether it was sent: not to a token server that is no relation of the registry. */
  isSent: boolean;
}

/** For commands that somebody else waits for: what takes longer is told, and asked again by them. */
const IMPATIENT = {
  maxAttempts: 3,
  maxWaitMs: 2000,
  timeouts: { headersMs: 12_000, bodyMs: 20_000, windowMs: 20_000 },
};

/** How a command uses the network. */
export interface NetworkOptions {
  /** Whether somebody waits for each answer, as with a server. @defaultValue false */
  readonly isImpatient?: boolean | undefined;
  /** What other processes share with this one of a registry's patience. @defaultValue nothing */
  readonly sharedBudget?: HostLimitOptions['shared'];
  /** Reads what `--password-stdin` stands for. @defaultValue from stdin */
  readonly readPassword?: (() => Promise<string>) | undefined;
}

/** The network as one command sees it. */
export class Network {
  readonly #context: CommandContext;
  readonly #flags: ConnectionFlags;
  readonly #limits: HostLimits;
  readonly #patience: Partial<typeof IMPATIENT>;
  readonly #trusted: readonly string[];
  readonly #registries = new Set<string>();
  /** Client certificate of the flags. */
  readonly #client: { readonly cert: string; readonly key: string } | undefined;
  readonly #readPassword: () => Promise<string>;
  #ofFlags: Promise<Credential> | undefined;

  /** @throws FerryError `USAGE`; `CREDENTIALS_UNREADABLE` for certificate files that cannot be read */
  constructor(context: CommandContext, flags: ConnectionFlags, options: NetworkOptions = {}) {
    const { isImpatient = false, sharedBudget, readPassword } = options;
    this.#context = context;
    this.#readPassword = readPassword ?? (() => readSecret(context));
    this.#flags = flags;
    this.#patience = isImpatient ? IMPATIENT : {};
    this.#limits = new HostLimits({
      maxWaitMs: isImpatient ? IMPATIENT.maxWaitMs : undefined,
      statedLimit: (origin) => {
        const { host } = new URL(origin);
        const isRegistry = this.#registries.has(origin);
        return profileOf((isRegistry ? flags.profile : undefined) ?? host).requestsPerMinute;
      },
      shared:
        sharedBudget &&
        ((origin, identity) => (this.#registries.has(origin) ? sharedBudget(origin, identity) : undefined)),
      onPause: ({ origin, ms }) => {
        this.#talk(`${new URL(origin).host} asks for a pause of ${String(Math.ceil(ms / 1000))} s`);
      },
    });
    checkPairs(flags);
    const { caFile, certFile, keyFile } = flags;
    this.#trusted = caFile === undefined ? [] : [readPem(caFile, (ca) => new X509Certificate(ca))];
    if (certFile !== undefined && keyFile !== undefined) {
      const cert = readPem(certFile, (text) => new X509Certificate(text));
      // Fails for the key of another certificate too.
      this.#client = { cert, key: readPem(keyFile, (key) => createSecureContext({ cert, key })) };
    }
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
    // What is wrong with the command line is told before anything is done.
    if (role === 'destination') credentialOfVariables(this.#context.environment);
    let settled: Promise<{ sources: CredentialSources; locate: LocateCredential }> | undefined;
    const settle = async () => {
      settled ??= this.credentialSources(origin, role).then((sources) => ({
        sources,
        locate: createCredentialLocator(sources),
      }));
      return settled;
    };
    return this.#open({
      origin,
      onRequest,
      role,
      findCredential: async (place, signal) => (await (await settle()).locate(place, signal))?.credential,
      advise: async ({ url, access, signal }, refusal) => {
        const place = { origin: url.origin, repository: access?.repository };
        const { sources, locate } = await settle();
        const lookedIn = describeLookup(sources, place);
        const found = await locate(place, signal);
        return adviseOnRegistry({ host: url.host, refusal, access, found, lookedIn });
      },
    });
  }

  /** Opens a client for a registry with this credential and no other. */
  openLoginClient(origin: string, credential: Credential, witness: LoginWitness): HttpClient {
    const findCredential: FindCredential = (place) => {
      if (place.origin !== origin) return Promise.resolve(undefined);
      witness.isAsked = true;
      return Promise.resolve(credential);
    };
    const advice = adviseOnLogin(new URL(origin).host, credential);
    return this.#open({
      origin,
      role: 'only',
      findCredential,
      advise: () => Promise.resolve(advice),
      onRequest: ({ method, headers }) => {
        // A refresh token is posted; whoever logs in posts nothing else.
        if (method === 'POST' || /^basic /i.test(headers?.['authorization'] ?? '')) witness.isSent = true;
      },
    });
  }

  /** Opens a client for a registry that has no credentials at all. */
  openAnonymousClient(origin: string): HttpClient {
    return this.#open({ origin, role: 'only' });
  }

  /** Opens a client for GitHub's API, which takes the token that the registry takes as a password. */
  openGithubClient(apiUrl: URL, registryOrigin: string): HttpClient {
    return this.#open({
      origin: apiUrl.origin,
      role: 'source',
      findChannelCredential: async (url, signal) => {
        if (url.origin !== apiUrl.origin) return undefined;
        const sources = await this.credentialSources(registryOrigin, 'destination');
        const found = await createCredentialLocator(sources)({ origin: registryOrigin }, signal);
        const credential = found?.credential;
        return credential?.kind === 'basic' ? { kind: 'bearer', token: credential.password } : undefined;
      },
    });
  }

  /** Opens a client for an ordinary conda channel. Its URL may hold user name and password, or a token. */
  openChannelClient(channel: URL, onRequest: (request: HttpRequest) => void): HttpClient {
    const { origin, host } = channel;
    const sources = this.#channelSources(channel);
    const locate = async (url: URL, signal: AbortSignal | undefined) => {
      if (url.origin !== origin) return undefined;
      for (const { from, find } of sources) {
        const credential = await find(withoutUserinfo(url), signal);
        if (credential !== undefined) return { credential, from };
      }
      return undefined;
    };
    return this.#open({
      origin,
      onRequest,
      role: 'source',
      findChannelCredential: async (url, signal) => (await locate(url, signal))?.credential,
      advise: async ({ url, signal }) => {
        const found = await locate(url, signal);
        return adviseOnChannel(
          host,
          found,
          sources.map(({ from }) => from),
        );
      },
    });
  }

  /** Where credentials of an ordinary channel are looked for: its URL, rattler's files, netrc. */
  #channelSources(channel: URL): readonly { readonly from: string; readonly find: FindChannelCredential }[] {
    const { environment } = this.#context;
    const home = homeOf(environment);
    const own = credentialOfUrl(channel);
    const netrcFile = netrcPath(environment, home);
    return [
      { from: 'its URL', find: () => Promise.resolve(own) },
      ...rattlerAuthPaths(environment, home).map((path) => ({
        from: path,
        find: createChannelCredentialFinder({ rattlerAuthFiles: [path] }),
      })),
      { from: netrcFile, find: createChannelCredentialFinder({ rattlerAuthFiles: [], netrcFile }) },
    ];
  }

  /** What programs that are started get to see. */
  get environment(): NodeJS.ProcessEnv {
    return this.#context.environment;
  }

  /** Where credentials for a registry are looked for. */
  async credentialSources(origin: string, role: RegistryRole): Promise<CredentialSources> {
    const { environment } = this.#context;
    const { GITHUB_TOKEN: token, GITHUB_ACTOR: username, DOCKER_AUTH_CONFIG } = environment;
    return {
      explicit: await this.#explicitFor(origin, role),
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

  async #explicitFor(origin: string, role: RegistryRole): Promise<ExplicitCredential | undefined> {
    if (role === 'source') return undefined;
    const { username } = this.#flags;
    if (username !== undefined) {
      this.#ofFlags ??= this.#readPassword().then((password) => ({ kind: 'basic', username, password }));
      return { origin, credential: await this.#ofFlags, from: '--username and --password-stdin' };
    }
    const ofVariables = role === 'destination' ? credentialOfVariables(this.#context.environment) : undefined;
    return ofVariables && { origin, ...ofVariables };
  }

  #open(
    options: { readonly origin: string; readonly role: RegistryRole } & Pick<
      Parameters<typeof openHttpClient>[0],
      'findCredential' | 'findChannelCredential' | 'onRequest' | 'advise'
    >,
  ): HttpClient {
    return openHttpClient({
      ...options,
      ...this.#patience,
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
    const { insecure } = this.#flags;
    const client = this.#client ?? ofHost?.client;
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
export async function readSecret(
  { stdin }: Pick<CommandContext, 'stdin'>,
  what: 'password' | 'token' = 'password',
): Promise<string> {
  const secret = (await text(stdin)).replace(/\r?\n$/, '');
  if (secret === '') throw new FerryError('USAGE', `no ${what} came on stdin`);
  return secret;
}

/** The user's folder, as the environment says it. */
function homeOf(environment: NodeJS.ProcessEnv): string {
  return environment['HOME'] || homedir();
}

function credentialOfVariables(
  environment: NodeJS.ProcessEnv,
): Omit<ExplicitCredential, 'origin'> | undefined {
  const pairs = [
    ['CONDA_FERRY_USERNAME', 'CONDA_FERRY_PASSWORD'],
    ['ORAS_USER', 'ORAS_PASS'],
  ] as const;
  for (const [user, pass] of pairs) {
    // In CI, a secret that a run may not have is an empty text.
    const username = environment[user] ?? '';
    const password = environment[pass] ?? '';
    const from = `${user} and ${pass}`;
    if (username !== '' && password !== '')
      return { credential: { kind: 'basic', username, password }, from };
    if (username === '' && password === '') continue;
    throw new FerryError('USAGE', `${from} belong together, and one of them is empty or not set`);
  }
  return undefined;
}

/** @throws FerryError `USAGE` for flags of which one is of no use without another */
function checkPairs({ username, passwordStdin, certFile, keyFile }: ConnectionFlags): void {
  if ((username === undefined) !== (passwordStdin !== true)) {
    throw new FerryError('USAGE', '`--username` and `--password-stdin` belong together');
  }
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new FerryError('USAGE', '`--cert-file` and `--key-file` belong together');
  }
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

/**
 * Reads a PEM file; `check` throws for what is none: TLS would pass it over without a word.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 */
export function readPem(path: string, check: (text: string) => unknown): string {
  try {
    const text = readFileSync(path, 'utf8');
    check(text);
    return text;
  } catch (cause) {
    const what = isSystemError(cause, 'ENOENT', 'EACCES', 'EISDIR')
      ? 'cannot be read'
      : 'is not what it should be';
    throw new FerryError('CREDENTIALS_UNREADABLE', `\`${path}\` ${what}`, { cause });
  }
}
