import { errorAnswer, jsonAnswer, type Answer, type DoubleRequest } from './exchange.js';
import type { RegistryDoubleOptions } from './options.js';
import {
  digestOf,
  findManifest,
  hasDigest,
  isDigest,
  removeManifest,
  repositoryFor,
  type DoubleManifest,
  type DoubleRepository,
  type RegistryState,
} from './registry-state.js';

const IMAGE_INDEX = 'application/vnd.oci.image.index.v1+json';
const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;

/** Answers GET, HEAD, PUT and DELETE of a manifest. */
export function answerManifest(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
): Answer {
  const { reference } = request.route;
  if (reference.includes(':') && !isDigest(reference)) return errorAnswer(400, 'DIGEST_INVALID');
  if (!reference.includes(':') && !/^\w[\w.-]{0,127}$/.test(reference)) {
    return errorAnswer(400, 'TAG_INVALID');
  }
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return readManifest(state, options, request);
    case 'PUT':
      return putManifest(state, options, request);
    case 'DELETE':
      return deleteManifest(state, options, request);
    default:
      return errorAnswer(405, 'UNSUPPORTED');
  }
}

function readManifest(state: RegistryState, options: RegistryDoubleOptions, request: DoubleRequest): Answer {
  const repository = state.repositories.get(request.route.repository);
  if (repository === undefined)
    return errorAnswer(404, 'NAME_UNKNOWN', 'repository name not known to registry');
  const manifest = findManifest(repository, request.route.reference);
  if (manifest === undefined || !isAccepted(request.headers.accept, manifest.mediaType)) {
    return errorAnswer(404, 'MANIFEST_UNKNOWN');
  }
  const etag = `"${manifest.digest}"`;
  if (request.headers['if-none-match'] === etag) return { status: 304, headers: { etag } };
  return {
    status: 200,
    headers: {
      'content-type': manifest.mediaType,
      etag,
      ...digestHeader(options, manifest.digest, manifest.bytes),
    },
    body: manifest.bytes,
  };
}

function isAccepted(accept: string | undefined, mediaType: string): boolean {
  if (accept === undefined) return true;
  const ranges = accept.split(',').map((range) => range.split(';')[0]?.trim());
  return ranges.some((range) => range === '*/*' || range === 'application/*' || range === mediaType);
}

function putManifest(state: RegistryState, options: RegistryDoubleOptions, request: DoubleRequest): Answer {
  const { route, body } = request;
  if (body.byteLength > (options.maxManifestBytes ?? DEFAULT_MAX_BYTES)) return tooLarge(options);
  const mediaType = request.headers['content-type']?.split(';')[0]?.trim();
  const document = parseDocument(body);
  if (mediaType === undefined || document === undefined) return errorAnswer(400, 'MANIFEST_INVALID');
  if (typeof document['mediaType'] === 'string' && document['mediaType'] !== mediaType) {
    return errorAnswer(400, 'MANIFEST_INVALID', 'mediaType is not the Content-Type');
  }
  if ('manifests' in document && ('layers' in document || 'config' in document)) {
    return errorAnswer(400, 'MANIFEST_INVALID', 'neither manifest nor index');
  }
  const isByDigest = isDigest(route.reference);
  if (isByDigest && !hasDigest(body, route.reference)) return errorAnswer(400, 'DIGEST_INVALID');
  if (!state.repositories.has(route.repository) && options.createRepositories === false) {
    return errorAnswer(404, 'NAME_UNKNOWN', 'repository name not known to registry');
  }
  const missing = missingContent(state.repositories.get(route.repository), document);
  if (missing !== undefined) return errorAnswer(400, 'MANIFEST_BLOB_UNKNOWN', `blob unknown: ${missing}`);
  const digest = isByDigest ? route.reference : digestOf(body);
  const manifest = describeManifest(digest, mediaType, body, document);
  const repository = repositoryFor(state, route.repository);
  repository.manifests.set(digest, manifest);
  if (!isByDigest) repository.tags.set(route.reference, digest);
  const tellsSubject = (options.ociSubject ?? options.referrers ?? true) && manifest.subject !== undefined;
  return {
    status: 201,
    headers: {
      location: `/v2/${route.repository}/manifests/${digest}`,
      ...digestHeader(options, digest, body),
      ...(tellsSubject ? { 'oci-subject': manifest.subject } : {}),
    },
  };
}

function tooLarge(options: RegistryDoubleOptions): Answer {
  const status = options.tooLargeManifestStatus ?? 413;
  if (status === 500) return errorAnswer(500, 'UNKNOWN', 'unknown error');
  return errorAnswer(status, status === 413 ? 'SIZE_INVALID' : 'MANIFEST_INVALID', 'manifest is too large');
}

type Document = Readonly<Record<string, unknown>>;

function parseDocument(body: Buffer): Document | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

interface Link {
  readonly mediaType?: string;
  readonly digest?: string;
  readonly urls?: readonly string[];
}

/** The first digest that a manifest needs and the repository has not. */
function missingContent(repository: DoubleRepository | undefined, document: Document): string | undefined {
  const {
    config,
    layers = [],
    manifests = [],
  } = document as {
    config?: Link;
    layers?: readonly Link[];
    manifests?: readonly Link[];
  };
  const blobs = [...(config === undefined ? [] : [config]), ...layers].filter(
    ({ urls }) => urls === undefined,
  );
  return (
    blobs.find(({ digest }) => repository?.blobs.has(digest ?? '') !== true)?.digest ??
    manifests.find(({ digest }) => repository?.manifests.has(digest ?? '') !== true)?.digest
  );
}

function describeManifest(
  digest: string,
  mediaType: string,
  bytes: Buffer,
  document: Document,
): DoubleManifest {
  const { subject, artifactType, config, annotations } = document as {
    subject?: Link;
    artifactType?: string;
    config?: Link;
    annotations?: Record<string, string>;
  };
  const type = artifactType ?? config?.mediaType;
  return {
    digest,
    mediaType,
    bytes,
    annotations: annotations ?? {},
    ...(subject?.digest === undefined ? {} : { subject: subject.digest }),
    ...(type === undefined ? {} : { artifactType: type }),
  };
}

function deleteManifest(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
): Answer {
  const { repository: name, reference } = request.route;
  const isByDigest = isDigest(reference);
  const allowed = options.delete ?? {};
  if ((isByDigest ? allowed.manifests : allowed.tags) === false) return errorAnswer(405, 'UNSUPPORTED');
  const repository = state.repositories.get(name);
  if (repository === undefined) return errorAnswer(404, 'NAME_UNKNOWN');
  if (!isByDigest) {
    return repository.tags.delete(reference) ? { status: 202 } : errorAnswer(404, 'MANIFEST_UNKNOWN');
  }
  return removeManifest(repository, reference) ? { status: 202 } : errorAnswer(404, 'MANIFEST_UNKNOWN');
}

/** Answers the list of what refers to a digest. @see distribution-spec v1.1.1, "Listing Referrers" */
export function answerReferrers(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
): Answer {
  const { repository, reference } = request.route;
  if (options.referrersElsewhere !== undefined) {
    return { status: 303, headers: { location: `${options.referrersElsewhere}${request.url}` } };
  }
  if (options.referrers === false) {
    return { status: 404, headers: { 'content-type': 'text/plain' }, body: '404 page not found\n' };
  }
  if (request.method !== 'GET') return errorAnswer(405, 'UNSUPPORTED');
  if (!isDigest(reference)) return errorAnswer(400, 'DIGEST_INVALID');
  const wanted = request.query.get('artifactType');
  const manifests = [...(state.repositories.get(repository)?.manifests.values() ?? [])]
    .filter((manifest) => manifest.subject === reference)
    .filter((manifest) => wanted === null || manifest.artifactType === wanted)
    .map(({ mediaType, digest, bytes, artifactType, annotations }) => ({
      mediaType,
      digest,
      size: bytes.byteLength,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    }));
  return jsonAnswer(
    200,
    { schemaVersion: 2, mediaType: IMAGE_INDEX, manifests },
    { 'content-type': IMAGE_INDEX, ...(wanted === null ? {} : { 'oci-filters-applied': 'artifactType' }) },
  );
}

/** `Docker-Content-Digest`, as the options want it. */
export function digestHeader(
  options: RegistryDoubleOptions,
  digest: string,
  bytes: Uint8Array,
): { readonly 'docker-content-digest'?: string } {
  switch (options.digestHeader ?? 'right') {
    case 'absent':
      return {};
    case 'wrong':
      return { 'docker-content-digest': `sha256:${'0'.repeat(64)}` };
    case 'sha512':
      return { 'docker-content-digest': digestOf(bytes, 'sha512') };
    case 'right':
      return { 'docker-content-digest': digest };
  }
}
