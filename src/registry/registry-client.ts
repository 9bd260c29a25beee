/**
 * The distribution-spec client: the content-store interfaces over HTTP. Everything goes through one `send`;
 * retries of single requests, redirects and authorization happen below it, retries of whole uploads here.
 */
import { FerryError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { ClockOptions } from '../http/clock.js';
import type { HttpRequest, Send } from '../http/send.js';
import { isRegistryHost, MAX_NAME_LENGTH, parseRepositoryName } from '../oci/reference.js';
import type { CallOptions, Registry } from '../oci/storage.js';
import { listPages } from './pages.js';
import { RepositoryClient } from './repository-client.js';
import type { UploadManners } from './upload-session.js';

/** Options of {@link RegistryClient}; time and chance concern the pauses between whole uploads. */
export interface RegistryClientOptions extends ClockOptions {
  /** Host with optional port, such as `ghcr.io` or `127.0.0.1:5000`. */
  readonly host: string;
  readonly send: Send;
  /** Speak http instead of https. @defaultValue true for loopback hosts only */
  readonly plainHttp?: boolean | undefined;
  /** What is known of how it takes uploads. @defaultValue nothing: it is found out */
  readonly uploads?: Partial<UploadManners> | undefined;
}

/** A registry reached over HTTP. @see distribution-spec v1.1.1 */
export class RegistryClient implements Registry {
  readonly location: string;
  /** The limit counts the host too. */
  readonly maxNameLength: number;
  /** Such as `https://ghcr.io/`. */
  readonly baseUrl: URL;
  readonly #send: Send;
  readonly #clock: ClockOptions;
  readonly #manners: UploadManners;
  readonly #repositories = new Map<string, RepositoryClient>();

  /** @throws FerryError `REFERENCE_INVALID` */
  constructor(options: RegistryClientOptions) {
    if (!isRegistryHost(options.host)) {
      throw new FerryError('REFERENCE_INVALID', `\`${options.host}\` is no registry host`);
    }
    const plainHttp = options.plainHttp ?? isLoopbackHost(options.host);
    this.location = options.host;
    this.maxNameLength = MAX_NAME_LENGTH - options.host.length - 1;
    this.baseUrl = new URL(`${plainHttp ? 'http' : 'https'}://${options.host}/`);
    this.#send = options.send;
    this.#clock = options;
    this.#manners = { singlePost: 'unknown', chunked: true, ...options.uploads };
  }

  repository(name: string): RepositoryClient {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    if (name.length > this.maxNameLength) {
      throw new FerryError('REFERENCE_INVALID', `\`${this.location}/${name}\` is longer than 255 characters`);
    }
    const repository = new RepositoryClient(
      parseRepositoryName(name),
      this.baseUrl,
      this.#send,
      this.#manners,
      this.#clock,
    );
    this.#repositories.set(name, repository);
    return repository;
  }

  /** Asks `_catalog`, which many registries do not have. @see distribution API, "Listing Repositories" */
  async repositories(options: CallOptions = {}): Promise<readonly string[] | undefined> {
    const names: string[] = [];
    const first = new URL('v2/_catalog?n=1000', this.baseUrl);
    try {
      for await (const page of listPages(this.#send, first, 'repositories', options)) names.push(...page);
    } catch (error) {
      if (
        error instanceof FerryError &&
        ['NOT_FOUND', 'UNSUPPORTED', 'DENIED', 'UNAUTHORIZED'].includes(error.code)
      ) {
        return undefined;
      }
      throw error;
    }
    return names;
  }

  /** Asks whether a registry answers there at all. @throws FerryError `UNSUPPORTED` where it is something else */
  async ping(options: CallOptions = {}): Promise<void> {
    const request: HttpRequest = { method: 'GET', url: new URL('v2/', this.baseUrl), signal: options.signal };
    const response = await this.#send(request);
    if (response.status === 200) {
      await response.discard();
      return;
    }
    const error = await responseError(request, response);
    if (error.code !== 'NOT_FOUND') throw error;
    throw new FerryError('UNSUPPORTED', `there is no registry at \`${this.location}\``, { cause: error });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#repositories.clear();
    return Promise.resolve();
  }
}

/** Tells whether `host[:port]` can only be this machine. */
export function isLoopbackHost(host: string): boolean {
  const name = host.startsWith('[') ? host.slice(0, host.indexOf(']') + 1) : host.replace(/:\d+$/, '');
  return name === 'localhost' || name === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}
