import { withBody } from '#ferry/http/rate-limit.js';
import type { HttpRequest, HttpResponse, Send } from '#ferry/http/send.js';
import { openerOf } from '#ferry/io/bytes.js';
import { routeOf, type RequestHead } from './double/exchange.js';
import type { GhcrLimits } from './double/ghcr-limits.js';
import type { JumpingClock } from './jumping-clock.js';

/** Where uploads begin at {@link limitedServer}. */
export const UPLOADS_PATH = '/v2/a/blobs/uploads/';

const WRITE: RequestHead = {
  method: 'POST',
  url: UPLOADS_PATH,
  path: UPLOADS_PATH,
  query: new URLSearchParams(),
  headers: {},
  origin: '',
  route: routeOf(UPLOADS_PATH),
};

/** A server without sockets that takes writes as GHCR's limits have it; its way there and back takes virtual time. */
export function limitedServer(
  limits: GhcrLimits,
  { clock, latencyMs = 80 }: { readonly clock: JumpingClock; readonly latencyMs?: number | undefined },
  onAnswer: (isAdmitted: boolean) => void,
): Send {
  const answer = ({ url }: HttpRequest): HttpResponse => {
    const refusal = limits.admit(WRITE);
    onAnswer(refusal === undefined);
    const bare: HttpResponse = {
      body: openerOf(new Uint8Array())(),
      status: refusal?.status ?? 202,
      url,
      header: () => undefined,
      discard: () => Promise.resolve(),
    };
    return withBody(bare, Buffer.from(refusal?.body ?? ''));
  };
  return async (request) => {
    await clock.sleep((latencyMs / 2) * (0.5 + clock.random()), request.signal);
    const answered = answer(request);
    await clock.sleep((latencyMs / 2) * (0.5 + clock.random()), request.signal);
    return answered;
  };
}
