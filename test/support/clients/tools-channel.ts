import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { condaPackage, tarBz2Package, type PackageSpec } from '../../../fixtures/build/archive.mjs';
import { incompressible } from '../../../fixtures/build/bytes.mjs';
import { runFerry } from '../ferry-here.js';

const spec = (name: string, version: string, more: Partial<PackageSpec> = {}): PackageSpec => ({
  name,
  version,
  build: '0',
  subdir: 'linux-64',
  payloadFiles: { [`share/${name}/version`]: `${version}\n` },
  ...more,
});

const noarch = { subdir: 'noarch', index: { noarch: 'generic' } };

/** Too large for the first part of a `.conda` that a client reads of its end. */
const BIG = incompressible(300_000);

/** What is installed for {@link TOOLS_SPECS} out of {@link writeToolsChannel}, by name-version-build. */
export const TOOLS_CHOSEN = [
  'tools-app-2.0-0.conda',
  'tools-big-1.0-0.conda',
  'tools-data-1.0+local-0.conda',
  'tools-lib-1!2.0-h0_1.tar.bz2',
] as const;

/** Needs all of the channel's packages that can be together. */
export const TOOLS_SPECS = ['tools-app', 'tools-big'] as const;

const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');

/** Files of those packages: path to sha256. */
export const TOOLS_FILES: Readonly<Record<string, string>> = {
  'bin/tools-app': sha256('#!/bin/sh\necho 2.0\n'),
  'share/tools-big/noise': sha256(BIG),
  'share/tools-data/version': sha256('1.0+local\n'),
  'share/tools-lib/version': sha256('1!2.0\n'),
};

/**
 * Writes a channel that clients can install from: two subdirs with dependencies across them, archives in both formats, names that
 * must be escaped in a registry, and an archive that is read in several parts.
 */
export async function writeToolsChannel(folder: string): Promise<void> {
  const app = { 'bin/tools-app': '#!/bin/sh\necho 2.0\n' };
  const built = [
    condaPackage(spec('tools-app', '1.0', { index: { depends: ['tools-lib <1!2'] } })),
    condaPackage(
      spec('tools-app', '2.0', {
        index: { depends: ['tools-lib >=1!2', 'tools-data <2'] },
        payloadFiles: app,
      }),
    ),
    condaPackage(spec('tools-lib', '9.5')),
    // Only the old format has the newest one.
    tarBz2Package(spec('tools-lib', '1!2.0', { build: 'h0_1' })),
    condaPackage(spec('tools-data', '1.0+local', noarch)),
    condaPackage(spec('tools-data', '2.0', noarch)),
    condaPackage(spec('tools-big', '1.0', { payloadFiles: { 'share/tools-big/noise': BIG } })),
  ];
  for (const { filename, bytes, index } of built) {
    const subdir = join(folder, String(index['subdir']));
    await mkdir(subdir, { recursive: true });
    await writeFile(join(subdir, filename), bytes);
  }
  const { code, stderr } = await runFerry(['index', folder]);
  if (code !== 0) throw new Error(stderr);
}
