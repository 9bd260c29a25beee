import type { Registry, Repository } from '#ferry/oci/storage.js';

/** What a store can do beyond what every store must. */
export interface RepositoryCapabilities {
  /** Takes a blob of no bytes; some registries refuse it. */
  readonly emptyBlob: boolean;
  /** Says of a blob that there is no such manifest; Debian's docker-registry answers 500. @defaultValue true */
  readonly tellsBlobsFromManifests?: boolean;
  /** Says that bytes do not match their digest; olareg answers `BLOB_UPLOAD_INVALID`. @defaultValue true */
  readonly namesWrongDigest?: boolean;
  /** Removes a tag alone; Debian's docker-registry does not. @defaultValue true */
  readonly untags?: boolean;
  /** Keeps all referrers of one subject that are pushed at once; olareg loses some. @defaultValue true */
  readonly takesReferrersAtOnce?: boolean;
  /** Put before the name of every repository, such as `org/`. */
  readonly namePrefix?: string;
}

/** What a suite is run on; all of it is there only once the tests run. */
export interface Subject {
  readonly registry: Registry;
  readonly capabilities: RepositoryCapabilities;
  /** A repository name that was not used before. */
  newName(): string;
  newRepository(): Repository;
}
