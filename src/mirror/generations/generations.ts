/**
 * Generations: the states of a subdir's metadata that history tags still name. They can be listed, trimmed to the newest
 * few, read, and gone back to.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { parseAnyHistoryTag } from '../../artifact/history-tag.js';
import type { MetadataFile } from '../../artifact/schema.js';
import { compareText } from '../../io/compare-text.js';
import type { CallOptions } from '../../oci/storage.js';

/** One history tag of a metadata file. */
export interface Generation {
  /** Such as `2026.11.21.07.35.09`. */
  readonly tag: string;
  /** The moment that the tag names. */
  readonly time: Date;
}

/**
 * Lists the generations of a metadata file, newest first, whichever schema or tool wrote their tags; none where there is
 * no such file. What they name is not asked: two may name the same manifest. One request for some hundred tags.
 * @param subdir empty for the channel's own files
 * @see v0/D7, v1/R8
 */
export async function listGenerations(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  options: CallOptions = {},
): Promise<readonly Generation[]> {
  const generations: Generation[] = [];
  for await (const tag of store.metadataRepository(subdir, file).tags(options)) {
    const time = parseAnyHistoryTag(tag);
    if (time !== undefined) generations.push({ tag, time });
  }
  return generations.sort((a, b) => b.time.getTime() - a.time.getTime() || compareText(b.tag, a.tag));
}

/** The newest generation that is not newer than a moment: what was in force then. Takes them newest first. */
export function generationAt(generations: readonly Generation[], time: Date): Generation | undefined {
  return generations.find((generation) => generation.time.getTime() <= time.getTime());
}
