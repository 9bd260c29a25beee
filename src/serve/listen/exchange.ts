import type { IncomingMessage, ServerResponse } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { answerNoteOf } from './answer-note.js';
import { BufferPool } from './buffer-pool.js';
import type { Connection } from './connection.js';
import { HotAnswers } from './hot-answers.js';
import type { ListenLimits } from './limits.js';
import type { Answered, ListenReporter } from './listen-reporter.js';
import { readRequestFacts, type RequestFacts } from './request-facts.js';
import { parseRequestTarget, refuseRequest, type Refusal } from './request-target.js';
import { sendResponse, type Delivery } from './send-response.js';

/** What answers a request; `request.url` begins with the server's own address, whatever the client calls it. */
export type Fetch = (request: Request) => Response | Promise<Response>;

/** What an {@link Exchanger} is made of. */
export interface ExchangerOptions {
  readonly fetch: Fetch;
  /** Host and port that URLs of requests get, such as `127.0.0.1:8000`. */
  readonly authority: string;
  readonly limits: ListenLimits;
  readonly reporter: ListenReporter;
}

/** A request, until it is answered. */
interface Exchange {
  readonly id: string;
  readonly connection: Connection;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly method: string;
  readonly target: string;
  readonly facts: RequestFacts;
  readonly hotKey: string | undefined;
  readonly startedMs: number;
}

/** Answers requests of all connections, each with what the handlers say, or with a refusal. */
export class Exchanger {
  readonly #options: ExchangerOptions;
  readonly #buffers = new BufferPool();
  readonly #hot = new HotAnswers();
  readonly #listener: (incoming: IncomingMessage, outgoing: ServerResponse) => unknown;
  readonly #exchanges = new WeakMap<object, Exchange>();
  readonly #pending = new Set<Promise<void>>();
  readonly #prefix = Date.now().toString(36);
  #count = 0;
  #isClosing = false;

  constructor(options: ExchangerOptions) {
    this.#options = options;
    // It makes requests of what Node gives; all answers are written here.
    this.#listener = getRequestListener(
      async (request, { outgoing }) => {
        const exchange = this.#exchanges.get(outgoing);
        if (exchange !== undefined) await this.#answer(exchange, request);
        return RESPONSE_ALREADY_SENT;
      },
      { overrideGlobalObjects: false, autoCleanupIncoming: false },
    );
  }

  /** Has every connection end with the answer that is under way, or with the next one. */
  startClosing(): void {
    this.#isClosing = true;
  }

  /** Waits until nothing is read or open any more for answers; their connections must be at an end. */
  async whenIdle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** Tells of a request that could not even be read. */
  reportUnreadable(remote: string, status: number): void {
    this.#options.reporter.answered?.({
      id: this.#nextId(),
      remote,
      method: '',
      target: '',
      userAgent: '',
      status,
      bytes: 0,
      ms: 0,
      route: 'other',
      cache: 'none',
      isWhole: false,
    });
  }

  /** Answers a request, after those that came before it on the same connection. Never throws. */
  take(connection: Connection, incoming: IncomingMessage, outgoing: ServerResponse): void {
    if (!connection.isBusy) {
      this.#start(connection, incoming, outgoing);
      return;
    }
    if (connection.waiting.length < this.#options.limits.maxPipelined) {
      connection.waiting.push({ incoming, outgoing });
      return;
    }
    this.reportUnreadable(connection.remote, 0);
    connection.waiting.length = 0;
    connection.socket.destroy();
  }

  #start(connection: Connection, incoming: IncomingMessage, outgoing: ServerResponse): void {
    const startedMs = performance.now();
    const sent = incoming.url ?? '';
    const method = incoming.method ?? '';
    const facts = readRequestFacts(incoming.rawHeaders);
    const hotKey =
      facts.hasBody || facts.expects || facts.hosts !== 1 ? undefined : this.#hot.keyOf(method, sent, facts);
    if (this.#isClosing || facts.wantsUpgrade) outgoing.shouldKeepAlive = false;
    const hot = hotKey === undefined ? undefined : this.#hot.get(hotKey, startedMs);
    if (hot !== undefined) {
      outgoing.writeHead(hot.status, hot.headers as string[]);
      if (hot.body === undefined) outgoing.end();
      else outgoing.end(hot.body);
      this.#options.reporter.answered?.({
        id: this.#nextId(),
        remote: connection.remote,
        method,
        target: sent,
        userAgent: facts.userAgent,
        status: hot.status,
        bytes: hot.body?.byteLength ?? 0,
        ms: performance.now() - startedMs,
        route: hot.route,
        cache: hot.cache,
        isWhole: true,
      });
      return;
    }
    const id = this.#nextId();
    const target = sent.length > this.#options.limits.maxTargetLength ? undefined : parseRequestTarget(sent);
    const exchange: Exchange = {
      id,
      connection,
      incoming,
      outgoing,
      method,
      target: target ?? sent.slice(0, this.#options.limits.maxTargetLength),
      facts,
      hotKey,
      startedMs,
    };
    const refusal =
      refuseRequest(method, sent, facts, incoming.httpVersion === '1.0') ?? this.#refuseTarget(sent, target);
    connection.isBusy = true;
    if (refusal !== undefined) {
      this.#refuse(exchange, refusal);
      return;
    }
    incoming.url = exchange.target;
    incoming.headers.host = this.#options.authority;
    this.#exchanges.set(outgoing, exchange);
    void this.#listener(incoming, outgoing);
  }

  #refuseTarget(sent: string, target: string | undefined): Refusal | undefined {
    if (sent.length > this.#options.limits.maxTargetLength)
      return { status: 414, text: 'the URL is too long' };
    return target === undefined ? { status: 400, text: 'the URL cannot be read' } : undefined;
  }

  #refuse(exchange: Exchange, { status, text, headers = [] }: Refusal): void {
    const { outgoing, method } = exchange;
    outgoing.shouldKeepAlive = false;
    const body = status === 204 || method === 'HEAD' ? undefined : Buffer.from(`${text}\n`);
    const length = status === 204 ? [] : ['content-length', String(body?.byteLength ?? 0)];
    const type = ['content-type', 'text/plain; charset=utf-8', 'x-content-type-options', 'nosniff'];
    const delivery = this.#deliver(exchange);
    delivery.isWaiting = true;
    delivery.bytes = body?.byteLength ?? 0;
    this.#onClose(exchange, delivery, undefined);
    outgoing.writeHead(status, [...type, ...length, ...headers]);
    outgoing.end(body);
  }

  #answer(exchange: Exchange, request: Request): Promise<void> {
    const work = this.#work(exchange, request);
    this.#pending.add(work);
    return work.finally(() => this.#pending.delete(work));
  }

  /** Never rejects. */
  async #work(exchange: Exchange, request: Request): Promise<void> {
    const { outgoing, hotKey } = exchange;
    const delivery = this.#deliver(exchange);
    let response: Response | undefined;
    this.#onClose(exchange, delivery, () => response);
    try {
      response = await this.#options.fetch(request);
      if (this.#isClosing) outgoing.shouldKeepAlive = false;
      const sent = await sendResponse(delivery, response);
      if (sent === undefined || hotKey === undefined) return;
      const { route = 'other', cache = 'none' } = answerNoteOf(response) ?? {};
      this.#hot.set(hotKey, { ...sent, route, cache }, performance.now());
    } catch (error) {
      // A handler that gives up because its client did so has not failed.
      if (!outgoing.destroyed) this.#fail(exchange, delivery, error);
    }
  }

  #fail(exchange: Exchange, delivery: Delivery, error: unknown): void {
    const { id, method, target, outgoing } = exchange;
    this.#options.reporter.failed?.({ id, method, target, error });
    if (outgoing.headersSent) {
      // All that is left to say that this is not the whole of it.
      outgoing.destroy();
      return;
    }
    const body = Buffer.from(`internal error, request ${id}\n`);
    const headers = ['content-type', 'text/plain; charset=utf-8', 'cache-control', 'no-store'];
    outgoing.writeHead(500, [
      ...headers,
      ...['content-length', String(body.byteLength), 'x-content-type-options', 'nosniff'],
    ]);
    delivery.isWaiting = true;
    if (method === 'HEAD') outgoing.end();
    else outgoing.end(body);
  }

  #deliver({ connection, outgoing }: Exchange): Delivery {
    const delivery: Delivery = { outgoing, buffers: this.#buffers, bytes: 0, isWaiting: false };
    connection.delivery = delivery;
    return delivery;
  }

  /** What happens when the answer is out, or the client gone. */
  #onClose(exchange: Exchange, delivery: Delivery, response: (() => Response | undefined) | undefined): void {
    const { connection, outgoing } = exchange;
    // Whatever goes wrong in writing ends in `close`.
    outgoing.on('error', () => undefined);
    outgoing.once('close', () => {
      const given = response?.();
      const note = given === undefined ? undefined : answerNoteOf(given);
      const event: Answered = {
        id: exchange.id,
        remote: connection.remote,
        method: exchange.method,
        target: exchange.target,
        userAgent: exchange.facts.userAgent,
        status: outgoing.headersSent ? outgoing.statusCode : 0,
        bytes: delivery.bytes,
        ms: performance.now() - exchange.startedMs,
        route: note?.route ?? 'other',
        cache: note?.cache ?? 'none',
        isWhole: outgoing.writableFinished,
      };
      this.#options.reporter.answered?.(event);
      connection.delivery = undefined;
      connection.isBusy = false;
      this.#goOn(connection);
    });
  }

  #goOn(connection: Connection): void {
    // What is answered at once does not make it busy.
    while (!connection.isBusy && !connection.socket.destroyed) {
      const next = connection.waiting.shift();
      if (next === undefined) break;
      this.#start(connection, next.incoming, next.outgoing);
    }
    if (this.#isClosing && connection.isIdle) connection.socket.destroySoon();
  }

  #nextId(): string {
    this.#count += 1;
    return `${this.#prefix}-${this.#count.toString(36)}`;
  }
}
