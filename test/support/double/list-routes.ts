import { errorAnswer, jsonAnswer, queryOf, type Answer, type DoubleRequest } from './exchange.js';
import type { RegistryDoubleOptions, TagDialect } from './options.js';
import type { RegistryState } from './registry-state.js';

const DEFAULT_PAGE = 1000;
const DEFAULT_MAX_PAGE = 10_000;

interface Page {
  readonly entries: readonly string[];
  /** Where the next page begins: behind this entry. */
  readonly last?: string;
}

/** Answers a page of tags. @see distribution-spec v1.1.1, "Listing Tags" */
export function answerTags(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
): Answer {
  if (request.method !== 'GET') return errorAnswer(405, 'UNSUPPORTED');
  const repository = state.repositories.get(request.route.repository);
  if (repository === undefined)
    return errorAnswer(404, 'NAME_UNKNOWN', 'repository name not known to registry');
  const { name } = repository;
  const created = [...repository.tags.keys()];
  const tags = options.tagOrder === 'creation' ? created : created.sort(compare);
  const dialect = options.tagDialect ?? 'link';
  if (dialect === 'ignores-n') return jsonAnswer(200, { name, tags });
  const size = pageSize(request, options);
  if (size === undefined) return errorAnswer(400, 'PAGINATION_NUMBER_INVALID');
  const last = dialect === 'next_page' ? fromCursor(queryOf(request, 'next_page')) : queryOf(request, 'last');
  const page = pageOf(tags, size, last, options.tagOrder ?? 'lexical');
  const isNull = dialect === 'null-when-empty' && page.entries.length === 0;
  return jsonAnswer(
    200,
    { name, tags: isNull ? null : page.entries },
    page.last === undefined ? {} : { link: linkTo(request, dialect, size, page.last) },
  );
}

/** Answers a page of repositories. @see distribution API, "Listing Repositories" */
export function answerCatalog(
  state: RegistryState,
  options: RegistryDoubleOptions,
  request: DoubleRequest,
): Answer {
  if (options.catalog === false) return errorAnswer(404, 'UNSUPPORTED');
  const names = [...state.repositories.keys()].sort(compare);
  const size = pageSize(request, {});
  if (size === undefined) return errorAnswer(400, 'PAGINATION_NUMBER_INVALID');
  const page = pageOf(names, size, queryOf(request, 'last'), 'lexical');
  return jsonAnswer(
    200,
    { repositories: page.entries },
    page.last === undefined ? {} : { link: linkTo(request, 'link', size, page.last) },
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function pageSize(request: DoubleRequest, options: RegistryDoubleOptions): number | undefined {
  const asked = queryOf(request, 'n');
  if (asked === undefined) return options.tagPageSize ?? DEFAULT_PAGE;
  if (!/^\d+$/.test(asked)) return undefined;
  return Math.min(Number(asked), options.tagPageMax ?? DEFAULT_MAX_PAGE);
}

function pageOf(
  all: readonly string[],
  size: number,
  last: string | undefined,
  order: 'lexical' | 'creation',
): Page {
  const rest =
    last === undefined
      ? all
      : order === 'lexical'
        ? all.filter((entry) => entry > last)
        : all.slice(all.indexOf(last) + 1);
  const entries = rest.slice(0, size);
  const end = entries.at(-1);
  return end === undefined || rest.length <= size ? { entries } : { entries, last: end };
}

function linkTo(request: DoubleRequest, dialect: TagDialect, size: number, last: string): string {
  const query = new URLSearchParams(
    dialect === 'next_page' ? { n: String(size), next_page: toCursor(last) } : { n: String(size), last },
  ).toString();
  const file = request.path.slice(request.path.lastIndexOf('/') + 1);
  const target = {
    link: `${request.path}?${query}`,
    'null-when-empty': `${request.path}?${query}`,
    next_page: `${request.path}?${query}`,
    'ignores-n': '',
    'link-absolute': `${request.origin}${request.path}?${query}`,
    'link-relative': `${file}?${query}`,
  }[dialect];
  return `<${target}>; rel="next"`;
}

function toCursor(last: string): string {
  return Buffer.from(last).toString('base64url');
}

function fromCursor(cursor: string | undefined): string | undefined {
  return cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
}
