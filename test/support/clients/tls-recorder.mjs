/**
 * Speaks TLS in front of a server on this machine, as a reverse proxy does, and notes each request as a line of JSON on stdout:
 * `node tls-recorder.mjs CERTIFICATE KEY PORT TARGET-PORT`. It runs in a network namespace, so it is a process of its own.
 */
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:https';
import { argv, stdout } from 'node:process';

const [certificate = '', key = '', port = '', target = ''] = argv.slice(2);

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (incoming, response) => {
  const { method, url, headers } = incoming;
  const onward = httpRequest({ port: target, host: '127.0.0.1', path: url, method, headers }, (answer) => {
    const status = answer.statusCode ?? 0;
    stdout.write(`${JSON.stringify({ method, path: url, status })}\n`);
    response.writeHead(status, answer.rawHeaders);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  incoming.pipe(onward);
}).listen(Number(port), '127.0.0.1');
