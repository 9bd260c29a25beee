/** The entry `conda-ferry/oci`: content stores and the copy between them, without anything of conda. */
export { isFerryError, type FerryError, type FerryErrorCode } from './errors.js';
export { openHttpClient, type HttpClient, type HttpClientOptions } from './http/client.js';
export {
  authFilePaths,
  createCredentialFinder,
  describeLookup,
  type CredentialSources,
} from './http/credentials/credential-chain.js';
export type { Credential, CredentialPlace, FindCredential } from './http/credentials/credential.js';
export { HostLimits } from './http/limit.js';
export type { HostLimitOptions, HostPause, SharedRateNotice } from './http/host-limiter.js';
export type { HttpRequest, HttpResponse, Send } from './http/send.js';
export { openLayoutRegistry } from './image-layout/layout-registry.js';
export { openerOf, type Bytes, type OpenBytes, type OpenOptions } from './io/bytes.js';
export { digestOf, isDigest, parseDigest, type Digest } from './io/digest.js';
export type { SharedState, StateChange } from './io/shared-state.js';
export { copyGraph, type CopyOptions } from './oci/copy-graph.js';
export { deleteTags, type DeletedTags, type DeleteTagsOptions, type KeptTag } from './oci/delete-tags.js';
export { describe, type Annotations, type Descriptor } from './oci/descriptor.js';
export {
  encodeJson,
  parseImageIndex,
  parseImageManifest,
  type ImageIndex,
  type ImageManifest,
} from './oci/manifest.js';
export { MemoryRegistry } from './oci/memory-store.js';
export { formatReference, parseReference, type Reference } from './oci/reference.js';
export { isReferrersTag, readReferrer, referrersTag, type Referrer } from './oci/referrers.js';
export type {
  CallOptions,
  ContentSource,
  DeleteOptions,
  PushOptions,
  ReferrersOptions,
  Registry,
  Repository,
  StoredManifest,
  TagOptions,
} from './oci/storage.js';
export { GithubPackages, type GithubPackagesOptions } from './registry/github-packages.js';
export { profileOf, type HostProfile } from './registry/host-profile.js';
export { openRegistry, type OpenRegistryOptions } from './registry/open-registry.js';
export { probeRegistry, type ProbeFinding, type ProbeOptions, type ProbeReport } from './registry/probe.js';
export { RegistryClient, type RegistryClientOptions } from './registry/registry-client.js';
