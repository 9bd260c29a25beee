import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { startRegistry } from '../support/docker-registry.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { ROOT } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

const run = promisify(execFile);

/** The example as somebody would run it, with no credentials but those it is given. */
async function runExample(target: string): Promise<string[]> {
  const folder = await tempFolder();
  const file = join(folder, 'hello.txt');
  await writeFile(file, 'hello, registry\n');
  const { stdout } = await run(process.execPath, [join(ROOT, 'examples/oci.mjs'), target, file], {
    env: { PATH: process.env['PATH'], HOME: folder },
  });
  return stdout.trim().split('\n');
}

const DIGEST = expect.stringMatching(/ sha256:[0-9a-f]{64}$/) as string;

describe('the example of conda-ferry/oci pushes, attaches, lists, pulls and deletes', () => {
  test('on docker-registry, which lists referrers under a tag', async () => {
    await using registry = await startRegistry();
    const lines = await runExample(`${registry.host}/${registry.prefix}/example`);
    expect(lines.slice(0, 2)).toEqual([DIGEST, DIGEST]);
    expect(lines.slice(2, -2).sort()).toEqual([
      expect.stringMatching(/^referrer sha256:[0-9a-f]{64} application\/vnd\.example\.note$/),
      expect.stringMatching(/^tag sha256-[0-9a-f]{64}$/),
      'tag v1',
    ]);
    expect(lines.slice(-2)).toEqual(['pulled 16 bytes', 'deleted 2 manifests']);
  });

  test('on a registry that lists them itself', async () => {
    const double = await useRegistryDouble();
    const lines = await runExample(`${double.host}/some/example`);
    expect(lines.slice(2)).toEqual([
      'tag v1',
      expect.stringMatching(/^referrer sha256:[0-9a-f]{64} application\/vnd\.example\.note$/),
      'pulled 16 bytes',
      'deleted 2 manifests',
    ]);
    expect(double.repositories.get('some/example')?.manifests.size).toBe(0);
  });
});
