import { rm, writeFile } from 'node:fs/promises';
import { readInfo } from '../../conda/archive/read-info.js';
import { archiveExtensionOf } from '../../conda/names.js';
import type { TempFolder } from '../../io/temp-folder.js';
import type { Content } from '../content.js';
import { streamContent } from '../held-file.js';
import { shownInfoOf, type ShownInfo } from './read-info.js';

const MIB = 1024 * 1024;
/** Of a `.conda`, only a part is unpacked; a `.tar.bz2` has to be unpacked to its end. A page is worth no more. */
const MAX_BYTES = { conda: 64 * MIB, 'tar.bz2': 4 * MIB } as const;

/**
 * Reads what a page shows of an archive's `info/`, out of the archive itself.
 * @returns `undefined` for one that is too large for that
 * @throws FerryError `ARCHIVE_…` for one that cannot be read; `NOT_FOUND` where it is gone
 */
export async function readArchiveInfo(
  content: Content,
  filename: string,
  { temp, signal }: { readonly temp: TempFolder; readonly signal: AbortSignal | undefined },
): Promise<ShownInfo | undefined> {
  const extension = archiveExtensionOf(filename);
  if (extension === undefined || content.size > MAX_BYTES[extension]) return undefined;
  const path = temp.newPath();
  try {
    await writeFile(path, streamContent(content, 0, signal), { flag: 'wx', signal });
    return shownInfoOf((await readInfo({ path }, extension, { signal })).members);
  } finally {
    await rm(path, { force: true });
  }
}
