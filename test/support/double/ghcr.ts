/**
 * GHCR as far as it is known from outside: the registry double with the options, limits and refusals of the facts
 * ghcr/G1 to ghcr/G19, and GitHub's REST API for packages beside it.
 */
import { onTestFinished } from 'vitest';
import { errorAnswer, isWrite, type Answer, type DoubleRequest } from './exchange.js';
import { GhcrLimits, type GhcrLimitOptions } from './ghcr-limits.js';
import type { RegistryDoubleOptions } from './options.js';
import {
  answerPackagesApi,
  hasScope,
  ownerOf,
  type GhcrPackage,
  type GhcrUser,
  type PackagesApi,
} from './packages-api.js';
import { startRegistryDouble, type RegistryDouble } from './registry-double.js';
import { findManifest } from './registry-state.js';
import type { Identity, Scope } from './token-auth.js';

const MIB = 1024 * 1024;
const SOURCE = 'org.opencontainers.image.source';
/** What Homebrew sends instead of a token. @see fact ghcr/G6 */
const NO_TOKEN = 'QQ==';

/** Options of {@link startGhcrDouble}. */
export interface GhcrOptions extends GhcrLimitOptions {
  readonly users?: readonly GhcrUser[];
  /** @defaultValue `private` @see fact ghcr/G7 */
  readonly newPackages?: 'private' | 'public';
  /** 303 leads to `elsewhere`. @defaultValue `404` @see fact ghcr/G14 */
  readonly referrers?: '404' | '303';
  /** Between the end of a large blob and its being there. @defaultValue 0 @see fact ghcr/G11 */
  readonly commitDelayMs?: number;
  /** From here on a blob is large. @defaultValue 0 */
  readonly commitDelayFromBytes?: number;
  /** @defaultValue 300 */
  readonly expiresInSeconds?: number;
  /** Kinds of owners in the REST API; who is not named is both. */
  readonly ownerKinds?: Readonly<Record<string, 'org' | 'user'>>;
  /** Requests to the REST API before its limit strikes. @defaultValue 5000 @see fact ghcr/G17 */
  readonly apiBudget?: number;
  /** @defaultValue `Date.now` */
  readonly now?: () => number;
  /** Anything else of the registry below. */
  readonly registry?: Omit<RegistryDoubleOptions, 'auth' | 'now'>;
}

/** GHCR to test against. */
export interface GhcrDouble extends RegistryDouble {
  /** Base of the REST API, such as `http://127.0.0.1:34567/api`. */
  readonly apiUrl: string;
  /** By name, such as `org/channel/name`; to look at and to meddle with. */
  readonly packages: Map<string, GhcrPackage>;
  /** The secondary limit strikes now. */
  limitSecondarily(forMs: number): void;
}

/** Starts a GHCR. Dispose of it, or call {@link useGhcrDouble} in a test. */
export async function startGhcrDouble(options: GhcrOptions = {}): Promise<GhcrDouble> {
  const now = options.now ?? Date.now;
  const packages = new Map<string, GhcrPackage>();
  const limits = new GhcrLimits(options, now);
  const limitsOfUsers = new Map<string | undefined, GhcrLimits>();
  const limitsOf = (identity: Identity | undefined): GhcrLimits => {
    const username = identity?.user?.username;
    const known = limitsOfUsers.get(username) ?? new GhcrLimits(options, now);
    limitsOfUsers.set(username, known);
    return known;
  };
  const hasOwnLimits = options.limited === 'each-user';
  const users = options.users ?? [];
  let versions = 0;
  const api: PackagesApi = {
    packages,
    repositories: new Map(),
    users,
    ownerKinds: options.ownerKinds ?? {},
    budget: options.apiBudget ?? 5000,
  };

  const register = (request: DoubleRequest, identity: Identity | undefined): void => {
    const { repository, reference } = request.route;
    const manifest = findManifest(api.repositories.get(repository), reference);
    if (manifest === undefined) return;
    const linkedTo = userOf(identity, users)?.linkedTo;
    const known = packages.get(repository) ?? {
      name: repository,
      visibility: options.newPackages ?? 'private',
      repository: linkedTo,
      versions: [],
      downloads: 0,
    };
    packages.set(repository, known);
    known.repository ??= linkedRepository(manifest.annotations[SOURCE], ownerOf(repository));
    if (known.versions.some(({ digest }) => digest === manifest.digest)) return;
    versions += 1;
    known.versions.push({ id: versions, digest: manifest.digest, createdAt: new Date(now()).toISOString() });
  };

  const registry = await startRegistryDouble(
    {
      ...fixedOptions(options),
      ...options.registry,
      now,
      auth: {
        kind: 'token',
        users,
        service: 'ghcr',
        expiresInSeconds: options.expiresInSeconds ?? 300,
        unboundAnonymous: true,
        policy: (user, scope) => grantedActions(packages, users, user?.username, scope),
        foreignToken: (token) => {
          if (token === NO_TOKEN) return 'anonymous';
          return users.find(({ password }) => Buffer.from(password).toString('base64') === token);
        },
      },
    },
    {
      admit: (head) => (hasOwnLimits ? undefined : limits.admit(head)),
      before: (request, identity) =>
        (hasOwnLimits ? limitsOf(identity).admit(request) : undefined) ??
        refusal(packages, request, userOf(identity, users)),
      after: (request, answer, identity) => {
        if (request.method === 'PUT' && request.route.kind === 'manifest' && answer.status === 201) {
          register(request, identity);
        }
        return answer;
      },
      route: (request) => (request.route.kind === 'api' ? answerPackagesApi(api, request) : undefined),
    },
  );
  api.repositories = registry.repositories;
  return Object.assign(registry, {
    apiUrl: `${registry.origin}/api`,
    packages,
    limitSecondarily: (forMs: number) => {
      limits.block(forMs);
    },
  });
}

/** Starts a GHCR that goes away with the test. */
export async function useGhcrDouble(options: GhcrOptions = {}): Promise<GhcrDouble> {
  const ghcr = await startGhcrDouble(options);
  onTestFinished(async () => ghcr[Symbol.asyncDispose]());
  return ghcr;
}

function fixedOptions(options: GhcrOptions): RegistryDoubleOptions {
  return {
    referrers: false,
    ...(options.referrers === '303'
      ? { referrersElsewhere: options.registry?.elsewhere ?? 'http://127.0.0.2:9' }
      : {}),
    singlePost: '202',
    mount: '202',
    tagOrder: 'creation',
    tagPageSize: 100,
    catalog: false,
    delete: { tags: false, manifests: false, blobs: false },
    maxManifestBytes: 4 * MIB - 1,
    tooLargeManifestStatus: 500,
    maxPatchBytes: 4 * MIB,
    redirectBlobs: 'separate',
    commitDelayMs: options.commitDelayMs ?? 0,
    commitDelayFromBytes: options.commitDelayFromBytes ?? 0,
  };
}

function userOf(identity: Identity | undefined, users: readonly GhcrUser[]): GhcrUser | undefined {
  return users.find(({ username }) => username === identity?.user?.username);
}

/** Absent and private look the same to strangers. @see fact ghcr/G5 */
function grantedActions(
  packages: ReadonlyMap<string, GhcrPackage>,
  users: readonly GhcrUser[],
  username: string | undefined,
  scope: Scope,
): readonly string[] | Answer {
  if (scope.type !== 'repository') return [];
  const user = users.find((one) => one.username === username);
  if (user?.owners.includes(ownerOf(scope.name)) === true) return scope.actions;
  if (packages.get(scope.name)?.visibility !== 'public') return denied();
  return scope.actions.filter((action) => action === 'pull');
}

function refusal(
  packages: ReadonlyMap<string, GhcrPackage>,
  request: DoubleRequest,
  user: GhcrUser | undefined,
): Answer | undefined {
  const { repository } = request.route;
  if (repository === '') return undefined;
  const known = packages.get(repository);
  if (!isWrite(request)) {
    const isOwn = user?.owners.includes(ownerOf(repository)) === true;
    if (isOwn && !hasScope(user, 'read:packages')) return denied(WRONG_SCOPES);
    return isOwn || known?.visibility === 'public' ? undefined : denied();
  }
  if (user === undefined) {
    const message = 'unauthenticated: User cannot be authenticated with the token provided.';
    return errorAnswer(401, 'UNAUTHORIZED', message);
  }
  // DELETE is answered alike to everybody.
  if (request.method === 'DELETE' && request.route.kind !== 'upload') return undefined;
  if (!hasScope(user, 'write:packages')) return denied(WRONG_SCOPES);
  if (!user.owners.includes(ownerOf(repository))) return denied('permission_denied: create_package');
  const isForeign = known !== undefined && user.linkedTo !== undefined && known.repository !== user.linkedTo;
  return isForeign ? denied('permission_denied: write_package') : undefined;
}

const WRONG_SCOPES = 'permission_denied: The token provided does not match expected scopes.';

function denied(message = 'requested access to the resource is denied'): Answer {
  return errorAnswer(403, 'DENIED', message);
}

/** Shape of the source: `https://github.com/org/repo`. Only a repository of the same owner is linked. */
function linkedRepository(source: string | undefined, owner: string): string | undefined {
  const match = /^https:\/\/github\.com\/([^/]+)\/([^/]+?)(?:\.git)?\/?$/.exec(source ?? '');
  if (match?.[1]?.toLowerCase() !== owner) return undefined;
  return `${match[1]}/${match[2] ?? ''}`;
}
