import { rm } from 'node:fs/promises';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import type { TestRegistry } from './docker-registry.js';
import { layoutStore, registryStore, type StoreUnderTest, type ViewOptions } from './stores.js';
import { tempFolder } from './temp.js';

/** An archive of the fixtures' builders. */
export type BuiltArchive = ReturnType<typeof condaPackage>;

/** What tells small test packages apart. */
export interface SmallPackage {
  readonly name?: string;
  readonly version?: string;
  readonly build?: string;
  /** Makes the bytes differ. */
  readonly payload?: string;
}

/** As long as conda names may be, so that schema v1 hashes it: with the `c` in front it has 65 characters. */
export const LONG_NAME = 'g'.repeat(64);
/** Version and build string that are legal, and together a tag of 129 characters. */
export const LONG_VERSION = '1'.repeat(64);
export const LONG_BUILD = 'b'.repeat(64);

/** A small `.conda`, of `noarch` unless a subdir is given. */
export function smallConda(small: SmallPackage = {}, subdir = 'noarch'): BuiltArchive {
  return condaPackage(specOf(small, subdir));
}

/** A small `.tar.bz2`. */
export function smallTarBz2(small: SmallPackage = {}, subdir = 'noarch'): BuiltArchive {
  return tarBz2Package(specOf(small, subdir));
}

/** Writes a channel with these in `noarch` and nothing else. */
export async function offer(folder: string, ...archives: readonly BuiltArchive[]): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await writeChannel(folder, { noarch: archives });
}

function specOf(small: SmallPackage, subdir: string): Parameters<typeof condaPackage>[0] {
  const { name = 'hello', version = '1.0', build = '0', payload = 'hello\n' } = small;
  return {
    name,
    version,
    build,
    subdir,
    ...(subdir === 'noarch' ? { index: { noarch: 'generic' } } : {}),
    payloadFiles: { 'share/hello': payload },
  };
}

/** A fresh view of one channel, by schema v1 unless another is asked for. */
export type OpenView = (options?: ViewOptions) => StoreUnderTest;

/** The kinds of stores, for `describe.each`: each opens a channel of that name. */
export function v1Kinds(
  registry: () => TestRegistry,
): readonly (readonly [string, (name: string) => Promise<OpenView>])[] {
  return [
    [
      'docker-registry',
      (name) => Promise.resolve((options) => registryStore(registry(), `v1-${name}`, inV1(options))),
    ],
    [
      'image layouts',
      async () => {
        const folder = await tempFolder();
        return (options) => layoutStore(folder, inV1(options));
      },
    ],
  ];
}

function inV1(options: ViewOptions = {}): ViewOptions {
  return { schema: schemaV1, ...options };
}
