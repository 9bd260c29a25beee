import { UnrepresentableError } from '../errors.js';
import { openerOf } from '../io/bytes.js';
import { SingleFlight } from '../io/single-flight.js';
import type { ImageManifest } from '../oci/manifest.js';
import type { CallOptions, PushOptions, Registry, ReplacedManifest, Repository } from '../oci/storage.js';
import { channelPath } from './channel-path.js';
import type { MetadataFile, PackagePlace, Schema } from './schema.js';

/** A channel in an OCI store: repositories under one prefix, laid out by one schema. */
export class ChannelStore {
  readonly registry: Registry;
  /** Repository prefix, such as `org/conda-forge`; empty where the store is the channel. */
  readonly path: string;
  readonly schema: Schema;
  readonly #withConfig = new Set<string>();
  readonly #configs = new SingleFlight<void>();
  /** What the `latest` of metadata repositories was seen to name. */
  readonly #latest = new Map<string, ReplacedManifest>();

  /**
   * @param label of the channel, such as `dev`
   * @throws ParseError `REFERENCE_INVALID`, `CHANNEL_INVALID` for what cannot be part of a repository name
   */
  constructor(registry: Registry, path: string, schema: Schema, label?: string) {
    this.registry = registry;
    this.path = channelPath(path, label, schema.id);
    this.schema = schema;
  }

  /** For people: `127.0.0.1:5000/org/conda-forge`. */
  get location(): string {
    return this.path === '' ? this.registry.location : `${this.registry.location}/${this.path}`;
  }

  /** Repository name of a package or metadata file, such as `org/conda-forge/linux-64/zlib`. */
  repositoryName(subdir: string, leaf: string): string {
    return [this.path, subdir, leaf].filter((part) => part !== '').join('/');
  }

  /** Repository of a package. @throws FerryError `NAME_UNREPRESENTABLE` for a path too long for the registry */
  packageRepository(subdir: string, place: Pick<PackagePlace, 'repository'>): Repository {
    return this.#open(this.repositoryName(subdir, place.repository));
  }

  /**
   * Repository of a metadata file of a subdir; of the channel's own files the subdir is empty.
   * @throws FerryError `NAME_UNREPRESENTABLE` for a path too long for the registry
   */
  metadataRepository(subdir: string, file: MetadataFile): Repository {
    return this.#open(this.repositoryName(subdir, this.schema.metadataRepository(file)));
  }

  /** What `latest` of a metadata repository named when it was last read or written here; `undefined` before that. */
  latestOf(repository: Repository): ReplacedManifest | undefined {
    return this.#latest.get(repository.name);
  }

  /** Remembers what `latest` of a metadata repository names: the next content is made out of that. */
  rememberLatest(repository: Repository, digest: ReplacedManifest): void {
    this.#latest.set(repository.name, digest);
  }

  /**
   * Makes sure that a repository holds the config that all artifacts share, once per repository: with thousands of
   * repositories this is most of what they cost.
   * @param options with a repository of the same registry that may have it: both schemas share its bytes
   */
  async ensureConfig(
    repository: Repository,
    options: CallOptions & Pick<PushOptions, 'mountFrom'> = {},
  ): Promise<void> {
    if (this.#withConfig.has(repository.name)) return;
    const { signal, mountFrom } = options;
    const push = async (): Promise<void> => {
      await repository.push(this.schema.config, openerOf(this.schema.configBytes), { signal, mountFrom });
      this.#withConfig.add(repository.name);
    };
    await this.#configs.do(repository.name, push, signal);
  }

  /** Whether a package's repository is known to hold the config. */
  hasConfig(subdir: string, place: Pick<PackagePlace, 'repository'>): boolean {
    return this.#withConfig.has(this.repositoryName(subdir, place.repository));
  }

  /**
   * Remembers that a repository holds the config: an artifact with it is there. Artifacts of other tools may have
   * another one.
   */
  rememberConfig(repository: Repository, artifact?: ImageManifest): void {
    if (artifact !== undefined && artifact.config.digest !== this.schema.config.digest) return;
    this.#withConfig.add(repository.name);
  }

  /** @see v1/G4, v1/G9, v1/B28 */
  #open(name: string): Repository {
    if (name.length > this.registry.maxNameLength) {
      throw new UnrepresentableError(
        'NAME_UNREPRESENTABLE',
        'v1/G9',
        `\`${this.registry.location}/${name}\` is longer than the 255 characters that registries take`,
      );
    }
    return this.registry.repository(name);
  }
}
