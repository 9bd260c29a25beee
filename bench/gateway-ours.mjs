/** `node gateway-ours.mjs CHANNEL HOST:PORT`: the gateway's server over the files of one folder. */
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { argv } from 'node:process';
import { listen } from '#ferry/serve/listen/listener.js';
import { contentResponse } from '#ferry/serve/reply/content-body.js';

const [channel = '.', address = '127.0.0.1:0'] = argv.slice(2);
const { hostname: host, port } = new URL(`http://${address}`);
const root = dirname(channel);

await listen({
  host,
  port: Number(port),
  fetch: async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/healthz') return new Response('ok\n');
    const file = await open(join(root, basename(channel), 'noarch', basename(pathname)));
    const { size } = await file.stat();
    return contentResponse(
      {
        opened: {
          size,
          read: async (target, position) =>
            (await file.read(target, 0, target.byteLength, position)).bytesRead,
          [Symbol.asyncDispose]: () => file.close(),
        },
        start: 0,
        end: size,
      },
      { headers: { 'content-type': 'application/octet-stream', 'cache-control': 'public, max-age=60' } },
    );
  },
});
