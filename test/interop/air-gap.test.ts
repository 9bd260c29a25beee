import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { ROOT, testEnvironment } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

test('what docs/air-gap.md says to run, runs, with packages that come between the crossings', async () => {
  const text = readFileSync(join(ROOT, 'docs', 'air-gap.md'), 'utf8');
  const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)]
    .map(([, block = '']) => block)
    .filter((block) => !block.includes('npm '));
  expect(blocks).toHaveLength(5);
  const folder = await tempFolder();
  await mkdir(join(folder, 'bin'));
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  await writeFile(
    join(folder, 'bin', 'conda-ferry'),
    `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`,
  );
  await chmod(join(folder, 'bin', 'conda-ferry'), 0o755);
  const environment = testEnvironment(folder);
  const run = (index: number): string => {
    const script = (blocks[index] ?? '')
      .replaceAll('https://conda.example.org/ch', './channel')
      .replaceAll('oci://registry.internal/ch', 'oci-layout:./registry');
    const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: folder,
      env: { ...environment, PATH: `${join(folder, 'bin')}:${environment['PATH'] ?? ''}` },
      encoding: 'utf8',
    });
    expect(status, `${script}\n${stdout}\n${stderr}`).toBe(0);
    return stdout;
  };
  await mkdir(join(folder, 'channel'));
  await cp(join(FIXTURE_CHANNEL, 'noarch'), join(folder, 'channel', 'noarch'), { recursive: true });
  run(0);
  expect(run(1)).toContain('4 archives');
  await cp(join(FIXTURE_CHANNEL, 'linux-64'), join(folder, 'channel', 'linux-64'), { recursive: true });
  expect(run(2)).toContain('24 archives');
  const last = run(3);
  expect(last).toContain('24 archives');
  expect(last).toContain('all is well');
  run(4);
});
