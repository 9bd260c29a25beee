import { FerryError, type ResponseError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest } from '../http/send.js';
import type { Digest } from '../io/digest.js';
import { parseTag } from '../oci/reference.js';
import type { CallOptions } from '../oci/storage.js';
import { manifestUrl } from './manifests.js';
import { accessTo, type RepositoryContext } from './repository-context.js';

/**
 * Deletes a manifest or a blob by its digest. What is gone already is deleted.
 * @throws FerryError `UNSUPPORTED` where the registry does not delete
 * @see distribution-spec v1.1.1, "Deleting Manifests", "Deleting Blobs"
 */
export async function deleteContent(
  context: RepositoryContext,
  kind: 'manifests' | 'blobs',
  digest: Digest,
  options: CallOptions,
): Promise<void> {
  const refusal = await sendDelete(context, new URL(`${kind}/${digest}`, context.base), options);
  if (refusal === undefined) return;
  if (!isUnsupported(refusal)) throw refusal;
  throw new FerryError('UNSUPPORTED', `\`${context.base.host}\` does not delete ${kind}`, { cause: refusal });
}

/**
 * Removes a tag alone. An absent tag is removed.
 * @throws ParseError `REFERENCE_INVALID`; FerryError `UNSUPPORTED` where the registry cannot
 * @see distribution-spec v1.1.1, "Deleting Tags"
 */
export async function deleteTag(
  context: RepositoryContext,
  tag: string,
  options: CallOptions,
): Promise<void> {
  // By a digest, all tags of it would go.
  const url = manifestUrl(context, parseTag(tag));
  let refusal: ResponseError | undefined;
  if (context.profile.deletesTags !== false) {
    refusal = await sendDelete(context, url, options);
    if (refusal === undefined) return;
  }
  // Docker-registry 2.8 says 400 DIGEST_INVALID or 405, others either of them.
  if (refusal !== undefined && refusal.status !== 400 && !isUnsupported(refusal)) throw refusal;
  throw new FerryError(
    'UNSUPPORTED',
    `\`${context.base.host}\` cannot remove the tag \`${tag}\` and leave what it names`,
    { cause: refusal },
  );
}

async function sendDelete(
  context: RepositoryContext,
  url: URL,
  options: CallOptions,
): Promise<ResponseError | undefined> {
  const request: HttpRequest = {
    method: 'DELETE',
    url,
    signal: options.signal,
    // What is gone already is no error: sending it twice changes nothing.
    repeatable: true,
    access: accessTo(context.name, 'delete'),
  };
  const response = await context.send(request);
  if (![200, 202, 204, 404].includes(response.status)) return responseError(request, response);
  await response.discard();
  return undefined;
}

function isUnsupported({ status, errors }: ResponseError): boolean {
  return status === 405 || (status === 400 && errors.some(({ code }) => code === 'UNSUPPORTED'));
}
