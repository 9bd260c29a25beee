import { isFerryError } from '../errors.js';
import { isTag } from '../oci/reference.js';
import type { CallOptions } from '../oci/storage.js';
import { listPages } from './pages.js';
import { accessTo, type RepositoryContext } from './repository-context.js';

/**
 * Lists all tags of a repository, each once, in the registry's order; none where the registry knows no such
 * repository. A name that breaks the grammar of tags is passed over: nothing could be asked by it, and it must not
 * get into a URL. Some registries cut long lists short (Artifact Registry beyond 10,000), so that a tag which is not
 * listed may still be there.
 * @see distribution-spec v1.1.1, "Listing Tags"
 */
export async function* listTags(context: RepositoryContext, options: CallOptions): AsyncGenerator<string> {
  const list = new URL('tags/list', context.base);
  let hasBegun = false;
  try {
    const pages = listPages(context.send, list, 'tags', {
      signal: options.signal,
      within: context.base.pathname,
      pageSize: context.profile.tagPageSize,
      access: accessTo(context.name, 'read'),
    });
    for await (const page of pages) {
      hasBegun = true;
      for (const name of page) if (isTag(name)) yield name;
    }
  } catch (error) {
    // A list that breaks off is no short list.
    if (hasBegun || !isFerryError(error, 'NOT_FOUND')) throw error;
  }
}
