import { MAX_MANIFEST_BYTES } from '../oci/manifest.js';

/**
 * What is known beforehand of a registry by its host name. All of it are hints, which save requests, detours and
 * riddles; nothing may be wrong where a hint is. What a registry answers counts more, and so do a caller's overrides.
 */
export interface HostProfile {
  /** Requests of one credential in a minute before the registry says 429. @defaultValue unknown */
  readonly requestsPerMinute?: number | undefined;
  /** Largest body of one PATCH, in bytes. @defaultValue any */
  readonly maxChunkBytes?: number | undefined;
  /** Whether uploads in several PATCHes work at all. */
  readonly chunked: boolean;
  /** Whether the `Range` of an upload's answers tells how much arrived. */
  readonly trustUploadRange: boolean;
  /** Whether `POST …/blobs/uploads/?digest=` with the blob as body stores it in one request. */
  readonly singlePost: 'yes' | 'no' | 'unknown';
  /** Whether a mount without `from` is harmless, and may find the blob. */
  readonly anonymousMount: boolean;
  /** Where referrers are found: by the API, or under a tag such as `sha256-<hex>`. */
  readonly referrers: 'api' | 'tag' | 'unknown';
  /** Largest `n` that a list of tags is asked for with. */
  readonly tagPageSize: number;
  /** Path components of a repository name, counted without the host. @defaultValue any number */
  readonly maxPathDepth?: number | undefined;
  /** Whether a push creates its repository; `prefix`: below a first part that must be there. */
  readonly createsRepositories: boolean | 'prefix';
  /**
   * How manifests are deleted: `digest` by `DELETE …/manifests/<digest>`, `github-packages` by GitHub's REST API,
   * `none` by neither.
   */
  readonly deleteBy: 'digest' | 'github-packages' | 'none';
  /** Whether `DELETE …/manifests/<tag>` removes the tag alone. */
  readonly deletesTags: boolean | 'unknown';
  /** Largest blob, in bytes. @defaultValue unknown */
  readonly maxBlobBytes?: number | undefined;
  /** Largest manifest that is pushed, in bytes. */
  readonly maxManifestBytes: number;
  /** Host of the API where it is not the one of references: `docker.io` is served by `registry-1.docker.io`. */
  readonly apiHost?: string | undefined;
  /** Put before repository names of one component: `docker.io/zlib` is `docker.io/library/zlib`. */
  readonly defaultNamespace?: string | undefined;
  /** What a person should know before pushing there; one line. */
  readonly note?: string | undefined;
}

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** Of a registry nobody knows: what the specification asks for, and what most of them bear. */
const GENERIC: HostProfile = {
  chunked: true,
  // ECR was found wrong only after years, and so may others be; the final digest is what counts.
  trustUploadRange: true,
  // Debian's docker-registry 2.8.2 answers 202 after the whole body: sent for nothing (measured).
  singlePost: 'unknown',
  // Quay fails on it, so it is off unless known (comment in go-containerregistry, mount).
  anonymousMount: false,
  referrers: 'unknown',
  // Distribution 3 answers 400 to more than 1000, ECR too.
  tagPageSize: 1000,
  createsRepositories: true,
  deleteBy: 'digest',
  deletesTags: 'unknown',
  // The floor that registries should take. @see distribution-spec v1.1.1, "Pushing Manifests"
  maxManifestBytes: MAX_MANIFEST_BYTES,
};

const GITHUB: Partial<HostProfile> = {
  // `TOOMANYREQUESTS … allowed: 2000/minute` on pushes: chainguard-images/images#173, fermyon/developer#589.
  requestsPerMinute: 2000,
  // 416 "request body is too large … 4.00MiB": oras-project/rust-oci-client#35, ocx-sh/ocx#237.
  maxChunkBytes: 4 * MIB,
  // 404 and no OCI-Subject; the tag works: NVIDIA/aicr#1957, actions/attest-build-provenance#71.
  referrers: 'tag',
  // DELETE answers 405 whatever it names: containers/skopeo#1880.
  deleteBy: 'github-packages',
  deletesTags: false,
  // "Working with the Container registry", docs.github.com: 10 GB for each layer, 10 minutes for each upload.
  maxBlobBytes: 10 * 1000 ** 3,
  // Manifests of 4 MiB and more get a 500: Homebrew, github_packages.rb.
  maxManifestBytes: MAX_MANIFEST_BYTES - 1,
  note: 'new packages are private until an owner makes them public on the web',
};

const DOCKER_HUB: Partial<HostProfile> = {
  // `docker.io` itself is a web site; distribution/reference calls this the "familiar name".
  apiHost: 'registry-1.docker.io',
  defaultNamespace: 'library',
  // A misleading 401 `insufficient_scope` beyond `owner/name`: docker/hub-feedback#1404.
  maxPathDepth: 2,
  // Since about autumn 2025: awslabs/soci-snapshotter#1828. docker/roadmap#724 is still open.
  referrers: 'unknown',
  // By digest and only without tags, else 403: docs.docker.com, Registry API.
  deletesTags: false,
  note: 'pulls are limited by the hour and address; repository names have two parts',
};

const ECR: Partial<HostProfile> = {
  // PATCH answers with the range of the first chunk for ever: aws/containers-roadmap#2831.
  trustUploadRange: false,
  // AWS documentation, "OCI 1.1 support".
  referrers: 'api',
  // UNSUPPORTED beyond 1000: google/go-containerregistry#681.
  tagPageSize: 1000,
  // Only with create-on-push templates (December 2025), else NAME_UNKNOWN.
  createsRepositories: false,
  // AWS service quotas: layers of 52,000 MiB.
  maxBlobBytes: 52_000 * MIB,
  note: 'create each repository first, or a create-on-push template; a digest takes at most 1000 tags',
};

const PROFILES: readonly (readonly [pattern: RegExp, profile: Partial<HostProfile>])[] = [
  [/^ghcr\.io$/, GITHUB],
  [/^(?:(?:index\.)?docker\.io|registry-1\.docker\.io)$/, DOCKER_HUB],
  [/^\d+\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/, ECR],
  // AWS service quotas: layers of 10,000 MiB.
  [/^public\.ecr\.aws$/, { ...ECR, maxBlobBytes: 10_000 * MIB }],
  [
    /^quay\.io$/,
    {
      // "a few requests per second per IP": access.redhat.com/solutions/6218921.
      requestsPerMinute: 300,
      // PROJQUAY-10176.
      referrers: 'api',
      // Gives 50 and a cursor whatever is asked for: regclient#272.
      tagPageSize: 100,
      // DELETE works by tag and by digest: docs.quay.io, API.
      deletesTags: true,
      note: 'new repositories are private; an index needs a platform for each manifest',
    },
  ],
  [
    /^[a-z0-9-]+\.azurecr\.(?:io|cn|us)$/,
    {
      // ReadOps of the smallest tier; the others have three and ten times as much: learn.microsoft.com, ACR SKUs.
      requestsPerMinute: 1000,
      referrers: 'api',
      // Untags: learn.microsoft.com, ACR REST API.
      deletesTags: true,
      maxBlobBytes: 200 * GIB,
    },
  ],
  [
    /^(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)$/,
    {
      // 18,000 writes a minute for each project and region: cloud.google.com/artifact-registry/quotas.
      requestsPerMinute: 18_000,
      // Monolithic uploads only: dotnet/sdk-container-builds#287, containers/skopeo#1101.
      chunked: false,
      referrers: 'api',
      // `<project>/<repository>` must be there; what is below comes with the push.
      createsRepositories: 'prefix',
      note: 'lists of more than 10,000 tags are cut short',
    },
  ],
  [
    /^registry\.gitlab\.com$/,
    {
      // Keeps `subject` but has no end point: gitlab-org/gitlab#592700.
      referrers: 'tag',
      // The project must be there; image names below it come with the push: gitlab-org/gitlab#438563.
      createsRepositories: 'prefix',
      // docs.gitlab.com, "Container registry API": tag deletion since distribution fork v3.
      deletesTags: true,
      note: 'image names go two levels below the path of a project',
    },
  ],
];

/**
 * Finds what is known of the registry at `host[:port]`, such as `ghcr.io`; the generic profile for all others.
 * `overrides` replace single values, also by `undefined`.
 */
export function profileOf(host: string, overrides: Partial<HostProfile> = {}): HostProfile {
  const name = host.toLowerCase().replace(/:\d+$/, '');
  const known = PROFILES.find(([pattern]) => pattern.test(name))?.[1];
  return { ...GENERIC, ...known, ...overrides };
}
