import { errorAnswer, type Answer, type DoubleRequest } from './exchange.js';
import { digestHeader } from './manifest-routes.js';
import type { RegistryDoubleOptions } from './options.js';
import { isDigest, type RegistryState } from './registry-state.js';

/** Where blob reads are redirected to, by the double that knows its second origin. */
export interface BlobHost {
  /** `undefined` where the registry answers by itself. */
  readonly origin: string | undefined;
  /** Signatures that it accepts. */
  readonly signatures: Set<string>;
}

/** Answers GET, HEAD and DELETE of a blob. */
export function answerBlob(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
  blobHost: BlobHost,
): Answer {
  const { repository: name, reference } = request.route;
  if (!isDigest(reference)) return errorAnswer(400, 'DIGEST_INVALID');
  const repository = state.repositories.get(name);
  if (request.method === 'DELETE') {
    if (options.delete?.blobs === false) return errorAnswer(405, 'UNSUPPORTED');
    return repository?.blobs.delete(reference) === true ? { status: 202 } : errorAnswer(404, 'BLOB_UNKNOWN');
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') return errorAnswer(405, 'UNSUPPORTED');
  if (repository === undefined)
    return errorAnswer(404, 'NAME_UNKNOWN', 'repository name not known to registry');
  const blob = repository.blobs.get(reference);
  if (blob === undefined) return errorAnswer(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
  if (request.method === 'GET' && blobHost.origin !== undefined) {
    const signature = `s${blobHost.signatures.size}-${reference.slice(-12)}`;
    blobHost.signatures.add(signature);
    const location = `${blobHost.origin}/blob-host/${name}/${encodeURIComponent(reference)}?sig=${signature}`;
    return { status: 307, headers: { location } };
  }
  return blobAnswer(request, blob, reference, options);
}

/**
 * Answers as an object store: by signed URL only, and never to a request that is authorized in a second way.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
export function answerBlobHost(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
  blobHost: BlobHost,
): Answer {
  const { repository, reference } = request.route;
  const xml = { 'content-type': 'application/xml' };
  if (request.headers.authorization !== undefined || request.headers.cookie !== undefined) {
    const body =
      '<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>';
    return { status: 400, headers: xml, body };
  }
  if (!blobHost.signatures.has(request.query.get('sig') ?? '')) {
    return { status: 403, headers: xml, body: '<Error><Code>SignatureDoesNotMatch</Code></Error>' };
  }
  const blob = state.repositories.get(repository)?.blobs.get(reference);
  if (blob === undefined) return { status: 404, headers: xml, body: '<Error><Code>NoSuchKey</Code></Error>' };
  return blobAnswer(request, blob, reference, options);
}

function blobAnswer(
  request: DoubleRequest,
  blob: Buffer,
  digest: string,
  options: RegistryDoubleOptions,
): Answer {
  const hasRanges = options.ranges !== false;
  const etag = `"${digest}"`;
  const headers = {
    'content-type': 'application/octet-stream',
    etag,
    ...digestHeader(options, digest, blob),
    ...(hasRanges ? { 'accept-ranges': 'bytes' } : {}),
  };
  if (request.headers['if-none-match'] === etag) return { status: 304, headers: { etag } };
  const range = hasRanges && request.method === 'GET' ? request.headers.range : undefined;
  if (range === undefined) return { status: 200, headers, body: blob };
  const wanted = parseRange(range, blob.byteLength);
  // Ranges that are not understood are no ranges. RFC 9110, section 14.2
  if (wanted === undefined) return { status: 200, headers, body: blob };
  if (wanted === 'unsatisfiable') {
    return errorAnswer(416, 'RANGE_INVALID', 'range not satisfiable', {
      'content-range': `bytes */${blob.byteLength}`,
    });
  }
  const [start, end] = wanted;
  return {
    status: 206,
    headers: { ...headers, 'content-range': `bytes ${start}-${end}/${blob.byteLength}` },
    body: blob.subarray(start, end + 1),
  };
}

function parseRange(
  range: string,
  size: number,
): readonly [start: number, end: number] | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(range.trim());
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const count = Math.min(Number(last), size);
    return count === 0 ? 'unsatisfiable' : [size - count, size - 1];
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : [start, end];
}
