import type { IncomingMessage } from 'node:http';
import { serveChannel, type ChannelServer } from './channel-server.js';

/** What a private channel wants to see. */
export type ChannelDemand =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly token: string }
  /** As `/t/TOKEN/` in front of the path, as on anaconda.org. */
  | { readonly kind: 'conda-token'; readonly token: string };

/** Options of {@link servePrivateChannel}. */
export interface PrivateChannelOptions {
  /** What those get who do not have it. @defaultValue 404, as servers that hide what is private */
  readonly status?: 401 | 403 | 404;
}

/** Serves a folder to those alone who come with what is demanded. */
export async function servePrivateChannel(
  folder: string,
  demand: ChannelDemand,
  { status = 404 }: PrivateChannelOptions = {},
): Promise<ChannelServer> {
  return serveChannel(folder, {
    intercept: (request, response) => {
      if (!meets(request, demand)) {
        const headers = status === 401 ? { 'www-authenticate': 'Basic realm="channel"' } : {};
        response.writeHead(status, headers).end('not for you');
        return true;
      }
      // What follows is the file server's, which knows nothing of tokens.
      request.url = request.url?.replace(/^\/t\/[^/]+/, '') ?? '';
      return false;
    },
  });
}

function meets({ url = '', headers }: IncomingMessage, demand: ChannelDemand): boolean {
  const { authorization } = headers;
  switch (demand.kind) {
    case 'basic': {
      const pair = `${demand.username}:${demand.password}`;
      return authorization === `Basic ${Buffer.from(pair).toString('base64')}`;
    }
    case 'bearer':
      return authorization === `Bearer ${demand.token}`;
    case 'conda-token':
      return authorization === undefined && url.startsWith(`/t/${demand.token}/`);
  }
}
