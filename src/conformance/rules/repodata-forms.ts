import type { CheckLog } from '../check-log.js';
import { asJsonObject, pointTo, quote } from './json-value.js';
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

/** What {@link checkKeptFields} looks at. */
export interface KeptFieldsSubject {
  /** Place of the later repodata. */
  readonly where: string;
  /** Repodata before it was indexed again, patched or mirrored. */
  readonly before: RepodataText;
  /** Repodata after that. */
  readonly after: RepodataText;
}

/** Checks that what an indexer once said of an archive is still said: its time of indexing, its attestations. */
export function checkKeptFields({ where, before, after }: KeptFieldsSubject, log: CheckLog): void {
  for (const { section, key, filename, value } of after.records()) {
    if (section.length > 1) continue;
    const now = asJsonObject(value);
    const then = asJsonObject(before.recordOf(filename));
    // Other bytes under the same name are another archive.
    if (then['sha256'] !== now['sha256']) continue;
    const place = pointTo(where, ...section, key);
    const indexed = then['indexed_timestamp'];
    if (indexed !== undefined) {
      log.expect('cep47/kept', now['indexed_timestamp'] === indexed, () => ({
        where: pointTo(place, 'indexed_timestamp'),
        found: quote(now['indexed_timestamp']),
        expected: `${quote(indexed)}, as before`,
      }));
    }
    if (then['attestations_sha256'] !== undefined) {
      // Attestations may be added, which makes another digest.
      log.expect('cep142/patch-keeps', now['attestations_sha256'] !== undefined, () => ({
        where: place,
        found: 'no `attestations_sha256`',
        expected: 'it, as before',
      }));
    }
  }
}
