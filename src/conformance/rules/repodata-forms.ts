import type { CheckLog } from '../check-log.js';
import { quote } from './json-value.js';
import type { RepodataText } from './repodata-text.js';

/** What {@link checkCompressedForm} looks at. */
export interface CompressedFormSubject {
  /** Place of the compressed file, such as `noarch/repodata.json.zst`. */
  readonly where: string;
  /** Digest of the file itself. */
  readonly plainDigest: string;
  /** Digest, by the same algorithm, of what the compressed file expands to. */
  readonly expandedDigest: string;
}

/** Checks that the `.zst` form of a file holds the very bytes of the file. */
export function checkCompressedForm(subject: CompressedFormSubject, log: CheckLog): void {
  const { where, plainDigest, expandedDigest } = subject;
  log.expect('cep36/zst-same-bytes', plainDigest === expandedDigest, () => ({
    where,
    found: `it expands to \`${expandedDigest}\``,
    expected: `\`${plainDigest}\`, the file that it stands beside`,
  }));
}

/** What {@link checkCurrentRepodata} looks at. */
export interface CurrentRepodataSubject {
  /** Place of `current_repodata.json`. */
  readonly where: string;
  readonly current: RepodataText;
  readonly full: RepodataText;
}

/** Checks that `current_repodata.json` lists only what `repodata.json` lists. */
export function checkCurrentRepodata({ where, current, full }: CurrentRepodataSubject, log: CheckLog): void {
  for (const filename of current.filenames()) {
    log.expect('cep36/current-repodata-subset', full.has(filename), () => ({
      where,
      found: `${quote(filename)}, which \`repodata.json\` does not list`,
      expected: 'a part of what `repodata.json` lists',
    }));
  }
}
