import type { Bytes, OpenOptions } from '../io/bytes.js';

/** What a source remembers of a file, to ask whether it changed. Shape as the HTTP headers of the same names. */
export interface Validators {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

/** Options of {@link ChannelSource.openMetadata}. */
export interface OpenMetadataOptions {
  /** Answer `unchanged` if the file still has these. */
  readonly unless?: Validators | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Answer to {@link ChannelSource.openMetadata}. */
export type MetadataAnswer =
  | { readonly status: 'absent' }
  | { readonly status: 'unchanged' }
  | { readonly status: 'found'; readonly body: Bytes; readonly validators: Validators };

/** What is known of an archive before it is opened. */
export interface ArchiveLocation {
  readonly subdir: string;
  readonly filename: string;
  /** Lower-case hex; stores that find content by digest need it. */
  readonly sha256?: string | undefined;
  /** In bytes. */
  readonly size?: number | undefined;
  /** Where the archive lies if not beside the repodata; relative to the subdir, or absolute. */
  readonly url?: string | undefined;
}

/**
 * A channel to read from: over HTTP, in a directory, or in an OCI store. Bytes come as the source has them;
 * whoever takes them checks them.
 */
export interface ChannelSource {
  /** Durable name without secrets, such as `https://conda.anaconda.org/conda-forge`. */
  readonly url: string;
  /** Where its requests go, such as `https://ghcr.io`, where the `url` is no address of HTTP. */
  readonly origin?: string | undefined;
  /** The channel's subdirs, where it can tell; else `undefined`. */
  subdirs(options?: { readonly signal?: AbortSignal | undefined }): Promise<readonly string[] | undefined>;
  /**
   * Opens a file of metadata by its path in the channel, such as `linux-64/repodata.json.zst`.
   * @throws ResponseError, TransportError for anything but a clear "not there"
   */
  openMetadata(path: string, options?: OpenMetadataOptions): Promise<MetadataAnswer>;
  /**
   * Opens the attestation sidecar of an archive that lies elsewhere, where the source can follow; all others are beside
   * the repodata, as metadata.
   * @param sha256 of the sidecar, 64 lower-case hex digits
   * @throws ResponseError, TransportError for anything but a clear "not there"
   * @see CEP draft, conda/ceps pull 142
   */
  openSidecar?(
    archive: ArchiveLocation,
    sha256: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<MetadataAnswer>;
  /**
   * Opens a file of metadata outside of the channel that one in it points to, such as a shard of repodata. Missing where
   * the source cannot go elsewhere.
   * @param url absolute, or relative to the subdir
   */
  openLinked?(
    url: string,
    options: OpenMetadataOptions & { readonly subdir: string },
  ): Promise<MetadataAnswer>;
  /**
   * Opens an archive, or what of it is left from `offset` on. Whoever goes on with a part checks the whole at the end: the
   * source may have another archive there by then.
   * @throws FerryError `ARCHIVE_ABSENT` where the source does not have it
   */
  openArchive(archive: ArchiveLocation, options?: OpenOptions): Bytes;
  /**
   * Asks for an archive without reading it; `undefined` where the source does not have it. Its size is told as far as
   * the source tells it, in bytes.
   */
  statArchive?(
    archive: ArchiveLocation,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<{ readonly size: number | undefined } | undefined>;
}
