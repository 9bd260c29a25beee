import { randomBytes } from 'node:crypto';
import {
  basicOf,
  bearerOf,
  errorAnswer,
  jsonAnswer,
  type Answer,
  type DoubleRequest,
  type RequestHead,
} from './exchange.js';

/** What may be done with a repository. */
export type Action = 'pull' | 'push' | 'delete' | '*';

/** One thing that a token may be for, such as `repository:a/b:pull,push`. */
export interface Scope {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** Somebody who has a password. */
export interface DoubleUser {
  readonly username: string;
  readonly password: string;
  /** For `POST` with `grant_type=refresh_token`. @defaultValue none */
  readonly refreshToken?: string;
  /** Actions by prefix of repositories; the empty prefix is all of them. @defaultValue everything everywhere */
  readonly rights?: Readonly<Record<string, readonly Action[]>>;
}

/** Options of {@link TokenAuth}. */
export interface TokenAuthOptions {
  readonly users?: readonly DoubleUser[];
  /** @defaultValue false */
  readonly anonymousPull?: boolean;
  /** `separate` is a second origin of the double's own; else what the challenge says, absolute or relative. @defaultValue `own` */
  readonly realm?: 'own' | 'separate' | { readonly at: string };
  /** Left out of challenges where it is empty. @defaultValue `double` */
  readonly service?: string;
  /** @defaultValue 300 */
  readonly expiresInSeconds?: number;
  /** Answer to POST, for registries without OAuth. @defaultValue 200 */
  readonly oauthStatus?: 200 | 400 | 401 | 404 | 405;
  /** Key of the token in the answer. @defaultValue both */
  readonly tokenKey?: 'token' | 'access_token' | 'both';
  /** Reads only the first scope, or only the last, as some do. @defaultValue `all` */
  readonly scopesRead?: 'all' | 'first' | 'last';
  /** Decides instead of the users' rights: actions granted, or a refusal. */
  readonly policy?: (user: DoubleUser | undefined, scope: Scope) => readonly string[] | Answer;
  /** Tokens of nobody are good for whatever nobody may do, not only for what they were asked for. @defaultValue false */
  readonly unboundAnonymous?: boolean;
  /** Knows tokens that were not handed out here; `anonymous` is nobody's. */
  readonly foreignToken?: (token: string) => DoubleUser | 'anonymous' | undefined;
}

/** A request to the token endpoint. */
export interface TokenRequest {
  readonly method: string;
  readonly scopes: readonly string[];
  readonly service: string | undefined;
  readonly hasAuthorization: boolean;
  /** Known once it is answered. */
  status: number;
}

/** Who asks, as far as a token or a password tells. */
export interface Identity {
  readonly user: DoubleUser | undefined;
  may(scope: Scope): boolean;
}

interface Grant extends Identity {
  readonly expiresAt: number;
  readonly isBound: boolean;
}

/** Tokens of a registry: opaque, kept in memory, bound to what they were asked for. @see distribution, "Token Authentication" */
export class TokenAuth {
  readonly requests: TokenRequest[] = [];
  readonly #options: TokenAuthOptions;
  readonly #grants = new Map<string, Grant>();
  readonly #now: () => number;
  #realm = '';

  constructor(options: TokenAuthOptions, now: () => number) {
    this.#options = options;
    this.#now = now;
  }

  /** Tells where the endpoint is, once that is known. */
  useRealm(realm: string): void {
    this.#realm = realm;
  }

  /** How many tokens are accepted now. */
  get liveTokens(): number {
    return [...this.#grants.values()].filter(({ expiresAt }) => expiresAt > this.#now()).length;
  }

  /** Takes one token back, or all of them. */
  revoke(token?: string): void {
    if (token === undefined) this.#grants.clear();
    else this.#grants.delete(token);
  }

  /** Tells who asks, or challenges. */
  authorize(request: DoubleRequest, needed: readonly Scope[]): Identity | Answer {
    const token = bearerOf(request.headers);
    if (token === undefined) return this.challenge(needed);
    const grant = this.#grants.get(token);
    const foreign = grant === undefined ? this.#options.foreignToken?.(token) : undefined;
    if (foreign !== undefined) return this.#identityOf(foreign === 'anonymous' ? undefined : foreign);
    if (grant === undefined || grant.expiresAt <= this.#now()) return this.challenge(needed, 'invalid_token');
    if (grant.isBound && !needed.every((scope) => grant.may(scope)))
      return this.challenge(needed, 'insufficient_scope');
    return grant;
  }

  /** Refuses with what a token would have to be for. */
  challenge(needed: readonly Scope[], error?: 'invalid_token' | 'insufficient_scope'): Answer {
    const { service = 'double' } = this.#options;
    const parameters = [
      `realm="${this.#realm}"`,
      ...(service === '' ? [] : [`service="${service}"`]),
      ...(needed.length === 0 ? [] : [`scope="${needed.map(printScope).join(' ')}"`]),
      ...(error === undefined ? [] : [`error="${error}"`]),
    ];
    return errorAnswer(401, 'UNAUTHORIZED', 'authentication required', {
      'www-authenticate': `Bearer ${parameters.join(',')}`,
    });
  }

  /** Answers the token endpoint: GET with Basic or nothing, POST with a form. */
  answer(request: DoubleRequest): Answer {
    const isPost = request.method === 'POST';
    const form = isPost ? new URLSearchParams(request.body.toString('utf8')) : request.query;
    const scopes = form.getAll('scope').flatMap((scope) => scope.split(' ').filter((part) => part !== ''));
    const recorded: TokenRequest = {
      method: request.method,
      scopes,
      service: form.get('service') ?? undefined,
      hasAuthorization: request.headers.authorization !== undefined,
      status: 0,
    };
    this.requests.push(recorded);
    const answer = this.#decide(request, isPost ? form : undefined, scopes);
    recorded.status = answer.status;
    return answer;
  }

  #decide(request: DoubleRequest, form: URLSearchParams | undefined, scopes: readonly string[]): Answer {
    if (request.method !== 'GET' && request.method !== 'POST') return errorAnswer(405, 'UNSUPPORTED');
    const { oauthStatus = 200 } = this.#options;
    if (form !== undefined && oauthStatus !== 200) return errorAnswer(oauthStatus, 'UNSUPPORTED');
    if (form !== undefined && form.get('client_id') === null)
      return errorAnswer(400, 'INVALID_REQUEST', 'client_id');
    const user = form === undefined ? this.#userOfBasic(request) : this.#userOfForm(form);
    if (user === 'unknown') return errorAnswer(401, 'UNAUTHORIZED', 'incorrect username or password');
    return this.#grant(user, this.#read(scopes), form?.get('grant_type') === 'refresh_token');
  }

  #userOfBasic(request: DoubleRequest): DoubleUser | undefined | 'unknown' {
    if (request.headers.authorization === undefined) return undefined;
    const basic = basicOf(request.headers);
    const users = this.#options.users ?? [];
    return (
      users.find(({ username, password }) => username === basic?.username && password === basic.password) ??
      'unknown'
    );
  }

  #userOfForm(form: URLSearchParams): DoubleUser | 'unknown' {
    const users = this.#options.users ?? [];
    const refreshToken = form.get('refresh_token');
    const found =
      form.get('grant_type') === 'refresh_token'
        ? users.find((user) => user.refreshToken !== undefined && user.refreshToken === refreshToken)
        : users.find(
            ({ username, password }) =>
              username === form.get('username') && password === form.get('password'),
          );
    return found ?? 'unknown';
  }

  #read(scopes: readonly string[]): readonly Scope[] {
    const { scopesRead = 'all' } = this.#options;
    const read =
      scopesRead === 'all' ? scopes : scopesRead === 'first' ? scopes.slice(0, 1) : scopes.slice(-1);
    return read.flatMap((text) => parseScope(text) ?? []);
  }

  #grant(user: DoubleUser | undefined, scopes: readonly Scope[], isRefresh: boolean): Answer {
    const granted: Scope[] = [];
    for (const scope of scopes) {
      const actions = this.#granted(user, scope);
      if (!Array.isArray(actions)) return actions as Answer;
      granted.push({ ...scope, actions: actions as readonly string[] });
    }
    const expiresIn = this.#options.expiresInSeconds ?? 300;
    const token = randomBytes(24).toString('base64url');
    const isBound = user !== undefined || this.#options.unboundAnonymous !== true;
    this.#grants.set(token, {
      user,
      isBound,
      expiresAt: this.#now() + expiresIn * 1000,
      may: isBound
        ? (needed) => needed.actions.every((action) => isGranted(granted, needed, action))
        : (needed) => this.#identityOf(undefined).may(needed),
    });
    const key = this.#options.tokenKey ?? 'both';
    return jsonAnswer(200, {
      ...(key === 'access_token' ? {} : { token }),
      ...(key === 'token' ? {} : { access_token: token }),
      ...(isRefresh ? { scope: granted.map(printScope).join(' ') } : {}),
      expires_in: expiresIn,
      issued_at: new Date(this.#now()).toISOString(),
    });
  }

  #granted(user: DoubleUser | undefined, scope: Scope): readonly string[] | Answer {
    if (this.#options.policy !== undefined) return this.#options.policy(user, scope);
    if (user === undefined) {
      return scope.actions.filter((action) => action === 'pull' && this.#options.anonymousPull === true);
    }
    return scope.actions.filter((action) => hasRight(user, scope.name, action));
  }

  #identityOf(user: DoubleUser | undefined): Identity {
    return {
      user,
      may: (scope) => {
        const granted = this.#granted(user, scope);
        return Array.isArray(granted) && scope.actions.every((action) => granted.includes(action));
      },
    };
  }
}

function hasRight(user: DoubleUser, name: string, action: string): boolean {
  const rights = user.rights ?? { '': ['*'] };
  return Object.entries(rights).some(
    ([prefix, actions]) =>
      (prefix === '' || name === prefix || name.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`)) &&
      actions.some((allowed) => allowed === '*' || allowed === action),
  );
}

function isGranted(granted: readonly Scope[], needed: Scope, action: string): boolean {
  return granted.some(
    ({ type, name, actions }) =>
      type === needed.type && name === needed.name && (actions.includes(action) || actions.includes('*')),
  );
}

/** The actions stand behind the last colon, the type before the first: a name may hold a port. */
function parseScope(text: string): Scope | undefined {
  const match = /^([^:]+):(.+):([^:]*)$/.exec(text);
  if (match === null) return undefined;
  const [, type = '', name = '', actions = ''] = match;
  return { type, name, actions: actions.split(',').filter((action) => action !== '') };
}

function printScope({ type, name, actions }: Scope): string {
  return `${type}:${name}:${actions.join(',')}`;
}

/** What a request needs a token for. */
export function scopesNeeded(request: RequestHead): readonly Scope[] {
  const { route, method, query } = request;
  if (route.kind === 'catalog') return [{ type: 'registry', name: 'catalog', actions: ['*'] }];
  if (route.repository === '') return [];
  const actions =
    method === 'GET' || method === 'HEAD'
      ? route.kind === 'upload'
        ? ['pull', 'push']
        : ['pull']
      : method === 'DELETE' && route.kind !== 'upload'
        ? ['delete']
        : ['pull', 'push'];
  const own = { type: 'repository', name: route.repository, actions };
  const from = query.get('from');
  if (route.kind !== 'upload-start' || query.get('mount') === null || from === null || from === '')
    return [own];
  return [own, { type: 'repository', name: from, actions: ['pull'] }];
}
