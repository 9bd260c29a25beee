import { FerryError, ResponseError } from '../errors.js';
import { parseChallenges } from './challenge.js';
import type { HttpRequest, HttpResponse, Send } from './send.js';

/** Why a server refused a request, as far as this side of the wire knows, and what to do next. */
export interface Advice {
  /** One line, such as ``no credentials for `ghcr.io` were found (looked in /home/me/.docker/config.json)``. */
  readonly reason: string;
  readonly hint?: string | undefined;
}

/** What a server refused for: it wants (other) proof of who asks, or it knows, and whoever that is may not. */
export type Refusal = 'unproven' | 'forbidden';

/** Tells why a request was refused; `undefined` where nothing is known beyond the answer. */
export type Advise = (request: HttpRequest, refusal: Refusal) => Promise<Advice | undefined>;

/**
 * Adds to answers 401 and 403, and to tokens that were refused, what the client knows of the credentials that it had.
 * What another host refused, to which a redirect led, stays as it is.
 */
export function withAdvice(send: Send, advise: Advise | undefined): Send {
  if (advise === undefined) return send;
  return async (request) => {
    let response: HttpResponse;
    try {
      response = await send(request);
    } catch (error) {
      const refusal = error instanceof ResponseError ? refusalOfToken(error) : undefined;
      const advice = refusal === undefined ? undefined : await adviceOn(advise, request, refusal);
      throw error instanceof ResponseError && advice !== undefined ? advised(error, advice) : error;
    }
    const refusal = response.url.origin === request.url.origin ? refusalOf(response) : undefined;
    const advice = refusal === undefined ? undefined : await adviceOn(advise, request, refusal);
    return advice === undefined ? response : withAdviceOf(response, advice);
  };
}

/** The error that stands behind a refusal, as its cause. */
export function adviceError(code: FerryError['code'], advice: Advice | undefined): FerryError | undefined {
  return advice === undefined ? undefined : new FerryError(code, advice.reason);
}

/** A failure to find out more must not hide the refusal. */
async function adviceOn(advise: Advise, request: HttpRequest, refusal: Refusal): Promise<Advice | undefined> {
  if (request.givenBy !== undefined) return undefined;
  return advise(request, refusal).catch(() => undefined);
}

function refusalOf(response: HttpResponse): Refusal | undefined {
  const { status, rateLimit } = response;
  if (rateLimit !== undefined) return undefined;
  if (status === 403) return 'forbidden';
  if (status !== 401) return undefined;
  const challenges = parseChallenges(response.header('www-authenticate') ?? '');
  const isUsable = challenges.some(({ scheme }) => scheme === 'basic' || scheme === 'bearer');
  if (challenges.length > 0 && !isUsable) return undefined;
  const lacksRights = challenges.some(({ parameters }) => parameters.get('error') === 'insufficient_scope');
  return lacksRights ? 'forbidden' : 'unproven';
}

/** Only the fetching of tokens throws such errors. */
function refusalOfToken({ code }: ResponseError): Refusal | undefined {
  if (code === 'UNAUTHORIZED') return 'unproven';
  return code === 'DENIED' ? 'forbidden' : undefined;
}

function advised(error: ResponseError, advice: Advice): ResponseError {
  return new ResponseError(error.code, error.message, error, {
    cause: adviceError(error.code, advice),
    hint: advice.hint ?? error.hint,
  });
}

function withAdviceOf(response: HttpResponse, advice: Advice): HttpResponse {
  return {
    status: response.status,
    url: response.url,
    rateLimit: response.rateLimit,
    advice,
    get body() {
      return response.body;
    },
    header: (name) => response.header(name),
    discard: () => response.discard(),
  };
}
