/**
 * A registry of this process: the distribution-spec in memory, with options for how registries differ, and faults on
 * request. What is written here is read from the specification, not from the client that is tested with it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { answerBlob, answerBlobHost, type BlobHost } from './blob-routes.js';
import { recordOf, type DoubleRecord } from './double-record.js';
import {
  basicOf,
  bearerOf,
  errorAnswer,
  isRepositoryName,
  isWrite,
  type Answer,
  type DoubleRequest,
  type RequestHead,
} from './exchange.js';
import { FAULT_RULES, type FaultContext, type FaultKind } from './fault-rules.js';
import { FaultInjector, type FaultSchedule, type RequestPredicate } from './faults.js';
import { answerCatalog, answerTags } from './list-routes.js';
import {
  deliver,
  headOf,
  resetConnection,
  startLoopbackServer,
  type LoopbackServer,
} from './loopback-server.js';
import { answerManifest, answerReferrers } from './manifest-routes.js';
import type { RegistryDoubleOptions } from './options.js';
import { newState, type DoubleRepository, type RegistryState } from './registry-state.js';
import { scopesNeeded, TokenAuth, type Identity, type TokenRequest } from './token-auth.js';
import { answerUpload, answerUploadStart } from './upload-routes.js';

const CLOSED_PORT = 'http://127.0.0.2:9';
const EMPTY: Answer = { status: 200 };

/** What a special registry adds. */
export interface RegistryHooks {
  /** Answers before anybody is asked who they are. */
  readonly admit?: (head: RequestHead) => Answer | undefined;
  /** Answers instead of the registry, who asks being known. */
  readonly before?: (request: DoubleRequest, identity: Identity | undefined) => Answer | undefined;
  /** Sees, and may change, what the registry answers. */
  readonly after?: (request: DoubleRequest, answer: Answer, identity: Identity | undefined) => Answer;
  /** Answers paths that are not the registry's. */
  readonly route?: (request: DoubleRequest) => Answer | undefined;
}

/** A registry to test against. */
export interface RegistryDouble extends AsyncDisposable {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  /** Such as `http://127.0.0.1:34567`. */
  readonly origin: string;
  /** Where blob reads are redirected to, if that is a host of the double's own. */
  readonly blobOrigin: string | undefined;
  /** Where tokens are had, if there are any. */
  readonly tokenOrigin: string | undefined;
  /** Every request, in the order of arrival. */
  readonly requests: readonly DoubleRecord[];
  /** Requests to the token endpoint, in the order of arrival. */
  readonly tokenRequests: readonly TokenRequest[];
  /** What is stored, to look at and to meddle with. */
  readonly repositories: Map<string, DoubleRepository>;
  /** Uploads that were begun and neither ended nor given up. */
  readonly openUploads: number;
  /** How often each kind of fault happened. */
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** Planned faults that did not happen yet. */
  readonly pendingFaults: number;
  /** What goes wrong by itself. @defaultValue nothing */
  schedule: FaultSchedule | undefined;
  /** Does it to the next `times` requests that fit. */
  faultNext(predicate: RequestPredicate, kind: FaultKind, times?: number): void;
  /** Takes all tokens back. */
  revokeTokens(): void;
  /** Forgets requests and faults; what is stored stays. */
  reset(): void;
  /** Every request so far as `PUT /v2/…`, without its query. */
  readonly lines: readonly string[];
}

/** Starts a registry. Dispose of it, or call {@link useRegistryDouble} in a test. */
export async function startRegistryDouble(
  options: RegistryDoubleOptions = {},
  hooks: RegistryHooks = {},
): Promise<RegistryDouble> {
  const registry = new Registry(options, hooks);
  await registry.start();
  return registry;
}

/** Starts a registry that goes away with the test. */
export async function useRegistryDouble(options: RegistryDoubleOptions = {}): Promise<RegistryDouble> {
  const registry = await startRegistryDouble(options);
  onTestFinished(async () => registry[Symbol.asyncDispose]());
  return registry;
}

class Registry implements RegistryDouble {
  readonly requests: DoubleRecord[] = [];
  readonly #options: RegistryDoubleOptions;
  readonly #hooks: RegistryHooks;
  readonly #state: RegistryState;
  readonly #injector = new FaultInjector();
  readonly #tokens: TokenAuth | undefined;
  readonly #servers: LoopbackServer[] = [];
  #blobHost: BlobHost = { origin: undefined, signatures: new Set() };
  host = '';
  origin = '';
  blobOrigin: string | undefined;
  tokenOrigin: string | undefined;

  constructor(options: RegistryDoubleOptions, hooks: RegistryHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#state = newState(options.repositories);
    const { auth } = options;
    if (auth?.kind === 'token') this.#tokens = new TokenAuth(auth, () => this.#now());
  }

  async start(): Promise<void> {
    const { auth, redirectBlobs = false } = this.#options;
    const main = await this.#listen();
    this.host = main.host;
    this.origin = main.origin;
    if (redirectBlobs === 'own') this.blobOrigin = main.origin;
    if (redirectBlobs === 'separate') this.blobOrigin = (await this.#listen()).origin;
    const to = typeof redirectBlobs === 'object' ? redirectBlobs.to : this.blobOrigin;
    this.#blobHost = { origin: to, signatures: new Set() };
    if (auth?.kind !== 'token') return;
    const { realm = 'own' } = auth;
    if (realm === 'own') this.tokenOrigin = main.origin;
    if (realm === 'separate') this.tokenOrigin = (await this.#listen()).origin;
    this.#tokens?.useRealm(typeof realm === 'object' ? realm.at : `${this.tokenOrigin ?? ''}/token`);
  }

  async #listen(): Promise<LoopbackServer> {
    const { address, tls } = this.#options;
    const server: LoopbackServer = await startLoopbackServer({
      ...(address === undefined ? {} : { address }),
      tls,
      handle: (incoming, response) => this.#handle(headOf(incoming, server.origin), incoming, response),
    });
    this.#servers.push(server);
    return server;
  }

  get tokenRequests(): readonly TokenRequest[] {
    return this.#tokens?.requests ?? [];
  }

  get repositories(): Map<string, DoubleRepository> {
    return this.#state.repositories;
  }

  get openUploads(): number {
    return this.#state.uploads.size;
  }

  get faults(): Readonly<Partial<Record<FaultKind, number>>> {
    return this.#injector.counts;
  }

  get pendingFaults(): number {
    return this.#injector.pending;
  }

  get schedule(): FaultSchedule | undefined {
    return this.#injector.schedule;
  }

  set schedule(schedule: FaultSchedule | undefined) {
    this.#injector.schedule = schedule;
  }

  get lines(): readonly string[] {
    return this.requests.map(({ method, path }) => `${method} ${path}`);
  }

  faultNext(predicate: RequestPredicate, kind: FaultKind, times = 1): void {
    this.#injector.next(predicate, kind, times);
  }

  revokeTokens(): void {
    this.#tokens?.revoke();
  }

  reset(): void {
    this.requests.length = 0;
    if (this.#tokens !== undefined) this.#tokens.requests.length = 0;
    this.#injector.reset();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  async #handle(head: RequestHead, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const record = recordOf(head);
    this.requests.push(record);
    const fault = this.#injector.choose(head);
    const rule = fault === undefined ? undefined : FAULT_RULES[fault.kind];
    const send = async (answer: Answer): Promise<void> => {
      record.status = answer.status;
      record.bytesOut = await deliver(head, incoming, response, answer);
    };
    const reset = (): void => {
      resetConnection(incoming);
    };
    record.fault = fault?.kind;
    const context = this.#faultContext();
    if (rule?.phase === 'early') {
      await send(rule.make(head, context, EMPTY) ?? EMPTY);
      return;
    }
    const body = await buffer(incoming);
    record.bytesIn = body.byteLength;
    let request: DoubleRequest = { ...head, body };
    switch (rule?.phase) {
      case 'reset-before':
        rule.make(head, context, EMPTY);
        reset();
        return;
      case 'reset-after':
        await this.#answer(request);
        reset();
        return;
      case 'reset-meanwhile':
        reset();
        await this.#answer(request);
        return;
      case 'reset-half':
        await this.#answer(firstHalf(request));
        reset();
        return;
      case 'without-range':
        request = { ...request, headers: { ...head.headers, range: undefined } };
        break;
      case 'instead': {
        const made = rule.make(head, context, EMPTY);
        if (made === undefined) break;
        await send(made);
        return;
      }
      case 'change':
      case undefined:
    }
    const answer = await this.#answer(request);
    const changed =
      rule === undefined || rule.phase === 'instead' ? undefined : rule.make(head, context, answer);
    if (fault !== undefined && changed === undefined) {
      fault.giveBack();
      record.fault = undefined;
    }
    await send(changed ?? answer);
  }

  #faultContext(): FaultContext {
    return {
      elsewhere: this.#options.elsewhere ?? CLOSED_PORT,
      now: () => this.#now(),
      expire: (head) => {
        this.#tokens?.revoke(bearerOf(head.headers) ?? '');
        return this.#tokens?.challenge(scopesNeeded(head), 'invalid_token');
      },
      dropUpload: (id) => this.#state.uploads.delete(id),
      manifestSize: (repository, digest) =>
        this.#state.repositories.get(repository)?.manifests.get(digest)?.bytes.byteLength ?? 2,
    };
  }

  async #answer(request: DoubleRequest): Promise<Answer> {
    const { kind } = request.route;
    if (kind === 'blob-host' && this.blobOrigin === request.origin) {
      return answerBlobHost(this.#state, this.#options, request, this.#blobHost);
    }
    if (kind === 'token' && this.tokenOrigin === request.origin && this.#tokens !== undefined) {
      return this.#tokens.answer(request);
    }
    // The hosts beside the registry are nothing else.
    if (request.origin !== this.origin) return { status: 404 };
    const special = kind === 'api' || kind === 'other' ? this.#hooks.route?.(request) : undefined;
    if (special !== undefined) return special;
    if (['api', 'other', 'token', 'blob-host'].includes(kind)) {
      return { status: 404, headers: { 'content-type': 'text/plain' }, body: '404 page not found\n' };
    }
    const limited = this.#hooks.admit?.(request);
    if (limited !== undefined) return limited;
    const identity = this.#identify(request);
    if (identity !== undefined && 'status' in identity) return identity;
    const early = this.#hooks.before?.(request, identity) ?? this.#refuse(request);
    const answer = early ?? (await this.#route(request, identity));
    return this.#hooks.after?.(request, answer, identity) ?? answer;
  }

  #identify(request: DoubleRequest): Identity | Answer | undefined {
    const { auth, maxPathDepth = Infinity } = this.#options;
    const isTooDeep = request.route.repository.split('/').length > maxPathDepth;
    if (isTooDeep) {
      return (
        this.#tokens?.challenge(scopesNeeded(request), 'insufficient_scope') ??
        errorAnswer(401, 'UNAUTHORIZED', 'insufficient_scope')
      );
    }
    if (this.#tokens !== undefined) return this.#tokens.authorize(request, scopesNeeded(request));
    if (auth?.kind !== 'basic') return undefined;
    const basic = basicOf(request.headers);
    if (basic?.username === auth.username && basic.password === auth.password) return undefined;
    return errorAnswer(401, 'UNAUTHORIZED', 'authentication required', {
      'www-authenticate': 'Basic realm="double"',
    });
  }

  #refuse(request: DoubleRequest): Answer | undefined {
    const { kind, repository } = request.route;
    if (this.#options.readOnly === true && isWrite(request)) return errorAnswer(405, 'UNSUPPORTED');
    const isNamed = kind !== 'ping' && kind !== 'catalog';
    return isNamed && !isRepositoryName(repository) ? errorAnswer(400, 'NAME_INVALID') : undefined;
  }

  async #route(request: DoubleRequest, identity: Identity | undefined): Promise<Answer> {
    const [state, options] = [this.#state, this.#options];
    switch (request.route.kind) {
      case 'ping':
        return { status: 200, headers: { 'docker-distribution-api-version': 'registry/2.0' }, body: '{}' };
      case 'catalog':
        return answerCatalog(state, options, request);
      case 'manifest':
        return answerManifest(state, options, request);
      case 'blob':
        return answerBlob(state, options, request, this.#blobHost);
      case 'upload-start': {
        const mayMount = (name: string): boolean =>
          identity?.may({ type: 'repository', name, actions: ['pull'] }) ?? true;
        return answerUploadStart(state, options, request, mayMount);
      }
      case 'upload':
        return answerUpload(state, options, request);
      case 'tags':
        return answerTags(state, options, request);
      case 'referrers':
        return answerReferrers(state, options, request);
      case 'token':
      case 'blob-host':
      case 'api':
      case 'other':
        return { status: 404 };
    }
  }
}

/** The request as if its connection had broken in the middle of its body, and the registry kept what it had. */
function firstHalf(request: DoubleRequest): DoubleRequest {
  const body = request.body.subarray(0, Math.floor(request.body.byteLength / 2));
  const start = /^(\d+)-\d+$/.exec(request.headers['content-range'] ?? '')?.[1];
  const range = start === undefined ? undefined : `${start}-${Number(start) + body.byteLength - 1}`;
  return { ...request, body, headers: { ...request.headers, 'content-range': range } };
}
