import type { CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';

/** A file that belongs to one of two places, and the clause that says to which. */
interface PlacedFile {
  readonly file: string;
  readonly clause: ClauseId;
  /** Whether it is the whole channel's, and lies beside the subdirs. */
  readonly isOfChannel: boolean;
}

/** Files that have one right place in a channel. */
const PLACED_FILES: readonly PlacedFile[] = [
  { file: 'channeldata.json', clause: 'cep38/location', isOfChannel: true },
  { file: 'notices.json', clause: 'cep6/location', isOfChannel: true },
  { file: 'run_exports.json', clause: 'cep12/beside-repodata', isOfChannel: false },
  { file: 'repodata_shards.msgpack.zst', clause: 'cep16/index-path', isOfChannel: false },
];

/** Checks that files do not stand only where no client looks for them. `isThere` tells whether a path is there. */
export async function checkPlaces(
  subdirs: readonly string[],
  isThere: (path: string) => Promise<boolean>,
  log: CheckLog,
): Promise<void> {
  for (const { file, clause, isOfChannel } of PLACED_FILES) {
    const ofSubdirs = subdirs.map((subdir) => `${subdir}/${file}`);
    const [right, wrong] = isOfChannel ? [[file], ofSubdirs] : [ofSubdirs, [file]];
    // A copy elsewhere does no harm.
    if (await some(right, isThere)) {
      log.expect(clause, true, () => ({ where: file, found: '', expected: '' }));
      continue;
    }
    for (const path of wrong) {
      if (!(await isThere(path))) continue;
      log.report(clause, {
        where: path,
        found: `\`${file}\`, where no client looks for it`,
        expected: isOfChannel ? 'it beside the subdirs' : 'one in each subdir',
      });
      break;
    }
  }
}

async function some(paths: readonly string[], isThere: (path: string) => Promise<boolean>): Promise<boolean> {
  for (const path of paths) if (await isThere(path)) return true;
  return false;
}
