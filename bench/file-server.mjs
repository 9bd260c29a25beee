/** `node file-server.mjs FOLDER PORT`: files over HTTP and nothing else, at little cost to the machine that is measured. */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { argv } from 'node:process';

/** A file up to this size is read at once: a stream costs more than that. */
const SMALL_BYTES = 1024 * 1024;

const [folder = '.', port = '0'] = argv.slice(2);

createServer((request, response) => {
  const file = join(folder, new URL(request.url ?? '/', 'http://localhost').pathname);
  stat(file).then(
    async (found) => {
      if (!found.isFile()) return response.writeHead(404).end();
      const small = found.size <= SMALL_BYTES ? await readFile(file) : undefined;
      response.writeHead(200, { 'content-length': found.size });
      return small === undefined ? createReadStream(file).pipe(response) : response.end(small);
    },
    () => response.writeHead(404).end(),
  );
}).listen(Number(port), '127.0.0.1');
