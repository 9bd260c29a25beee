import type { CheckLog } from '../check-log.js';
import { pointTo, quote } from './json-value.js';

/** Schemes that clients fetch archives by. */
const FETCHED_SCHEMES: ReadonlySet<string> = new Set(['http:', 'https:', 'oci:']);

/** Something with a scheme; a single letter is a Windows drive. */
const SCHEME_PATTERN = /^[a-z][a-z0-9+.-]+:/i;
const BLANK_OR_CONTROL_PATTERN = /[\u0000-\u0020\u007f]/;

/** What {@link checkRecordUrl} looks at. */
export interface RecordUrlSubject {
  /** The field's value, whatever it is. */
  readonly url: unknown;
  /** The archive's file name. */
  readonly filename: string;
  /** The section of the record: `packages`, `packages.conda`, `v3`. */
  readonly section: string;
  /** The record's place. */
  readonly where: string;
}

/** Checks the `url` of a record: what clients would fetch, and whether it stays below the channel where relative. */
export function checkRecordUrl({ url, filename, section, where }: RecordUrlSubject, log: CheckLog): void {
  // What is no text, or empty, the record's schema has said.
  if (typeof url !== 'string' || url === '') return;
  const place = pointTo(where, 'url');
  const found = quote(url);
  if (SCHEME_PATTERN.test(url)) {
    const isUrl = log.expect('cep151/url', URL.canParse(url) && !BLANK_OR_CONTROL_PATTERN.test(url), () => ({
      where: place,
      found,
      expected: 'a URL that can be parsed',
    }));
    if (!isUrl) return;
    log.expect('cep151/url-scheme', FETCHED_SCHEMES.has(new URL(url).protocol), () => ({
      where: place,
      found,
      expected: 'a URL of http, https or oci',
    }));
  } else if (!checkRelative(url, place, log)) return;
  if (section === 'v3') return;
  // With the plain file name old clients find the archive as well.
  log.expect('cep151/non-flat', url === filename || decoded(url) === filename, () => ({
    where: place,
    found,
    expected: `\`${filename}\`, or the record under \`v3\`: clients that do not know \`url\` look beside the repodata`,
  }));
}

/** Whether a relative `url` is a path below the channel. */
function checkRelative(url: string, where: string, log: CheckLog): boolean {
  const found = quote(url);
  const isRelative = log.expect(
    'cep151/url',
    !/^[/\\]/.test(url) && !/^[a-z]:/i.test(url) && !BLANK_OR_CONTROL_PATTERN.test(url),
    () => ({ where, found, expected: 'a full URL, or a relative path without blanks' }),
  );
  if (!isRelative) return false;
  const stays = log.expect('cep151/no-parent', !hasParent(url.split('/')), () => ({
    where,
    found,
    expected: 'no `..` in the path',
  }));
  if (!stays) return false;
  return log.expect('cep151/no-hidden-parent', !hasParent(decoded(url).split(/[/\\]/)), () => ({
    where,
    found,
    expected: 'no `..` in the path, encoded or behind a back slash',
  }));
}

function hasParent(components: readonly string[]): boolean {
  return components.includes('..');
}

/** Percent-decoded, or itself where that cannot be done. */
function decoded(url: string): string {
  try {
    return decodeURIComponent(url);
  } catch {
    return url;
  }
}
