import { basicOf, jsonAnswer, type Answer, type DoubleRequest } from './exchange.js';
import { removeManifest, type DoubleRepository } from './registry-state.js';
import type { DoubleUser } from './token-auth.js';

/** Somebody at GitHub. */
export interface GhcrUser extends DoubleUser {
  /** Whose packages it may read and write. */
  readonly owners: readonly string[];
  /** For a GITHUB_TOKEN: the repository that it belongs to, such as `org/repo`. It writes only what is linked to that. */
  readonly linkedTo?: string;
  /** @defaultValue read, write and delete */
  readonly scopes?: readonly ('read:packages' | 'write:packages' | 'delete:packages')[];
}

/** One manifest of a package. */
export interface GhcrVersion {
  readonly id: number;
  readonly digest: string;
  /** ISO 8601 */
  readonly createdAt: string;
}

/** A package as GitHub keeps it. */
export interface GhcrPackage {
  /** Such as `org/channel/name`. */
  readonly name: string;
  visibility: 'private' | 'public';
  /** The GitHub repository that it is linked to, such as `org/repo`. */
  repository: string | undefined;
  /** Oldest first. */
  readonly versions: GhcrVersion[];
  /** Public packages with more than 5000 cannot be deleted. */
  downloads: number;
}

/** What the API works on. */
export interface PackagesApi {
  readonly packages: Map<string, GhcrPackage>;
  /** The registry's, once there is one. */
  repositories: Map<string, DoubleRepository>;
  readonly users: readonly GhcrUser[];
  /** Kinds of owners; who is not named is both. */
  readonly ownerKinds: Readonly<Record<string, 'org' | 'user'>>;
  /** Requests that are left before the limit strikes. */
  budget: number;
}

const MAX_DOWNLOADS = 5000;
const PATH = /^\/api\/(orgs|users)\/([^/]+)\/packages(?:\/container\/([^/]+)(?:\/(versions)(?:\/(\d+))?)?)?$/;

/** Whether the user's token has a scope. */
export function hasScope(
  user: GhcrUser,
  scope: 'read:packages' | 'write:packages' | 'delete:packages',
): boolean {
  return user.scopes?.includes(scope) ?? true;
}

/** Answers GitHub's REST API for container packages. @see https://docs.github.com/en/rest/packages/packages */
export function answerPackagesApi(api: PackagesApi, request: DoubleRequest): Answer {
  const user = userOf(api, request);
  if (user === undefined) return failure(401, 'Requires authentication');
  if (api.budget <= 0) {
    return failure(403, 'API rate limit exceeded', {
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '0',
    });
  }
  api.budget -= 1;
  const match = PATH.exec(request.path);
  if (match === null) return notFound();
  const [, kind, owner = '', leaf, versions, id] = match;
  const wantedKind = kind === 'orgs' ? 'org' : 'user';
  if ((api.ownerKinds[owner] ?? wantedKind) !== wantedKind) return notFound();
  if (leaf === undefined)
    return request.method === 'GET' ? listPackages(api, request, user, owner) : notFound();
  const found = api.packages.get(`${owner}/${decodeURIComponent(leaf)}`);
  if (found === undefined || !mayRead(user, found)) return notFound();
  const isDelete = request.method === 'DELETE';
  if (isDelete && !mayDelete(user, found)) return failure(403, 'Must have delete:packages and admin rights');
  if (isDelete && found.visibility === 'public' && found.downloads > MAX_DOWNLOADS) {
    return failure(400, 'Publicly visible package versions with more than 5000 downloads cannot be deleted');
  }
  if (!isDelete && request.method !== 'GET') return notFound();
  if (versions === undefined)
    return isDelete ? deletePackage(api, found) : jsonAnswer(200, packageJson(found));
  if (id === undefined) return isDelete ? notFound() : listVersions(api, request, found);
  const version = found.versions.find((one) => one.id === Number(id));
  if (version === undefined) return notFound();
  return isDelete ? deleteVersion(api, found, version) : jsonAnswer(200, versionJson(api, found, version));
}

function userOf(api: PackagesApi, request: DoubleRequest): GhcrUser | undefined {
  const token =
    /^(?:bearer|token)\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ??
    basicOf(request.headers)?.password;
  return api.users.find(({ password }) => password === token);
}

function mayRead(user: GhcrUser, { name, visibility }: GhcrPackage): boolean {
  return hasScope(user, 'read:packages') && (visibility === 'public' || user.owners.includes(ownerOf(name)));
}

function mayDelete(user: GhcrUser, { name, repository }: GhcrPackage): boolean {
  const isLinked = user.linkedTo === undefined || user.linkedTo === repository;
  return hasScope(user, 'delete:packages') && user.owners.includes(ownerOf(name)) && isLinked;
}

/** First part of a package's name. */
export function ownerOf(name: string): string {
  return name.split('/')[0] ?? '';
}

function listPackages(api: PackagesApi, request: DoubleRequest, user: GhcrUser, owner: string): Answer {
  if (request.query.get('package_type') !== 'container') return failure(400, 'package_type is missing');
  if (!hasScope(user, 'read:packages'))
    return failure(403, 'You need at least read:packages scope to list packages.');
  const visible = [...api.packages.values()].filter(
    (one) => ownerOf(one.name) === owner && mayRead(user, one),
  );
  return pageAnswer(request, visible.map(packageJson));
}

function listVersions(api: PackagesApi, request: DoubleRequest, found: GhcrPackage): Answer {
  const newestFirst = [...found.versions].reverse();
  return pageAnswer(
    request,
    newestFirst.map((version) => versionJson(api, found, version)),
  );
}

function pageAnswer(request: DoubleRequest, all: readonly unknown[]): Answer {
  const perPage = Math.min(100, Math.max(1, Number(request.query.get('per_page') ?? 30)));
  const page = Math.max(1, Number(request.query.get('page') ?? 1));
  const last = Math.max(1, Math.ceil(all.length / perPage));
  const link = (target: number, rel: string): string => {
    const query = new URLSearchParams(request.query);
    query.set('page', String(target));
    return `<${request.origin}${request.path}?${query.toString()}>; rel="${rel}"`;
  };
  const links = [
    ...(page > 1 ? [link(page - 1, 'prev')] : []),
    ...(page < last ? [link(page + 1, 'next'), link(last, 'last')] : []),
    ...(page > 1 ? [link(1, 'first')] : []),
  ];
  const headers = links.length === 0 ? {} : { link: links.join(', ') };
  return jsonAnswer(200, all.slice((page - 1) * perPage, page * perPage), headers);
}

function packageJson({ name, visibility, repository, versions }: GhcrPackage): object {
  return {
    name: name.slice(ownerOf(name).length + 1),
    package_type: 'container',
    owner: { login: ownerOf(name) },
    version_count: versions.length,
    visibility,
    ...(repository === undefined ? {} : { repository: { full_name: repository } }),
  };
}

function versionJson(api: PackagesApi, found: GhcrPackage, { id, digest, createdAt }: GhcrVersion): object {
  return {
    id,
    name: digest,
    created_at: createdAt,
    updated_at: createdAt,
    metadata: { package_type: 'container', container: { tags: tagsOf(api, found, digest) } },
  };
}

function tagsOf(api: PackagesApi, found: GhcrPackage, digest: string): string[] {
  const tags = [...(api.repositories.get(found.name)?.tags ?? [])];
  return tags.filter(([, target]) => target === digest).map(([tag]) => tag);
}

function deletePackage(api: PackagesApi, found: GhcrPackage): Answer {
  api.packages.delete(found.name);
  api.repositories.delete(found.name);
  return { status: 204 };
}

function deleteVersion(api: PackagesApi, found: GhcrPackage, version: GhcrVersion): Answer {
  const tagged = found.versions.filter(({ digest }) => tagsOf(api, found, digest).length > 0);
  if (tagged.length === 1 && tagged[0] === version) {
    return failure(
      400,
      'You cannot delete the last tagged version of a package. You must delete the package instead.',
    );
  }
  found.versions.splice(found.versions.indexOf(version), 1);
  const repository = api.repositories.get(found.name);
  if (repository !== undefined) removeManifest(repository, version.digest);
  return { status: 204 };
}

function notFound(): Answer {
  return failure(404, 'Not Found');
}

function failure(status: number, message: string, headers: Record<string, string> = {}): Answer {
  return jsonAnswer(status, { message, status: String(status) }, headers);
}
