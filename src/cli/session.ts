import { readFileSync } from 'node:fs';
import { ChannelStore } from '../artifact/channel-store.js';
import { OciChannel } from '../artifact/oci-channel.js';
import type { SchemaId } from '../artifact/schema.js';
import { schemaV0 } from '../artifact/schema-v0.js';
import { WorkerPool } from '../artifact/worker-pool.js';
import { DirectoryChannel } from '../channel/directory-channel.js';
import { HttpChannel } from '../channel/http-channel.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';
import { openHttpClient } from '../http/client.js';
import type { Credential } from '../http/credentials/credential.js';
import type { HttpRequest, Send } from '../http/send.js';
import { openLayoutRegistry } from '../image-layout/layout-registry.js';
import type { Registry } from '../oci/storage.js';
import { RegistryClient } from '../registry/registry-client.js';
import type { Location } from './locations.js';

/** Version of this package, from its own package.json. */
export const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** Flags that concern locations. */
export interface LocationFlags {
  readonly plainHttp?: boolean | undefined;
  readonly schema?: string | undefined;
}

/** What one command has open; closed together at its end. */
export class Session implements AsyncDisposable {
  readonly #open: AsyncDisposable[] = [];
  readonly #environment: NodeJS.ProcessEnv;
  readonly #requests = { source: 0, destination: 0 };
  #workers: WorkerPool | undefined;

  constructor(environment: NodeJS.ProcessEnv) {
    this.#environment = environment;
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

  /** Opens a location to read a channel from. Only what its own URL says is sent to it as credentials. */
  openChannel(location: Location, flags: LocationFlags): ChannelSource {
    if (location.kind === 'folder') return new DirectoryChannel(location.path);
    if (location.kind === 'web') {
      const url = new URL(location.url);
      const credentials = credentialsOf(url);
      url.username = '';
      url.password = '';
      return new HttpChannel(url, this.#openSend('source', url.origin, credentials));
    }
    return new OciChannel(this.openStore(location, flags, 'source'));
  }

  /**
   * Opens a location to keep a channel in.
   * @throws FerryError `USAGE` for ordinary channels and unknown schemas
   */
  openStore(
    location: Location,
    flags: LocationFlags,
    side: 'source' | 'destination' = 'destination',
  ): ChannelStore {
    const schema = schemaOf(flags.schema ?? 'v0');
    if (location.kind === 'registry' && location.path === '') {
      throw new FerryError('CHANNEL_INVALID', `\`oci://${location.host}\` lacks the path of a channel`, {
        hint: `write oci://${location.host}/NAME`,
      });
    }
    if (location.kind === 'registry') {
      return new ChannelStore(this.openRegistry(location, flags, side), location.path, schema);
    }
    if (location.kind === 'layout')
      return new ChannelStore(this.openRegistry(location, flags, side), '', schema);
    throw new FerryError('USAGE', 'an ordinary conda channel cannot be the destination yet', {
      hint: 'write oci://host/path or oci-layout:./dir',
    });
  }

  /** Opens a registry or a tree of image layouts. */
  openRegistry(
    location: Extract<Location, { readonly kind: 'registry' | 'layout' }>,
    flags: LocationFlags,
    side: 'source' | 'destination',
  ): Registry {
    if (location.kind === 'layout') return this.#use(openLayoutRegistry(location.path));
    const options = { host: location.host, plainHttp: flags.plainHttp };
    const { baseUrl } = new RegistryClient({ ...options, send: unusedSend });
    const credentials = side === 'destination' ? this.#destinationCredentials() : undefined;
    const send = this.#openSend(side, baseUrl.origin, credentials);
    return this.#use(new RegistryClient({ ...options, send }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resource of this.#open.reverse()) await resource[Symbol.asyncDispose]();
  }

  #use<T extends AsyncDisposable>(resource: T): T {
    this.#open.push(resource);
    return resource;
  }

  /** Each side has connections and credentials of its own; a credential belongs to one origin. */
  #openSend(side: 'source' | 'destination', origin: string, credentials: Credential | undefined): Send {
    const client = openHttpClient({
      userAgent: `conda-ferry/${VERSION}`,
      findCredential: (place) => Promise.resolve(place.origin === origin ? credentials : undefined),
      onRequest: (_request: HttpRequest) => {
        this.#requests[side] += 1;
      },
    });
    return this.#use(client).send;
  }

  #destinationCredentials(): Credential | undefined {
    const { CONDA_FERRY_USERNAME: username, CONDA_FERRY_PASSWORD: password } = this.#environment;
    return username === undefined || password === undefined
      ? undefined
      : { kind: 'basic', username, password };
  }
}

function schemaOf(id: string) {
  const schemas: Readonly<Record<SchemaId, typeof schemaV0>> = { v0: schemaV0 };
  const schema = Object.hasOwn(schemas, id) ? schemas[id as SchemaId] : undefined;
  if (schema === undefined) {
    throw new FerryError('USAGE', `there is no schema \`${id}\``, { hint: 'this version knows v0 only' });
  }
  return schema;
}

function credentialsOf(url: URL): Credential | undefined {
  if (url.username === '') return undefined;
  return {
    kind: 'basic',
    username: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
  };
}

const unusedSend: Send = () => Promise.reject(new FerryError('INTERNAL', 'no request was expected'));
