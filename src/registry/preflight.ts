import { FerryError, isFerryError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest } from '../http/send.js';
import type { CallOptions } from '../oci/storage.js';
import { accessTo, type RepositoryContext } from './repository-context.js';
import { sessionUrl } from './upload-session.js';

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
    access: accessTo(context, 'write'),
    repeatable: true,
  };
  const response = await context.send(start);
  if (response.status !== 202) throw await responseError(start, response, hintFor(context));
  const location = response.header('location');
  await response.discard();
  if (location === undefined) return;
  const url = sessionUrl(location, start.url);
  const isOwn = url.origin === start.url.origin;
  try {
    const given = await context.send({
      method: 'DELETE',
      url,
      signal: options.signal,
      ...(isOwn ? { access: start.access } : { givenBy: start.url }),
    });
    await given.discard();
  } catch (error) {
    // Registries forget sessions by themselves.
    if (!isFerryError(error)) throw error;
  }
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

function hintFor({ profile, base }: RepositoryContext): string | undefined {
  return profile.createsRepositories === true
    ? undefined
    : `on ${base.host} repositories have to be made before anything is pushed to them`;
}
