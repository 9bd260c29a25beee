/** `node file-server.mjs FOLDER PORT`: files over HTTP and nothing else. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { argv } from 'node:process';

const [folder = '.', port = '0'] = argv.slice(2);

createServer((request, response) => {
  const file = join(folder, new URL(request.url ?? '/', 'http://localhost').pathname);
  stat(file).then(
    (found) => {
      if (!found.isFile()) return response.writeHead(404).end();
      response.writeHead(200, { 'content-length': found.size });
      return createReadStream(file).pipe(response);
    },
    () => response.writeHead(404).end(),
  );
}).listen(Number(port), '127.0.0.1');
