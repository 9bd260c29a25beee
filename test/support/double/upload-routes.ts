import { setTimeout as delay } from 'node:timers/promises';
import { errorAnswer, queryOf, type Answer, type DoubleRequest, type RequestHead } from './exchange.js';
import { digestHeader } from './manifest-routes.js';
import type { LocationStyle, RegistryDoubleOptions } from './options.js';
import {
  hasDigest,
  isDigest,
  newUpload,
  repositoryFor,
  type DoubleUpload,
  type RegistryState,
} from './registry-state.js';

const LONG_QUERY = 3 * 1024;

/** Answers the start of an upload: a session, a whole blob, or a mount. */
export async function answerUploadStart(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
  mayMount: (from: string) => boolean,
): Promise<Answer> {
  if (request.method !== 'POST') return errorAnswer(405, 'UNSUPPORTED');
  const { repository } = request.route;
  if (!state.repositories.has(repository) && options.createRepositories === false) {
    return errorAnswer(404, 'NAME_UNKNOWN', 'repository name not known to registry');
  }
  const mounted = queryOf(request, 'mount');
  if (mounted !== undefined) {
    const answer = mount(state, options, request, mounted, mayMount);
    if (answer !== undefined) return answer;
  }
  const digest = queryOf(request, 'digest');
  const singlePost = options.singlePost ?? 'accepts';
  if (digest !== undefined && singlePost === 'refuses') return errorAnswer(405, 'UNSUPPORTED');
  if (digest !== undefined && singlePost === 'accepts') {
    return commit(state, options, repository, digest, request.body);
  }
  // A body that came for nothing is forgotten.
  return sessionAnswer(202, options, request, newUpload(state, repository));
}

function mount(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
  digest: string,
  mayMount: (from: string) => boolean,
): Answer | undefined {
  const how = options.mount ?? 'accepts';
  if (how === 401) return errorAnswer(401, 'UNAUTHORIZED', 'authentication required');
  if (how === 404) return errorAnswer(404, 'NAME_UNKNOWN');
  if (how === 405) return errorAnswer(405, 'UNSUPPORTED');
  if (how === 500) return errorAnswer(500, 'UNKNOWN', 'unknown error');
  if (how === '202') return undefined;
  const from = queryOf(request, 'from');
  if (from === undefined && options.anonymousMount !== true) return undefined;
  const sources = from === undefined ? [...state.repositories.keys()] : [from];
  const source = sources.find(
    (name) => mayMount(name) && state.repositories.get(name)?.blobs.has(digest) === true,
  );
  const blob = state.repositories.get(source ?? '')?.blobs.get(digest);
  if (blob === undefined) return undefined;
  return storeBlob(state, options, request.route.repository, digest, blob);
}

/** Answers a step of an upload. */
export async function answerUpload(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
): Promise<Answer> {
  const upload = state.uploads.get(request.route.reference);
  if (upload?.repository !== request.route.repository) return uploadUnknown();
  switch (request.method) {
    case 'GET':
      return sessionAnswer(204, options, request, upload);
    case 'DELETE':
      state.uploads.delete(upload.id);
      return { status: 204 };
    case 'PATCH':
      return patch(state, options, request, upload);
    case 'PUT':
      return put(state, options, request, upload);
    default:
      return errorAnswer(405, 'UNSUPPORTED');
  }
}

function uploadUnknown(): Answer {
  return errorAnswer(404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
}

function patch(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
  upload: DoubleUpload,
): Answer {
  if (options.patch === false) return errorAnswer(405, 'UNSUPPORTED');
  const refusal = append(state, options, request, upload);
  if (refusal !== undefined) return refusal;
  return sessionAnswer(202, options, request, upload);
}

async function put(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
  upload: DoubleUpload,
): Promise<Answer> {
  const digest = queryOf(request, 'digest');
  if (digest === undefined || !isDigest(digest)) return errorAnswer(400, 'DIGEST_INVALID');
  if (request.body.byteLength > 0) {
    const refusal = append(state, options, request, upload);
    if (refusal !== undefined) return refusal;
  } else if (isStale(request, upload)) {
    return staleLocation();
  }
  // However it ends, the session does.
  state.uploads.delete(upload.id);
  return commit(state, options, upload.repository, digest, Buffer.concat(upload.chunks));
}

/** Takes the bytes of a chunk. @returns the refusal, if they are not the next ones */
function append(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
  upload: DoubleUpload,
): Answer | undefined {
  const { body, method } = request;
  if (isStale(request, upload)) return staleLocation();
  if (method === 'PATCH' && body.byteLength > (options.maxPatchBytes ?? Infinity)) {
    const limit = ((options.maxPatchBytes ?? 0) / 1024 / 1024).toFixed(2);
    const message = `request body is too large, the limit is ${limit}MiB`;
    return errorAnswer(
      416,
      'REQUESTED_RANGE_NOT_SATISFIABLE',
      message,
      sessionHeaders(options, request, upload),
    );
  }
  const range = request.headers['content-range'];
  if (range !== undefined) {
    const [, start, end] = /^(\d+)-(\d+)$/.exec(range) ?? [];
    if (start === undefined || end === undefined) return errorAnswer(400, 'BLOB_UPLOAD_INVALID');
    if (Number(end) - Number(start) + 1 !== body.byteLength) return errorAnswer(400, 'SIZE_INVALID');
    if (Number(start) !== upload.size) {
      return errorAnswer(
        416,
        'BLOB_UPLOAD_INVALID',
        'not the next chunk',
        sessionHeaders(options, request, upload),
      );
    }
  }
  if (upload.hasShortChunk && options.chunkMinLength !== undefined) {
    state.uploads.delete(upload.id);
    return errorAnswer(400, 'SIZE_INVALID', 'only the last chunk may be that short');
  }
  upload.hasShortChunk = body.byteLength < (options.chunkMinLength ?? 0);
  upload.chunks.push(body);
  upload.size += body.byteLength;
  upload.step += 1;
  return undefined;
}

function isStale(request: RequestHead, upload: DoubleUpload): boolean {
  return request.query.get('_state') !== String(upload.step);
}

function staleLocation(): Answer {
  return errorAnswer(404, 'BLOB_UPLOAD_INVALID', 'the location is not the latest');
}

async function commit(
  state: RegistryState,
  options: RegistryDoubleOptions,
  repository: string,
  digest: string,
  bytes: Buffer,
): Promise<Answer> {
  if (bytes.byteLength > (options.maxBlobBytes ?? Infinity)) return errorAnswer(413, 'SIZE_INVALID');
  if (!isDigest(digest) || !hasDigest(bytes, digest)) {
    return errorAnswer(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
  }
  const { commitDelayMs = 0, commitDelayFromBytes = 0 } = options;
  if (commitDelayMs > 0 && bytes.byteLength >= commitDelayFromBytes) await delay(commitDelayMs);
  return storeBlob(state, options, repository, digest, bytes);
}

function storeBlob(
  state: RegistryState,
  options: RegistryDoubleOptions,
  repository: string,
  digest: string,
  bytes: Buffer,
): Answer {
  repositoryFor(state, repository).blobs.set(digest, bytes);
  return {
    status: 201,
    headers: { location: `/v2/${repository}/blobs/${digest}`, ...digestHeader(options, digest, bytes) },
  };
}

function sessionAnswer(
  status: number,
  options: RegistryDoubleOptions,
  request: RequestHead,
  upload: DoubleUpload,
): Answer {
  return { status, headers: sessionHeaders(options, request, upload) };
}

function sessionHeaders(
  options: RegistryDoubleOptions,
  request: RequestHead,
  upload: DoubleUpload,
): Record<string, string> {
  const size = options.uploadRange === 'frozen' ? (upload.chunks[0]?.byteLength ?? 0) : upload.size;
  return {
    location: locationOf(options.location ?? 'relative', request.origin, upload),
    range: `0-${Math.max(0, size - 1)}`,
    'docker-upload-uuid': upload.id,
    ...(options.chunkMinLength === undefined
      ? {}
      : { 'oci-chunk-min-length': String(options.chunkMinLength) }),
  };
}

function locationOf(style: LocationStyle, origin: string, upload: DoubleUpload): string {
  const path = `/v2/${upload.repository}/blobs/uploads/${upload.id}`;
  const query = `?_state=${upload.step}`;
  if (typeof style === 'object') return `${style.origin}${path}${query}`;
  switch (style) {
    case 'relative':
      return `${path}${query}`;
    case 'absolute':
      return `${origin}${path}${query}`;
    case 'port':
      return `${origin.replace(/:(\d+)$/, ':0$1')}${path}${query}`;
    case 'fragment':
      return `${path}${query}#part`;
    case 'long':
      return `${path}${query}&pad=${'p'.repeat(LONG_QUERY)}`;
    case 'other-path':
      return `/artifacts-uploads${path}${query}`;
  }
}
