import { MAIN_LABEL } from '../artifact/channel-path.js';
import { ChannelStore } from '../artifact/channel-store.js';
import { OciChannel } from '../artifact/oci-channel.js';
import type { Schema, SchemaId } from '../artifact/schema.js';
import { schemaV0 } from '../artifact/schema-v0.js';
import { schemaV1 } from '../artifact/schema-v1.js';
import { WorkerPool } from '../artifact/worker-pool.js';
import { DirectoryChannel } from '../channel/directory-channel.js';
import { HttpChannel } from '../channel/http-channel.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';
import type { Credential } from '../http/credentials/credential.js';
import { withoutUserinfo } from '../http/credentials/channel-credential.js';
import type { HttpRequest, Send } from '../http/send.js';
import { openLayoutRegistry } from '../image-layout/layout-registry.js';
import type { Registry } from '../oci/storage.js';
import { GithubPackages } from '../registry/github-packages.js';
import { profileOf, type HostProfile } from '../registry/host-profile.js';
import { RegistryClient, registryBaseUrl, type RegistryClientOptions } from '../registry/registry-client.js';
import { CHANNEL_CREDENTIALS_HINT } from './advice.js';
import type { CommandContext } from './context.js';
import type { Location, StoreLocation } from './locations.js';
import { Network, type LoginWitness, type NetworkOptions, type RegistryRole } from './network.js';
import type { LocationFlags } from './options.js';

const DEFAULT_GITHUB_API = 'https://api.github.com/';
/** Names of GitHub's users and organizations. */
const GITHUB_OWNER = /^[a-z0-9][a-z0-9-]*$/i;
// Many servers answer 404 to those who may not know of a channel.
const PRIVATE_CHANNEL_HINT = `if the channel is private, ${CHANNEL_CREDENTIALS_HINT}`;

/** Options of a {@link Session}. */
export interface SessionOptions extends NetworkOptions {
  /** Called for every request that goes out. */
  readonly onRequest?: (() => void) | undefined;
}

/** What one command has open; closed together at its end. */
export class Session implements AsyncDisposable {
  readonly #open: AsyncDisposable[] = [];
  readonly #requests = { source: 0, destination: 0 };
  readonly network: Network;
  readonly #flags: LocationFlags;
  readonly #hints: CommandContext['hints'];
  readonly #onRequest: (() => void) | undefined;
  #workers: WorkerPool | undefined;

  constructor(context: CommandContext, flags: LocationFlags, options: SessionOptions = {}) {
    this.network = new Network(context, flags, options);
    this.#onRequest = options.onRequest;
    this.#flags = flags;
    this.#hints = context.hints;
  }

  /** Requests sent so far, by side. */
  get requests(): { readonly source: number; readonly destination: number } {
    return this.#requests;
  }

  /** Worker threads, started on first use. */
  get workers(): WorkerPool {
    this.#workers ??= this.#use(new WorkerPool());
    return this.#workers;
  }

  /**
   * Opens a location to read a channel from; `role` is `only` where no other registry is in play.
   * @throws FerryError `USAGE` for a label of an ordinary channel
   */
  openChannel(location: Location, role: 'source' | 'only' = 'source'): ChannelSource {
    const { label, schema = 'v0', sourceLabel = label, sourceSchema = schema } = this.#flags;
    const ofOrdinary = role === 'only' ? label : this.#flags.sourceLabel;
    if (!isStorable(location) && ofOrdinary !== undefined && ofOrdinary !== MAIN_LABEL) {
      throw new FerryError('USAGE', `the label \`${ofOrdinary}\` of an ordinary channel is part of its URL`, {
        hint: `write it behind the channel: …/label/${ofOrdinary}`,
      });
    }
    if (location.kind === 'folder') return new DirectoryChannel(location.path);
    if (location.kind === 'web') {
      this.#hints.set('CHANNEL_NOT_FOUND', PRIVATE_CHANNEL_HINT);
      const client = this.#use(this.network.openChannelClient(location.url, this.#counter('source')));
      return new HttpChannel(withoutUserinfo(location.url), client.send);
    }
    const flags = { schema: sourceSchema, label: sourceLabel };
    const store = this.#openStore(location, role, flags);
    this.#hints.set('CHANNEL_NOT_FOUND', notFoundHint(store.schema.id, role));
    return new OciChannel(store);
  }

  /** Opens the way to a web server once, for a channel and what lies below it, such as its labels. */
  openWebChannels({ url }: Extract<Location, { readonly kind: 'web' }>): (below?: string) => HttpChannel {
    const client = this.#use(this.network.openChannelClient(url, this.#counter('source')));
    return (below = '') => {
      const base = withoutUserinfo(url);
      if (below !== '') base.pathname = `${base.pathname.replace(/\/+$/, '')}/${below}`;
      return new HttpChannel(base, client.send);
    };
  }

  /** Opens a channel that a ledger names: a label is part of the name. */
  openNamedChannel(location: Location): ChannelSource {
    if (!isStorable(location)) return this.openChannel(location);
    const { schema = 'v0', sourceSchema = schema } = this.#flags;
    return new OciChannel(this.#openStore(location, 'source', { schema: sourceSchema, label: undefined }));
  }

  /**
   * Opens a location to keep a channel in.
   * @throws FerryError `USAGE` for ordinary channels and unknown schemas
   */
  openStore(location: Location, role: RegistryRole = 'destination'): ChannelStore {
    return this.#openStore(location, role, this.#flags);
  }

  /**
   * Opens the channel in a store that a command is about; with the role `destination` it may be written, and deleted from.
   * @throws FerryError `USAGE` for ordinary channels and unknown schemas
   */
  openStoredChannel(location: Location, role: 'destination' | 'only'): ChannelStore {
    const stored = checkStorable(
      location,
      'that is an ordinary conda channel, and no registry or image layout',
    );
    return this.#openStore(stored, role, this.#flags);
  }

  /**
   * Opens a channel to read and one to write, each with a schema of its own. In one registry both share the way there, so
   * that a token for the one holds for mounts from the other; credentials are then those of the destination.
   * @throws FerryError `USAGE` for ordinary channels
   */
  openStores(
    source: { readonly location: Location; readonly schema: Schema },
    destination: { readonly location: Location; readonly schema: Schema },
  ): { readonly source: ChannelStore; readonly destination: ChannelStore } {
    const { label } = this.#flags;
    const to = checkStorable(destination.location);
    const from = checkStorable(
      source.location,
      'only a channel in a registry or in image layouts can be migrated',
    );
    const registry = this.openRegistry(to, 'destination');
    const isShared = isSameRegistry(from, to);
    return {
      source: this.#storeAt(
        from,
        source.schema,
        () => (isShared ? registry : this.openRegistry(from, 'source')),
        label,
      ),
      destination: this.#storeAt(to, destination.schema, () => registry, label),
    };
  }

  /**
   * Opens a channel to read and a place to mirror it to. In one registry, or one tree of image layouts, both share the
   * way there, as with {@link openStores}; so blobs can be mounted.
   * @throws FerryError `USAGE` as {@link openChannel} and {@link openStore}
   */
  openMirror(
    source: Location,
    destination: Location,
  ): { readonly source: ChannelSource; readonly destination: ChannelStore } {
    const { label, schema = 'v0', sourceLabel = label, sourceSchema = schema } = this.#flags;
    const to = checkStorable(destination);
    if (!isStorable(source) || !isSameRegistry(source, to))
      return { source: this.openChannel(source), destination: this.openStore(to) };
    this.#hints.set('CHANNEL_NOT_FOUND', notFoundHint(schemaOf(sourceSchema).id, 'source'));
    const registry = this.openRegistry(to, 'destination');
    const open = (): Registry => registry;
    const from = this.#storeAt(source, schemaOf(sourceSchema), open, sourceLabel);
    const into = this.#storeAt(to, schemaOf(schema), open, label);
    // With filters it would no longer list what they leave out, and have no source to get it back from.
    if (from.path === into.path)
      throw new FerryError('USAGE', `\`${into.location}\` is the source and the destination`);
    return { source: new OciChannel(from), destination: into };
  }

  #openStore(
    location: Location,
    role: RegistryRole,
    { label, schema: id }: Pick<LocationFlags, 'label' | 'schema'>,
  ): ChannelStore {
    const open = (): Registry => this.openRegistry(checkStorable(location), role);
    return this.#storeAt(location, schemaOf(id ?? 'v0'), open, label);
  }

  #storeAt(
    location: Location,
    schema: Schema,
    open: () => Registry,
    label: string | undefined,
  ): ChannelStore {
    if (location.kind === 'registry' && location.path === '') {
      throw new FerryError('CHANNEL_INVALID', `\`oci://${location.host}\` lacks the path of a channel`, {
        hint: `write oci://${location.host}/NAME`,
      });
    }
    return new ChannelStore(open(), location.kind === 'registry' ? location.path : '', schema, label);
  }

  /** Opens the channel that an artifact's place lies in. */
  openStoreAt(
    location: Extract<Location, { readonly kind: 'registry' | 'layout' }>,
    path: string,
    label: string | undefined,
  ): ChannelStore {
    return new ChannelStore(
      this.openRegistry(location, 'only'),
      path,
      schemaOf(this.#flags.schema ?? 'v0'),
      label,
    );
  }

  /** Opens a registry or a tree of image layouts. */
  openRegistry(location: StoreLocation, role: RegistryRole): Registry {
    if (location.kind === 'layout') return this.#use(openLayoutRegistry(location.path));
    const owner = role === 'destination' ? (location.path.split('/')[0] ?? '') : '';
    return this.openRegistryClient(location.host, role, owner);
  }

  /** Opens a registry by its host; `owner` is whose repositories may have to be listed, or deleted. */
  openRegistryClient(host: string, role: RegistryRole, owner = ''): RegistryClient {
    const { send } = this.openSend(host, role);
    const githubPackages = GITHUB_OWNER.test(owner) ? this.openGithubPackages(host, owner) : undefined;
    return this.#use(new RegistryClient({ ...this.#place(host), send, githubPackages }));
  }

  /** Opens a registry with one credential. */
  openRegistryWith(host: string, credential: Credential, witness: LoginWitness): RegistryClient {
    const client = this.#use(this.network.openLoginClient(this.#baseUrl(host).origin, credential, witness));
    return this.#use(new RegistryClient({ ...this.#place(host), send: client.send }));
  }

  /** Opens the bare way to a registry, with whatever credentials there are for it. */
  openSend(host: string, role: RegistryRole): { readonly baseUrl: URL; readonly send: Send } {
    const baseUrl = this.#baseUrl(host);
    const onRequest = this.#counter(role === 'destination' ? 'destination' : 'source');
    const client = this.#use(this.network.openRegistryClient({ origin: baseUrl.origin, role, onRequest }));
    return { baseUrl, send: client.send };
  }

  /** Opens GitHub's API for the packages of an owner, where the registry keeps them there. */
  openGithubPackages(host: string, owner: string): GithubPackages | undefined {
    if (profileOf(this.#flags.profile ?? host).deleteBy !== 'github-packages') return undefined;
    const apiUrl = this.#flags.githubApi ?? new URL(DEFAULT_GITHUB_API);
    const client = this.#use(this.network.openGithubClient(apiUrl, this.#baseUrl(host).origin));
    return new GithubPackages({ send: client.send, owner, apiUrl });
  }

  /** Opens the bare way to a registry, without credentials. */
  openAnonymousSend(host: string): Send {
    return this.#use(this.network.openAnonymousClient(this.#baseUrl(host).origin)).send;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resource of this.#open.reverse()) await resource[Symbol.asyncDispose]();
  }

  #use<T extends AsyncDisposable>(resource: T): T {
    this.#open.push(resource);
    return resource;
  }

  #place(host: string): Pick<RegistryClientOptions, 'host' | 'plainHttp' | 'profile'> {
    const { plainHttp, profile } = this.#flags;
    return { host, plainHttp, profile: profile === undefined ? undefined : likeHost(profile) };
  }

  #baseUrl(host: string): URL {
    return registryBaseUrl(this.#place(host));
  }

  #counter(side: 'source' | 'destination'): (request: HttpRequest) => void {
    return () => {
      this.#requests[side] += 1;
      this.#onRequest?.();
    };
  }
}

/** @throws FerryError `USAGE` for ordinary channels */
function checkStorable(
  location: Location,
  message = 'an ordinary conda channel cannot be the destination yet',
): StoreLocation {
  if (isStorable(location)) return location;
  throw new FerryError('USAGE', message, { hint: 'write oci://host/path or oci-layout:./dir' });
}

function isStorable(location: Location): location is StoreLocation {
  return location.kind === 'registry' || location.kind === 'layout';
}

/** Whether both lie in one registry, or in one tree of image layouts. */
function isSameRegistry(a: StoreLocation, b: StoreLocation): boolean {
  if (a.kind === 'registry') return b.kind === 'registry' && a.host.toLowerCase() === b.host.toLowerCase();
  return b.kind === 'layout' && a.path === b.path;
}

/** A channel that was looked for by the wrong schema is a frequent one. @see v1/B14 */
function notFoundHint(schema: SchemaId, role: 'source' | 'only'): string {
  const flag = role === 'only' ? '--schema' : '--source-schema';
  return `it was looked for by schema ${schema}; ${flag} ${schema === 'v0' ? 'v1' : 'v0'} looks for the other`;
}

/** The profile of another host, without what is the host's own. */
export function likeHost(host: string): HostProfile {
  return { ...profileOf(host), apiHost: undefined, defaultNamespace: undefined };
}

/** Finds a schema by its id. @throws FerryError `USAGE` */
export function schemaOf(id: string): Schema {
  const schemas: Readonly<Record<SchemaId, Schema>> = { v0: schemaV0, v1: schemaV1 };
  const schema = Object.hasOwn(schemas, id) ? schemas[id as SchemaId] : undefined;
  if (schema === undefined) {
    throw new FerryError('USAGE', `there is no schema \`${id}\``, { hint: 'write v0 or v1' });
  }
  return schema;
}
