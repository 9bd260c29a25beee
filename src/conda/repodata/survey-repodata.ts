import { FerryError } from '../../errors.js';
import type { Bytes } from '../../io/bytes.js';
import { DocumentScanner, decodeJson, type DocumentHandler, type MemberTask } from './document-scanner.js';
import { OPEN_BRACE } from './json-bytes.js';
import { namesUrl } from './names-url.js';
import { checkRepodataInfo } from './read-repodata.js';
import type { ScannedRecord } from './scanned-record.js';
import { KNOWN_REVISION } from './sections.js';

/** What {@link surveyRepodata} found out. */
export interface RepodataSurvey {
  readonly recordCount: number;
  /**
   * Whether clients that read the text as it is would go elsewhere than to where they got it from: for `info.base_url`, a
   * record's `url` or `info.channel_relations`.
   */
  readonly leadsElsewhere: boolean;
}

/**
 * Looks through repodata as it passes, without keeping any of it. The bytes come out as they went in; what was found is told at
 * the end.
 * @throws ParseError `REPODATA_INVALID`, position = offset in bytes: the text is no repodata, or that of another subdir
 * @see CEP 15, CEP 36, CEP 42
 */
export async function* surveyRepodata(
  text: Bytes,
  subdir: string,
  onEnd: (survey: RepodataSurvey) => void,
): Bytes {
  const watch = new Watch(subdir);
  const scanner = new DocumentScanner(watch);
  let size = 0;
  for await (const chunk of text) {
    size += chunk.byteLength;
    scanner.push(chunk);
    yield chunk;
  }
  // CEP 26 takes an empty file for an empty object.
  if (size > 0) scanner.finish();
  onEnd({ recordCount: watch.recordCount, leadsElsewhere: watch.leadsElsewhere });
}

class Watch implements DocumentHandler {
  recordCount = 0;
  leadsElsewhere = false;
  readonly #subdir: string;

  constructor(subdir: string) {
    this.#subdir = subdir;
  }

  member(path: readonly string[], first: number): MemberTask {
    const [key = '', extension] = path;
    if (extension !== undefined) return first === OPEN_BRACE ? 'records' : 'skip';
    if (key === 'info') return 'keep';
    if (key === KNOWN_REVISION) return first === OPEN_BRACE ? 'enter' : 'skip';
    const isSection = key === 'packages' || key.startsWith('packages.');
    if (isSection && first !== OPEN_BRACE)
      throw new FerryError('REPODATA_INVALID', `\`${key}\` of the repodata is no object`);
    return isSection ? 'records' : 'skip';
  }

  memberEnd(path: readonly string[], _: unknown, value: Uint8Array | undefined): void {
    if (path.length !== 1 || value === undefined) return;
    const info = checkRepodataInfo(decodeJson(value), this.#subdir);
    if ('base_url' in info || 'channel_relations' in info) this.leadsElsewhere = true;
  }

  record(record: ScannedRecord, bytes: Uint8Array): void {
    this.recordCount += 1;
    if (!this.leadsElsewhere && namesUrl(record, bytes)) this.leadsElsewhere = true;
  }
}
