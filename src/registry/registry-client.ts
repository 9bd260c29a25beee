/**
 * The distribution-spec client: the content-store interfaces over HTTP. Everything goes through one `send`;
 * retries of single requests, redirects and authorization happen below it, retries of whole uploads here.
 */
import { FerryError } from '../errors.js';
import { WeakValues } from '../io/weak-values.js';
import { isLoopback } from '../http/address.js';
import { responseError } from '../http/response-error.js';
import type { ClockOptions } from '../http/clock.js';
import type { HttpRequest, Send } from '../http/send.js';
import { isRegistryHost, isRepositoryName, MAX_NAME_LENGTH, parseRepositoryName } from '../oci/reference.js';
import type { CallOptions, Registry } from '../oci/storage.js';
import { unknownBlobPlaces } from './blob-lookup.js';
import { MAX_SINGLE_POST_BYTES } from './blob-upload.js';
import type { GithubPackages } from './github-packages.js';
import { profileOf, type HostProfile } from './host-profile.js';
import { listPages } from './pages.js';
import { ReferrersSupport } from './referrers-support.js';
import { RepositoryClient } from './repository-client.js';
import type { UploadManners } from './upload-session.js';

/** Repositories asked for at once; distribution refuses more. */
const CATALOG_PAGE_SIZE = 1000;

/** Options of {@link RegistryClient}; time and chance concern the pauses between whole uploads. */
export interface RegistryClientOptions extends ClockOptions {
  /** Host with optional port, such as `ghcr.io` or `127.0.0.1:5000`. */
  readonly host: string;
  readonly send: Send;
  /** Called when the registry is disposed of. @defaultValue connections are the caller's to close */
  readonly close?: (() => PromiseLike<void>) | undefined;
  /** Speak http instead of https. @defaultValue true for loopback hosts only */
  readonly plainHttp?: boolean | undefined;
  /** What is better known of this registry than by its host name. @defaultValue nothing */
  readonly profile?: Partial<HostProfile> | undefined;
  /** Deletes, and lists repositories, where the registry itself does not, as on ghcr.io. @defaultValue none: neither is to be had there */
  readonly githubPackages?: GithubPackages | undefined;
  /** What is known of how it takes uploads. @defaultValue nothing: it is found out */
  readonly uploads?: Partial<UploadManners> | undefined;
}

/**
 * Where the API of a registry is: `ghcr.io` → `https://ghcr.io/`.
 * @throws FerryError `REFERENCE_INVALID`
 */
export function registryBaseUrl({
  host,
  plainHttp,
  profile,
}: Pick<RegistryClientOptions, 'host' | 'plainHttp' | 'profile'>): URL {
  if (!isRegistryHost(host)) throw new FerryError('REFERENCE_INVALID', `\`${host}\` is no registry host`);
  const scheme = (plainHttp ?? isLoopback(new URL(`http://${host}/`))) ? 'http' : 'https';
  return new URL(`${scheme}://${profileOf(host, profile).apiHost ?? host}/`);
}

/** A registry reached over HTTP. @see distribution-spec v1.1.1 */
export class RegistryClient implements Registry {
  readonly location: string;
  /** The limit counts the host too. */
  readonly maxNameLength: number;
  /** Such as `https://ghcr.io/`; of the API's own host where that is another, as for `docker.io`. */
  readonly baseUrl: URL;
  readonly profile: HostProfile;
  readonly maxSinglePostBytes = MAX_SINGLE_POST_BYTES;
  readonly #send: Send;
  readonly #options: RegistryClientOptions;
  readonly #manners: UploadManners;
  readonly #support: ReferrersSupport;
  readonly #places = unknownBlobPlaces();
  readonly #repositories = new WeakValues<RepositoryClient>();

  /** @throws FerryError `REFERENCE_INVALID` */
  constructor(options: RegistryClientOptions) {
    this.baseUrl = registryBaseUrl(options);
    this.location = options.host;
    this.maxNameLength = MAX_NAME_LENGTH - options.host.length - 1;
    this.profile = profileOf(options.host, options.profile);
    this.#send = options.send;
    this.#options = options;
    this.#manners = {
      singlePost: this.profile.singlePost,
      chunked: this.profile.chunked,
      maxPatchBytes: this.profile.maxChunkBytes,
      ...options.uploads,
    };
    this.#support = new ReferrersSupport(options.now);
  }

  get origin(): string {
    return this.baseUrl.origin;
  }

  /** As the profile says, or as uploads have shown so far. */
  get requestsPerBlob(): number | undefined {
    const { singlePost } = this.#manners;
    if (singlePost === 'unknown') return undefined;
    return singlePost === 'yes' ? 1 : 2;
  }

  repository(shortName: string): RepositoryClient {
    const { defaultNamespace } = this.profile;
    const isShort = defaultNamespace !== undefined && shortName !== '' && !shortName.includes('/');
    const name = isShort ? `${defaultNamespace}/${shortName}` : shortName;
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    if (name.length > this.maxNameLength) {
      throw new FerryError('REFERENCE_INVALID', `\`${this.location}/${name}\` is longer than 255 characters`);
    }
    const repository = new RepositoryClient(parseRepositoryName(name), this.baseUrl, this.#send, {
      ...this.#options,
      profile: this.profile,
      manners: this.#manners,
      places: this.#places,
      // A hosted registry is the same for all repositories; others may be proxies of several.
      support: this.profile.referrers === 'unknown' ? undefined : this.#support,
    });
    this.#repositories.set(name, repository);
    return repository;
  }

  /**
   * Asks `_catalog`, which many registries do not have, or GitHub for what is of the owner that is known. Names that break the
   * grammar are passed over.
   * @see distribution API, "Listing Repositories"
   */
  async repositories(options: CallOptions = {}): Promise<readonly string[] | undefined> {
    const { githubPackages } = this.#options;
    if (githubPackages !== undefined && this.profile.deleteBy === 'github-packages')
      return githubPackages.repositories(options);
    const names: string[] = [];
    const list = new URL('v2/_catalog', this.baseUrl);
    const listOptions = { ...options, within: list.pathname, pageSize: CATALOG_PAGE_SIZE };
    try {
      for await (const page of listPages(this.#send, list, 'repositories', listOptions)) {
        for (const name of page) if (isRepositoryName(name)) names.push(name);
      }
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
    await this.#options.close?.();
  }
}
