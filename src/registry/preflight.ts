import { FerryError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest, HttpResponse } from '../http/send.js';
import type { CallOptions } from '../oci/storage.js';
import { accessTo, type RepositoryContext } from './repository-context.js';
import { abandonSession, sessionUrl } from './upload-session.js';

/**
 * Finds out whether a push would be let in, before anything is sent: opens an upload session, and gives it up again.
 * Two requests.
 * @throws ResponseError `UNAUTHORIZED`, `DENIED`, `UNSUPPORTED` (read-only), `NOT_FOUND` (the repository has to be made
 * first); FerryError `NAME_UNREPRESENTABLE` where the path has more components than the registry takes
 */
export async function checkPush(context: RepositoryContext, options: CallOptions): Promise<void> {
  checkDepth(context);
  const start: HttpRequest = {
    method: 'POST',
    url: new URL('blobs/uploads/', context.base),
    signal: options.signal,
    access: accessTo(context.name, 'write'),
    repeatable: true,
  };
  const response = await context.send(start);
  if (response.status !== 202) throw await responseError(start, response, hintFor(context, response));
  const location = response.header('location');
  await response.discard();
  if (location === undefined) return;
  const url = sessionUrl(location, start.url);
  const isOwn = url.origin === start.url.origin;
  await abandonSession(context.send, url, isOwn ? { access: start.access } : { givenBy: start.url });
  options.signal?.throwIfAborted();
}

/** @throws FerryError `NAME_UNREPRESENTABLE` */
function checkDepth({ name, profile, base }: RepositoryContext): void {
  const depth = name.split('/').length;
  const { maxPathDepth } = profile;
  if (maxPathDepth === undefined || depth <= maxPathDepth) return;
  throw new FerryError(
    'NAME_UNREPRESENTABLE',
    `\`${name}\` has ${String(depth)} components, and \`${base.host}\` takes ${String(maxPathDepth)}`,
    { hint: 'a channel needs a registry that takes <channel>/<subdir>/<name>' },
  );
}

/** An upload that cannot even begin because nothing is there to upload into; all else has hints of its own. */
function hintFor({ name, profile, base }: RepositoryContext, { status }: HttpResponse): string | undefined {
  if (status !== 404) return undefined;
  return profile.createsRepositories === 'prefix'
    ? `what \`${name}\` is to lie in has to be made on ${base.host} before anything is pushed there`
    : `${base.host} does not make repositories by itself: make \`${name}\` and its like before`;
}
