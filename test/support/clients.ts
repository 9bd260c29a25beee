import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { peer } from './peers.js';

const run = promisify(execFile);

/** Runs the command `oras` and gives what it printed, byte for byte. */
export async function oras(
  args: readonly string[],
  options: { readonly cwd?: string } = {},
): Promise<Buffer> {
  const { stdout } = await run(peer('oras'), args, {
    ...options,
    encoding: 'buffer',
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

/** Runs `skopeo` and gives what it printed. */
export async function skopeo(...args: string[]): Promise<Buffer> {
  const { stdout } = await run('skopeo', args, { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}
