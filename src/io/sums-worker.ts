/** The other side of `sums.ts`: sums up what it is sent, and sends the buffer back. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

const hashes = { sha256: createHash('sha256'), md5: createHash('md5') };

parentPort?.on('message', ({ buffer, bytes }: { readonly buffer?: ArrayBuffer; readonly bytes: number }) => {
  if (buffer === undefined) {
    parentPort?.postMessage({
      sums: { sha256: hashes.sha256.digest('hex'), md5: hashes.md5.digest('hex') },
    });
    return;
  }
  const view = new Uint8Array(buffer, 0, bytes);
  hashes.sha256.update(view);
  hashes.md5.update(view);
  parentPort?.postMessage({ buffer }, [buffer]);
});
