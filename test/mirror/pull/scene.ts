import { readdir } from 'node:fs/promises';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { pullArchives, type PulledArchive, type PullFailure, type PullOptions } from '#ferry/mirror/pull.js';
import { condaPackage } from '../../../fixtures/build/archive.mjs';
import { hexDigest, incompressible } from '../../../fixtures/build/bytes.mjs';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { tempFolder } from '../../support/temp.js';
import { workers } from '../../support/workers.js';

/** A `.conda` of some kilobytes with a name. */
export function pkg(name: string, more: Partial<Parameters<typeof condaPackage>[0]> = {}) {
  return condaPackage({
    ...{ name, version: '1', build: '0', subdir: 'noarch', index: { noarch: 'generic' } },
    payloadFiles: { [`share/${name}`]: incompressible(8000) },
    ...more,
  });
}

type Archives = Parameters<typeof writeChannel>[1];

/** A channel in a folder. */
export async function channelOf(archives: Archives): Promise<DirectoryChannel> {
  const folder = await tempFolder();
  await writeChannel(folder, archives);
  return new DirectoryChannel(folder);
}

/** A channel whose archives are given by `openArchive`. */
export function withArchives(
  channel: DirectoryChannel,
  openArchive: ChannelSource['openArchive'],
): ChannelSource {
  return {
    url: channel.url,
    subdirs: () => channel.subdirs(),
    openMetadata: (path, options) => channel.openMetadata(path, options),
    openArchive,
  };
}

/** What a pull came to. */
export interface Pulled {
  readonly done: readonly PulledArchive[];
  readonly failed: readonly PullFailure[];
}

/** Pulls all that comes. */
export async function pull(
  channel: ChannelSource,
  options: Partial<PullOptions> & { readonly folder: string },
): Promise<Pulled> {
  const done: PulledArchive[] = [];
  const failed: PullFailure[] = [];
  for await (const archive of pullArchives({ channel, specs: [], workers, ...options })) {
    if ('error' in archive) failed.push(archive);
    else done.push(archive);
  }
  return { done, failed };
}

/** Sorted names in a folder. */
export async function names(folder: string): Promise<string[]> {
  return (await readdir(folder)).sort();
}

/** Hex digits. */
export function sha256(bytes: Uint8Array): string {
  return hexDigest('sha256', bytes);
}
